"""A parquet file with a column of images as a new one: the images are replaced, all else is copied as it stands.

The column holds binary values or structs with a binary field `bytes` and perhaps a `path` (the Image feature of
`datasets`, whose mark in the file's metadata is kept). A sample without output becomes null, so that rows keep their
numbers: the whole cell where the struct holds nothing else, `bytes` alone where it has further fields, an empty value
where nulls are not allowed. A row without bytes keeps its path, which is its image.

All other columns, and the further fields of the structs, are copied as they stand (chunks.py).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import posixpath
from collections import deque
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from gencomp.bulk.chunks import Leaf, Rewriting
from gencomp.bulk.storage import Storage
from gencomp.bulk.transform import SampleRecorder
from gencomp.files import CODED_SUFFIX, IMAGE_SUFFIXES
from gencomp.outputs import with_suffix

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

File = IO[bytes] | None
_BATCH = 16
_NAMES = ("image", "jpg", "png", "webp", "img", "image_bytes", "bytes", "gnc")


class ColumnError(ValueError):
    """No column of images, or several."""


def find_column(schema: pa.Schema, asked: str | None) -> str:
    """The image column: the one asked for, the only one that can be, or the first of the usual names."""
    able = [field.name for field in schema if _holds_images(field.type)]
    if asked is not None and asked not in able:
        what = "is not binary" if asked in schema.names else "does not exist"
        raise ColumnError(f"column {asked} {what}; binary columns: {', '.join(able) or 'none'}")
    usual = [name for name in _NAMES if name in able]
    if asked is None and len(able) != 1 and not usual:
        raise ColumnError(f"{'several' if able else 'no'} binary columns ({', '.join(able or schema.names)}): name one")
    column = asked or (able[0] if len(able) == 1 else usual[0])
    if schema.names.count(column) > 1:
        raise ColumnError(f"{schema.names.count(column)} columns are called {column}: give them names of their own")
    return column


def has_images(place: Storage, path: str, column: str | None) -> bool:
    """Whether a file has a column that may hold images; True for one that cannot be read, whose error is to be said."""
    try:
        with place.open(path) as file, _damage_said():
            find_column(_open(file).schema_arrow, column)
    except ValueError as error:
        return not isinstance(error, ColumnError)
    return True


def read_images(file: IO[bytes], column: str | None) -> tuple[int, Iterator[bytes]]:
    """The number of rows, and the images of those that have one. ColumnError as `rewrite_parquet`."""
    opened = _open(file)
    cells = _Images(opened, column).all_cells()
    return opened.metadata.num_rows, (data for data in map(_bytes_of, cells) if data is not None)


def rewrite_parquet(source: IO[bytes], target: File, recorder: SampleRecorder, before: File = None) -> None:
    """Write `source` to `target` with its images replaced by what `recorder` makes of them, named by row.

    target: None writes nothing (verify). before: the file that an earlier attempt wrote. Raises ColumnError, or
    ValueError for a file that is no parquet file or is damaged.
    """
    settings = recorder.transform.settings
    with _damage_said():
        opened = _open(source)
        images = _Images(opened, settings.column)
        out = None if target is None else Rewriting(source, target, images.leaves())
        kept: Iterator[Any] = itertools.repeat(None)
        if before is not None:
            kept = _Images(_open(before), images.name).all_cells()
        row = itertools.count()
        for number in range(opened.num_row_groups):
            cells = (_recode(c, images, str(next(row)), next(kept), recorder) for c in images.cells(number))
            if out is None:
                deque(cells, maxlen=0)
            else:
                out.row_group(number, cells)
        if out is not None:
            out.close()


class _Images:
    """The image column of a file."""

    def __init__(self, file: pq.ParquetFile, column: str | None) -> None:
        import pyarrow as pa

        self._file = file
        field = file.schema_arrow.field(file.schema_arrow.names.index(find_column(file.schema_arrow, column)))
        self.name, self.is_struct, self.nullable = field.name, pa.types.is_struct(field.type), field.nullable
        fields = [inner.name for inner in field.type] if self.is_struct else []
        self.has_path = fields.count("path") == 1 and _is_binary(
            field.type.field("path").type, "string large_string string_view"
        )
        self.further = len(fields) > 1 + self.has_path
        parts = ["bytes", "path"][: 1 + self.has_path]
        self.paths = [f"{self.name}.{part}" for part in parts] if self.is_struct else [self.name]
        self._inner = [field.type.field(part).nullable for part in parts] if self.is_struct else [field.nullable]

    def leaves(self) -> list[Leaf]:
        """Where parquet keeps the bytes and, if there are any, the paths."""
        columns = [self._file.schema.column(number) for number in range(len(self._file.schema))]
        found = []
        for path, inner in zip(self.paths, self._inner):
            (number, *more) = [number for number, column in enumerate(columns) if column.path == path] or [-1, -1]
            if more or columns[number].physical_type != "BYTE_ARRAY":
                raise ColumnError(f"column {self.name} is ambiguous, or holds no binary values")
            part = path.rpartition(".")[2] if self.is_struct else ""
            found.append(Leaf(number, columns[number].max_definition_level, inner, part))
        return found

    def all_cells(self) -> Iterator[Any]:
        return itertools.chain.from_iterable(map(self.cells, range(self._file.num_row_groups)))

    def cells(self, row_group: int) -> Iterator[Any]:
        """The values of the image column, of a struct `bytes` and `path`."""
        for batch in self._file.iter_batches(_BATCH, row_groups=[row_group], columns=self.paths, use_threads=False):
            if batch.num_columns != 1:
                raise ColumnError(f"several columns are called {self.name}: give them names of their own")
            yield from batch.column(0).to_pylist()


def _recode(cell: Any, images: _Images, name: str, kept: Any, recorder: SampleRecorder) -> Any:
    if cell is not None and _bytes_of(cell) is None:  # its path is the image
        recorder.code(name, lambda: None, lambda: None)
        return cell
    output = recorder.code(name, functools.partial(_bytes_of, cell), functools.partial(_bytes_of, kept))
    if not images.is_struct:
        return output if output is not None or images.nullable else b""
    if output is None:
        return None if cell is None or (images.nullable and not images.further) else {**cell, "bytes": None}
    path = cell.get("path")
    if path and posixpath.splitext(path)[1].lower() in {*IMAGE_SUFFIXES, CODED_SUFFIX}:
        path = with_suffix(path, recorder.transform.settings.suffix)
    return {**cell, "bytes": output, "path": path}


def _open(file: IO[bytes]) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)


@contextlib.contextmanager
def _damage_said() -> Iterator[None]:
    """What pyarrow and a damaged footer raise, as one ValueError."""
    import pyarrow as pa

    try:
        yield
    except ColumnError:
        raise
    except (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        known = isinstance(error, (ValueError, OSError))
        reason = " ".join(str(error).split()) if known else "its footer contradicts itself"
        raise ValueError(f"a damaged parquet file, or none: {reason}") from error


def _bytes_of(cell: Any) -> bytes | None:
    """The image in a cell; None for a null, or a struct that names a file alone."""
    data: bytes | None = cell.get("bytes") if isinstance(cell, dict) else cell
    return data


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return [field.name for field in kind].count("bytes") == 1 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: Any, forms: str = "binary large_binary binary_view") -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(getattr(types, f"is_{form}")(kind) for form in forms.split())
