"""A parquet file with a column of images as a new one: the images are replaced, all else is copied as it stands.

The column holds binary values or structs with a binary field `bytes` and perhaps a `path` (the Image feature of
`datasets`, whose mark in the file's metadata is kept). A sample without output becomes null, so that rows keep their
numbers: the whole cell where the struct holds nothing else, `bytes` alone where it has further fields, an empty value
where nulls are not allowed. A row without bytes keeps its path, which is its image.

All other columns, and the further fields of the structs, are copied chunk by chunk without being decoded: what pyarrow
cannot write (INT96 beside other times, logical types it has no name for, encodings, statistics, page indexes, Bloom
filters) comes out as it went in, and so do row groups, their order and the metadata. For that the footer is read and
written here (thrift.py); the image column's pages are plain ones, of the compression that the column had.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import posixpath
import struct
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from gencomp.bulk.naming import with_suffix
from gencomp.bulk.recorder import Recorder
from gencomp.bulk.thrift import I32, I64, LIST, STRUCT, Field, Struct, read_struct, write_struct
from gencomp.files import CODED_SUFFIX, IMAGE_SUFFIXES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_PAGE = 1 << 20  # bytes of values after which a page ends
_BATCH = 16
_NAMES = ("image", "jpg", "png", "webp", "img", "image_bytes", "bytes", "gnc")
_CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_PLAIN, _RLE, _REQUIRED, _REPEATED, _BYTE_ARRAY = 0, 3, 0, 2, 6


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


def has_images(file: IO[bytes], column: str | None) -> bool:
    """Whether a file has a column that may hold images; True for one that cannot be read, whose error is to be said."""
    try:
        with _damage_said():
            find_column(_open(file).schema_arrow, column)
    except ColumnError:
        return False
    except ValueError:
        return True
    return True


def read_images(file: IO[bytes], column: str | None) -> tuple[int, Iterator[bytes]]:
    """The number of rows, and the images of those that have one. ColumnError as `rewrite_parquet`."""
    opened = _open(file)
    cells = itertools.chain.from_iterable(_Images(opened, column).cells(i) for i in range(opened.num_row_groups))
    return opened.metadata.num_rows, (data for data in map(_bytes_of, cells) if data is not None)


def rewrite_parquet(
    source: IO[bytes], target: IO[bytes] | None, recorder: Recorder, before: IO[bytes] | None = None
) -> None:
    """Write `source` to `target` with its images replaced by what `recorder` makes of them, named by row.

    target: None writes nothing (verify). before: the file that an earlier attempt wrote. Raises ColumnError, or
    ValueError for a file that is no parquet file or is damaged.
    """
    settings = recorder.transform.settings
    with _damage_said():
        opened = _open(source)
        images = _Images(opened, settings.column)
        out = None if target is None else _Rewriting(source, target, images)
        kept: Iterator[Any] = itertools.repeat(None)
        if before is not None:
            again = _open(before)
            kept = itertools.chain.from_iterable(
                _Images(again, images.name).cells(i) for i in range(again.num_row_groups)
            )
        row = itertools.count()
        for number in range(opened.num_row_groups):
            cells = (_recode(c, images, str(next(row)), next(kept), recorder) for c in images.cells(number))
            if out is None:
                for _ in cells:
                    pass
            else:
                out.row_group(number, cells)
        if out is not None:
            out.close()


class _Leaf(NamedTuple):
    """A column of values as parquet stores it. levels: how many of the fields on the way to it may be null; inner:
    whether it may be null itself; part: what it is in the struct, "" where there is none.
    """

    number: int
    levels: int
    inner: bool
    part: str


class _Images:
    """The image column of a file."""

    def __init__(self, file: pq.ParquetFile, column: str | None) -> None:
        import pyarrow as pa

        self._file = file
        field = file.schema_arrow.field(file.schema_arrow.names.index(find_column(file.schema_arrow, column)))
        self.name, self.is_struct, self.nullable = field.name, pa.types.is_struct(field.type), field.nullable
        fields = [inner.name for inner in field.type] if self.is_struct else []
        self.has_path = fields.count("path") == 1 and _is_text(field.type.field("path").type)
        self.further = len(fields) > 1 + self.has_path
        parts = ["bytes", "path"][: 1 + self.has_path]
        self.paths = [f"{self.name}.{part}" for part in parts] if self.is_struct else [self.name]

    def cells(self, row_group: int) -> Iterator[Any]:
        """The values of the image column, of a struct `bytes` and `path`."""
        batches = self._file.iter_batches(_BATCH, row_groups=[row_group], columns=self.paths, use_threads=False)
        for batch in batches:
            if batch.num_columns != 1:
                raise ColumnError(f"several columns are called {self.name}: give them names of their own")
            yield from batch.column(0).to_pylist()


def _recode(cell: Any, images: _Images, name: str, kept: Any, recorder: Recorder) -> Any:
    """The new value of a cell, in the form of the old one."""
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


class _Rewriting:
    """A parquet file on its way: chunks of columns copied, those of the images written anew, then the footer."""

    def __init__(self, source: IO[bytes], target: IO[bytes], images: _Images) -> None:
        self._source, self._target, self._images = source, target, images
        self._footer = _read_footer(source)
        groups = self._footer[4].value[1]
        self._leaves = _leaves_of(self._footer, images)
        self._groups: list[Struct] = groups
        self._after: list[tuple[Struct, int, bytes]] = []  # of a chunk what stands behind all row groups: field, bytes
        self._at = 0
        self._write(_MAGIC)

    def row_group(self, number: int, cells: Iterator[Any]) -> None:
        group = self._groups[number]
        start, chunks = self._at, group[1].value[1]
        rewritten = [leaf.number for leaf in self._leaves] if group[3].value else []
        for index, chunk in enumerate(chunks):
            if index not in rewritten:
                self._copy(chunk)
            elif index == min(rewritten):
                paths: list[Any] = []
                for leaf, values in zip(self._leaves, (_noting(cells, paths), paths)):
                    self._rewrite(chunks[leaf.number], leaf, iter(values))
        group[2] = Field(I64, sum(chunk[3].value[6].value for chunk in chunks))
        if 6 in group:
            group[6] = Field(I64, sum(chunk[3].value[7].value for chunk in chunks))
        if 5 in group:
            group[5] = Field(I64, start)
        if 4 in group:
            order = list(itertools.takewhile(lambda one: one[1].value not in rewritten, group[4].value[1]))
            group[4] = Field(LIST, (STRUCT, order))
            if not order:
                del group[4]

    def close(self) -> None:
        for fields, number, data in self._after:
            fields[number] = Field(I64, self._at)
            self._write(data)
        footer = write_struct(self._footer)
        self._write(footer + struct.pack("<I", len(footer)) + _MAGIC)

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._at += len(data)

    def _copy(self, chunk: Struct) -> None:
        fields = chunk[3].value
        start = _start_of(fields)
        moved = self._at - start
        self._source.seek(start)
        left = fields[7].value
        while left:
            data = self._source.read(min(left, _PAGE))
            if not data:
                raise ValueError("a column ends early")
            self._write(data)
            left -= len(data)
        for number in (9, 10, 11):
            if number in fields and fields[number].value:
                fields[number] = Field(I64, fields[number].value + moved)
        if 2 in chunk and chunk[2].value:
            chunk[2] = Field(I64, chunk[2].value + moved)
        if 14 in fields:
            self._after.append((fields, 14, self._bloom_filter(fields)))
        if 6 in chunk:
            self._after.append((chunk, 6, self._piece(chunk[6].value, chunk[7].value)))
        if 4 in chunk:
            index = self._shifted(self._piece(chunk[4].value, chunk[5].value), moved)
            chunk[5] = Field(I32, len(index))
            self._after.append((chunk, 4, index))

    def _rewrite(self, chunk: Struct, leaf: _Leaf, cells: Iterator[Any]) -> None:
        """Write the chunk of a leaf: cells are the values of its column."""
        fields, start = chunk[3].value, self._at
        codec, plain, count = fields[4].value, 0, 0
        codec = codec if codec in _CODECS else 1
        for page in _pages(cells, leaf):
            data = page.body if _CODECS[codec] is None else _compressed(page.body, _CODECS[codec])
            kinds = {1: page.values, 2: _PLAIN, 3: _RLE, 4: _RLE}
            inner = Field(STRUCT, {number: Field(I32, value) for number, value in kinds.items()})
            sizes = {1: Field(I32, 0), 2: Field(I32, len(page.body)), 3: Field(I32, len(data)), 5: inner}
            head = write_struct(sizes)
            self._write(head + data)
            plain, count = plain + len(head) + len(page.body), count + page.values
        for number in (10, 11, 12, 13, 14, 15, 16, 17):  # of the values that were there
            fields.pop(number, None)
        for number in (4, 5, 6, 7):
            chunk.pop(number, None)
        fields[2] = Field(LIST, (I32, [_PLAIN, _RLE]))
        fields[4] = Field(I32, codec)
        for number, value in ((5, count), (6, plain), (7, self._at - start), (9, start)):
            fields[number] = Field(I64, value)
        chunk[2] = Field(I64, 0)

    def _piece(self, start: int, size: int) -> bytes:
        self._source.seek(start)
        data = self._source.read(size)
        if len(data) != size:
            raise ValueError("an index ends early")
        return data

    def _bloom_filter(self, fields: Struct) -> bytes:
        start = fields[14].value
        if 15 in fields:
            return self._piece(start, fields[15].value)
        self._source.seek(start)
        head, size = read_struct(self._source.read(256))
        return self._piece(start, size + head[1].value)

    def _shifted(self, index: bytes, moved: int) -> bytes:
        """An index of pages with their places in the new file."""
        found, _ = read_struct(index)
        for page in found[1].value[1]:
            page[1] = Field(I64, page[1].value + moved)
        return write_struct(found)


class _Page(NamedTuple):
    body: bytes
    values: int


def _pages(cells: Iterator[Any], leaf: _Leaf) -> Iterator[_Page]:
    """Data pages of plain values, each of some _PAGE bytes."""
    levels, values, size = list[int](), list[bytes](), 0
    for cell in cells:
        value = cell.get(leaf.part) if leaf.part and cell is not None else cell
        data = value.encode() if isinstance(value, str) else value
        if data is None and not leaf.inner and (cell is not None or not leaf.levels):
            data = b""
        above = leaf.levels - leaf.inner if cell is not None and leaf.part else 0
        levels.append(leaf.levels if data is not None else above)
        if data is not None:
            values += [struct.pack("<I", len(data)), data]
            size += len(data)
        if size >= _PAGE or len(levels) == _PAGE:
            yield _Page(_levels(levels, leaf.levels) + b"".join(values), len(levels))
            levels, values, size = [], [], 0
    if levels:
        yield _Page(_levels(levels, leaf.levels) + b"".join(values), len(levels))


def _levels(levels: list[int], most: int) -> bytes:
    """Definition levels as runs; none where nothing can be null."""
    if not most:
        return b""
    out = bytearray()
    for level, run in itertools.groupby(levels):
        count = len(list(run)) << 1
        while count > 127:
            out.append(count & 127 | 128)
            count >>= 7
        out += bytes([count, level])
    return struct.pack("<I", len(out)) + out


def _noting(cells: Iterator[Any], paths: list[Any]) -> Iterator[Any]:
    """The cells, of which those without their bytes are kept for the chunk of paths."""
    for cell in cells:
        if isinstance(cell, dict):
            paths.append({"path": cell.get("path")})
        else:
            paths.append(None)
        yield cell


def _read_footer(source: IO[bytes]) -> Struct:
    source.seek(-8, 2)
    end = source.tell()
    tail = source.read(8)
    size = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or size > end:
        raise ValueError("no footer")
    source.seek(end - size)
    footer, _ = read_struct(source.read(size))
    if 8 in footer:
        raise ValueError("an encrypted file")
    for group in footer[4].value[1]:
        for chunk in group[1].value[1]:
            if 8 in chunk or 3 not in chunk:
                raise ValueError("an encrypted column")
            if 1 in chunk:
                raise ValueError("a column that lies in another file")
            start, stored = _start_of(chunk[3].value), chunk[3].value[7].value
            if start < 0 or stored < 0 or start + stored > end:
                raise ValueError("a column outside the file")
    return footer


def _start_of(fields: Struct) -> int:
    """Where a chunk begins: at its dictionary, if it has one."""
    start: int = fields[9].value
    return fields[11].value if 11 in fields and 0 < fields[11].value < start else start


def _leaves_of(footer: Struct, images: _Images) -> list[_Leaf]:
    """The leaves of the image column that are written anew: of the bytes, then of the path if there is one."""
    found, number = dict[str, _Leaf](), 0
    elements = footer[2].value[1]
    pending = [
        (elements[0][5].value, "", 0)
    ]  # children that are still to come, their path, how many on it are optional
    for element in elements[1:]:
        while pending and pending[-1][0] == 0:
            pending.pop()
        left, path, levels = pending.pop()
        pending.append((left - 1, path, levels))
        name = element[4].value.decode("utf-8", "replace")
        name = f"{path}.{name}" if path else name
        repetition = element[3].value if 3 in element else _REQUIRED
        levels += repetition != _REQUIRED
        if 5 in element and element[5].value:
            pending.append((element[5].value, name, levels))
            continue
        if name in images.paths:
            if element[1].value != _BYTE_ARRAY or repetition == _REPEATED:
                raise ColumnError(f"column {name} does not hold single binary values")
            found[name] = _Leaf(number, levels, repetition != _REQUIRED, name.rpartition(".")[2] if path else "")
        number += 1
    if len(found) != len(images.paths):
        raise ColumnError(f"column {images.name} is not told from others: give it a name of its own")
    return [found[name] for name in images.paths]


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
        raise ValueError(f"a damaged parquet file, or none: {' '.join(str(error).split())}") from error


def _compressed(data: bytes, codec: str | None) -> bytes:
    import pyarrow as pa

    return bytes(pa.Codec(codec).compress(data, asbytes=True))


def _bytes_of(cell: Any) -> bytes | None:
    """The image in a cell; None for a null, or a struct that names a file alone."""
    data: bytes | None = cell.get("bytes") if isinstance(cell, dict) else cell
    return data


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return [field.name for field in kind].count("bytes") == 1 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
