"""A parquet file with some of its columns written anew and the others copied, chunk by chunk, without being decoded.

What pyarrow cannot write (INT96 beside other times, logical types that it has no name for, encodings, statistics, page
indexes, Bloom filters) so comes out as it went in, and row groups, their order and the metadata stay. The footer, in
Thrift's compact protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), is read
without a schema, so that what is not known here is written as it was read; fields have the numbers of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift. New pages are plain ones of version
1, of the compression that the column had.
"""

import itertools
import struct
from collections.abc import Iterator, Mapping
from typing import IO, Any, NamedTuple

from gencomp.bitstream import varint

_MAGIC = b"PAR1"
_PAGE = 1 << 20  # bytes of values after which a page ends
_CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_PLAIN, _RLE = 0, 3
_ROW_GROUPS, _ENCRYPTION = 4, 8  # of FileMetaData
_COLUMNS, _BYTES, _ROWS, _SORTING, _START, _STORED = range(1, 7)  # of RowGroup
_FILE, _CHUNK_START, _META, _OFFSETS, _OFFSETS_SIZE, _INDEX, _INDEX_SIZE, _CRYPTO = range(1, 9)  # of ColumnChunk
_ENCODINGS, _CODEC, _VALUES, _PLAIN_SIZE, _SIZE, _DATA, _INDEX_PAGE, _DICTIONARY = 2, 4, 5, 6, 7, 9, 10, 11  # its meta
_BLOOM, _BLOOM_SIZE, _OF_THE_VALUES = 14, 15, range(10, 18)
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_MAX_DEPTH = 32


class Field(NamedTuple):
    """kind: one of those above; value: bool, int, bytes, struct, a list's (kind, values) or a map's (kinds, pairs)."""

    kind: int
    value: Any


Struct = dict[int, Field]
"""Fields by their numbers."""


class Leaf(NamedTuple):
    """A column as parquet stores it. levels: how many of the fields on the way to its values may be null; inner:
    whether the last may be; part: what of a cell its value is, "" for all of it.
    """

    number: int
    levels: int
    inner: bool
    part: str


class Rewriting:
    """A file on its way. leaves: the columns that are written anew. ValueError where `source` is damaged."""

    def __init__(self, source: IO[bytes], target: IO[bytes], leaves: list[Leaf]) -> None:
        self._source, self._target, self._leaves, self._at = source, target, leaves, 0
        self._footer = _read_footer(source)
        self._after: list[tuple[Struct, int, bytes]] = []  # of chunks what stands behind all row groups: field, bytes
        self._write(_MAGIC)

    def row_group(self, number: int, cells: Iterator[Any]) -> None:
        """Write a row group. cells: of each row a value, or a dict of values by the parts of the leaves."""
        group: Struct = self._footer[_ROW_GROUPS].value[1][number]
        start, chunks = self._at, group[_COLUMNS].value[1]
        rewritten = [leaf.number for leaf in self._leaves] if group[_ROWS].value else []
        for index, chunk in enumerate(chunks):
            if index not in rewritten:
                self._copy(chunk)
            elif index == min(rewritten):
                first, *others = self._leaves
                kept: list[Any] = []
                self._rewrite(chunks[first.number], first, _keeping(cells, [leaf.part for leaf in others], kept))
                for leaf in others:
                    self._rewrite(chunks[leaf.number], leaf, iter(kept))
        group[_BYTES] = Field(I64, sum(chunk[_META].value[_PLAIN_SIZE].value for chunk in chunks))
        if _STORED in group:
            group[_STORED] = Field(I64, sum(chunk[_META].value[_SIZE].value for chunk in chunks))
        if _START in group:
            group[_START] = Field(I64, start)
        if _SORTING in group:
            order = list(itertools.takewhile(lambda one: one[1].value not in rewritten, group.pop(_SORTING).value[1]))
            group.update({_SORTING: Field(LIST, (STRUCT, order))} if order else {})

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
        meta = chunk[_META].value
        start = _start_of(meta)
        moved, end = self._at - start, start + meta[_SIZE].value
        for at in range(start, end, _PAGE):
            self._write(self._piece(at, min(_PAGE, end - at)))
        for fields, number in ((meta, _DATA), (meta, _INDEX_PAGE), (meta, _DICTIONARY), (chunk, _CHUNK_START)):
            if number in fields and fields[number].value:
                fields[number] = Field(I64, fields[number].value + moved)
        if _BLOOM in meta:
            self._after.append((meta, _BLOOM, self._bloom_filter(meta)))
        if _INDEX in chunk:
            self._after.append((chunk, _INDEX, self._piece(chunk[_INDEX].value, chunk[_INDEX_SIZE].value)))
        if _OFFSETS in chunk:
            index, _ = read_struct(self._piece(chunk[_OFFSETS].value, chunk[_OFFSETS_SIZE].value))
            for page in index[1].value[1]:
                page[1] = Field(I64, page[1].value + moved)
            data = write_struct(index)
            chunk[_OFFSETS_SIZE] = Field(I32, len(data))
            self._after.append((chunk, _OFFSETS, data))

    def _rewrite(self, chunk: Struct, leaf: Leaf, cells: Iterator[Any]) -> None:
        import pyarrow as pa

        meta, start, plain, count = chunk[_META].value, self._at, 0, 0
        codec = meta[_CODEC].value if meta[_CODEC].value in _CODECS else 1
        for values, page in _pages(cells, leaf):
            data = bytes(pa.Codec(_CODECS[codec]).compress(page, asbytes=True)) if codec else page
            of_data = _integers({1: values, 2: _PLAIN, 3: _RLE, 4: _RLE})
            head = write_struct({**_integers({1: 0, 2: len(page), 3: len(data)}), 5: Field(STRUCT, of_data)})
            self._write(head + data)
            plain, count = plain + len(head) + len(page), count + values
        for fields, numbers in ((meta, _OF_THE_VALUES), (chunk, (_OFFSETS, _OFFSETS_SIZE, _INDEX, _INDEX_SIZE))):
            for number in numbers:
                fields.pop(number, None)
        meta |= {_ENCODINGS: Field(LIST, (I32, [_PLAIN, _RLE])), _CODEC: Field(I32, codec)}
        for number, size in ((_VALUES, count), (_PLAIN_SIZE, plain), (_SIZE, self._at - start), (_DATA, start)):
            meta[number] = Field(I64, size)
        chunk[_CHUNK_START] = Field(I64, 0)

    def _piece(self, start: int, size: int) -> bytes:
        self._source.seek(start)
        data = self._source.read(size)
        if len(data) != size:
            raise ValueError("a column or an index ends early")
        return data

    def _bloom_filter(self, meta: Struct) -> bytes:
        start = meta[_BLOOM].value
        if _BLOOM_SIZE in meta:
            return self._piece(start, meta[_BLOOM_SIZE].value)
        self._source.seek(start)
        head, size = read_struct(self._source.read(256))
        return self._piece(start, size + head[1].value)


def _pages(cells: Iterator[Any], leaf: Leaf) -> Iterator[tuple[int, bytes]]:
    """Data pages of plain values, each of some _PAGE bytes: how many values, nulls too, and the page."""
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
            yield len(levels), _runs(levels, leaf.levels) + b"".join(values)
            levels, values, size = [], [], 0
    if levels:
        yield len(levels), _runs(levels, leaf.levels) + b"".join(values)


def _runs(levels: list[int], most: int) -> bytes:
    """Definition levels as runs; none where nothing can be null."""
    if not most:
        return b""
    out = b"".join(varint(len(list(run)) << 1) + bytes([level]) for level, run in itertools.groupby(levels))
    return struct.pack("<I", len(out)) + out


def _keeping(cells: Iterator[Any], parts: list[str], kept: list[Any]) -> Iterator[Any]:
    for cell in cells:
        kept.append({part: cell.get(part) for part in parts} if isinstance(cell, dict) else cell and None)
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
    chunks = [chunk for group in footer[_ROW_GROUPS].value[1] for chunk in group[_COLUMNS].value[1]]
    if _ENCRYPTION in footer or any(_CRYPTO in chunk or _META not in chunk for chunk in chunks):
        raise ValueError("it is encrypted")
    for chunk in chunks:
        start, stored = _start_of(chunk[_META].value), chunk[_META].value[_SIZE].value
        if _FILE in chunk or start < 0 or stored < 0 or start + stored > end:
            raise ValueError("a column outside the file")
    return footer


def _start_of(meta: Mapping[int, Field]) -> int:
    """Where a chunk begins: at its dictionary, if it has one."""
    start: int = meta[_DATA].value
    return meta[_DICTIONARY].value if _DICTIONARY in meta and 0 < meta[_DICTIONARY].value < start else start


def _integers(values: Mapping[int, int]) -> Struct:
    return {number: Field(I32, value) for number, value in values.items()}


def read_struct(data: bytes) -> tuple[Struct, int]:
    """A struct and where it ends. ValueError where the bytes are none."""
    reader = _ThriftReader(data)
    try:
        return reader.struct(0), reader.at
    except IndexError:
        raise ValueError("metadata that end early") from None


def write_struct(struct: Struct) -> bytes:
    out = bytearray()
    _write(out, STRUCT, struct)
    return bytes(out)


class _ThriftReader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self, depth: int) -> Struct:
        found, number = Struct(), 0
        while head := self.byte():
            kind, delta = head & 15, head >> 4
            number = number + delta if delta else self.integer()
            value = kind == TRUE if kind in (TRUE, FALSE) else self.value(kind, depth + 1)
            found[number] = Field(TRUE if kind == FALSE else kind, value)
        return found

    def value(self, kind: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("metadata nested too deeply")
        if kind in (TRUE, FALSE, BYTE):  # the first two as elements of a list
            return self.byte()
        if kind in (I16, I32, I64):
            return self.integer()
        if kind in (DOUBLE, BINARY):
            return self.piece(8 if kind == DOUBLE else self.varint())
        if kind in (LIST, SET):
            head = self.byte()
            count, inner = head >> 4, head & 15
            return inner, [self.value(inner, depth + 1) for _ in range(self.varint() if count == 15 else count)]
        if kind == MAP:
            count = self.varint()
            kinds = self.byte() if count else 0
            return kinds, [[self.value(one, depth + 1) for one in (kinds >> 4, kinds & 15)] for _ in range(count)]
        if kind == STRUCT:
            return self.struct(depth)
        raise ValueError(f"metadata with a value of the unknown kind {kind}")

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def piece(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise IndexError
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        """Seven bits a byte, lowest first."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number of too many bytes in metadata")

    def integer(self) -> int:
        zigzag = self.varint()
        return zigzag >> 1 ^ -(zigzag & 1)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in (TRUE, FALSE, BYTE):
        out.append(value)
    elif kind in (I16, I32, I64):
        out += varint(value << 1 ^ value >> 63)
    elif kind == DOUBLE:
        out += value
    elif kind == BINARY:
        out += varint(len(value)) + value
    elif kind in (LIST, SET):
        inner, values = value
        out.append(min(len(values), 15) << 4 | inner)
        if len(values) >= 15:
            out += varint(len(values))
        for one in values:
            _write(out, inner, one)
    elif kind == MAP:
        kinds, pairs = value
        out += varint(len(pairs)) + bytes([kinds] if pairs else [])
        for name, one in pairs:
            _write(out, kinds >> 4, name)
            _write(out, kinds & 15, one)
    else:
        _write_fields(out, value)


def _write_fields(out: bytearray, struct: Struct) -> None:
    last = 0
    for number, field in sorted(struct.items()):
        code = FALSE if field.kind == TRUE and not field.value else field.kind
        if 0 < number - last < 16:
            out.append(number - last << 4 | code)
        else:
            out += bytes([code]) + varint(number << 1 ^ number >> 63)
        if field.kind != TRUE:
            _write(out, field.kind, field.value)
        last = number
    out.append(0)
