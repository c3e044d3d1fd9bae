"""Thrift's compact protocol, in which parquet's metadata is written: values as they stand, without a schema.

After https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. What is not known here is
written as it was read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
_MAX_DEPTH = 32


class Field(NamedTuple):
    """kind: one of those above; value: bool, int, bytes, struct, a list's (kind, values) or a map's (kinds, pairs)."""

    kind: int
    value: Any


Struct = dict[int, Field]
"""Fields by their numbers."""


def read_struct(data: bytes) -> tuple[Struct, int]:
    """A struct and where it ends. ValueError where the bytes are none."""
    reader = _Reader(data)
    try:
        return reader.struct(0), reader.at
    except IndexError:
        raise ValueError("metadata that end early") from None


def write_struct(struct: Struct) -> bytes:
    out = bytearray()
    _write(out, STRUCT, struct)
    return bytes(out)


class _Reader:
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
        _write_varint(out, value << 1 ^ value >> 63)
    elif kind == DOUBLE:
        out += value
    elif kind == BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind in (LIST, SET):
        inner, values = value
        out.append(min(len(values), 15) << 4 | inner)
        if len(values) >= 15:
            _write_varint(out, len(values))
        for one in values:
            _write(out, inner, one)
    elif kind == MAP:
        kinds, pairs = value
        _write_varint(out, len(pairs))
        out += bytes([kinds] if pairs else [])
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
            out.append(code)
            _write_varint(out, number << 1 ^ number >> 63)
        if field.kind != TRUE:
            _write(out, field.kind, field.value)
        last = number
    out.append(0)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
