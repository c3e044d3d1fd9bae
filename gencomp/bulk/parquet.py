"""A parquet file with a column of images as a new one: that column is replaced, all others are copied.

The column holds binary values or structs with a binary field `bytes` and perhaps a `path` (the Image feature of
`datasets`, whose mark in the file's metadata is kept). A sample without output becomes null, so that rows keep their
numbers. Row groups are cut by rows and bytes alone, so that equal inputs give equal bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Any

from gencomp.bulk.naming import with_suffix
from gencomp.bulk.tar import Code

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_ROWS, GROUP_BYTES = 1000, 1 << 26
_BATCH = 16
_NAMES = ("image", "jpg", "png", "webp", "img", "image_bytes", "bytes", "gnc")


class ColumnError(ValueError):
    """No column of images, or several."""


def find_column(schema: pa.Schema, asked: str | None) -> str:
    """The image column: the one asked for, the only one that can be, or the first of the usual names."""
    able = [name for name in schema.names if _holds_images(schema.field(name).type)]
    if asked is not None:
        if asked not in able:
            what = "is not binary" if asked in schema.names else "does not exist"
            raise ColumnError(f"column {asked} {what}; binary columns: {', '.join(able) or 'none'}")
        return asked
    usual = [name for name in _NAMES if name in able]
    if len(able) != 1 and not usual:
        raise ColumnError(f"{'several' if able else 'no'} binary columns ({', '.join(able or schema.names)}): name one")
    return able[0] if len(able) == 1 else usual[0]


def rewrite_parquet(
    source: IO[bytes],
    target: IO[bytes] | None,
    code: Code,
    suffix: str,
    column: str | None = None,
    before: IO[bytes] | None = None,
) -> None:
    """Write `source` to `target` with its images replaced by what `code` makes of them. Samples are named by row.

    target: None writes nothing (verify). before: the file that an earlier attempt wrote. Raises ColumnError, or
    ValueError for a file that is no parquet file or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)
        schema = file.schema_arrow
        column = find_column(schema, column)
        kept = _cells(before, column) if before is not None else iter(lambda: None, 0)
        with nullcontext() if target is None else pq.ParquetWriter(target, schema) as out:
            group: list[pa.RecordBatch] = []
            row = 0
            for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                cells = []
                for cell in batch.column(column):
                    cells.append(_recode(cell.as_py(), str(row), next(kept, None), code, suffix))
                    row += 1
                place = schema.get_field_index(column)
                group.append(batch.set_column(place, schema.field(place), pa.array(cells, schema.field(place).type)))
                if sum(p.num_rows for p in group) >= GROUP_ROWS or sum(p.nbytes for p in group) >= GROUP_BYTES:
                    _flush(out, group)
            _flush(out, group)
    except pa.ArrowException as error:
        raise ValueError(f"a damaged parquet file, or none: {' '.join(str(error).split())}") from error


def read_images(file: IO[bytes], column: str | None) -> tuple[int, Iterator[bytes]]:
    """The number of rows, and the images of those that have one. ColumnError as `rewrite_parquet`."""
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    cells = _cells(file, find_column(opened.schema_arrow, column))
    return opened.metadata.num_rows, (data for data in map(_bytes_of, cells) if data is not None)


def _recode(cell: Any, name: str, kept: Any, code: Code, suffix: str) -> Any:
    """The new value of a cell, in the form of the old one."""
    output = code(name, functools.partial(_bytes_of, cell), functools.partial(_bytes_of, kept))
    if not isinstance(cell, dict):
        return output
    if output is None:
        return None
    path = cell.get("path")
    return {**cell, "bytes": output, **({"path": with_suffix(path, suffix)} if path and "." in path else {})}


def _flush(out: Any, group: list[Any]) -> None:
    import pyarrow as pa

    if out is not None and group:
        out.write_table(pa.Table.from_batches(group), row_group_size=GROUP_ROWS + _BATCH)
    group.clear()


def _cells(file: IO[bytes], column: str) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False).iter_batches(_BATCH, columns=[column]):
        yield from batch.column(column).to_pylist()


def _bytes_of(cell: Any) -> bytes | None:
    """The image in a cell; None for a null, or a struct that names a file alone."""
    data: bytes | None = cell.get("bytes") if isinstance(cell, dict) else cell
    return data


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return "bytes" in [field.name for field in kind] and _holds_images(kind.field("bytes").type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
