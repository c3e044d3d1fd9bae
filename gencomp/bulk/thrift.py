"""Thrift's compact protocol, in which parquet's metadata is written: values as they stand, without a schema.

After https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. A struct is a dict from field
number to `Field`; what is not known here is written as it was read.
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


def read_struct(data: bytes, at: int = 0) -> tuple[Struct, int]:
    """A struct and where it ends. ValueError where the bytes are none."""
    try:
        return _struct(data, at, 0)
    except IndexError:
        raise ValueError("metadata that end early") from None


def write_struct(struct: Struct) -> bytes:
    out = bytearray()
    _write(out, STRUCT, struct)
    return bytes(out)


def _struct(data: bytes, at: int, depth: int) -> tuple[Struct, int]:
    found, number = Struct(), 0
    while (head := data[at]) != 0:
        at += 1
        kind, delta = head & 15, head >> 4
        if delta:
            number += delta
        else:
            zigzag, at = _varint(data, at)
            number = zigzag >> 1 ^ -(zigzag & 1)
        if kind in (TRUE, FALSE):
            found[number] = Field(TRUE, kind == TRUE)
            continue
        value, at = _value(data, at, kind, depth + 1)
        found[number] = Field(kind, value)
    return found, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if depth > _MAX_DEPTH:
        raise ValueError("metadata of too many levels")
    match kind:
        case 1 | 2:  # as an element of a list
            return data[at] == TRUE, at + 1
        case 3:
            return data[at], at + 1
        case 4 | 5 | 6:
            zigzag, at = _varint(data, at)
            return zigzag >> 1 ^ -(zigzag & 1), at
        case 7:
            return _piece(data, at, 8)
        case 8:
            size, at = _varint(data, at)
            return _piece(data, at, size)
        case 9 | 10:
            count, inner = data[at] >> 4, data[at] & 15
            at += 1
            if count == 15:
                count, at = _varint(data, at)
            values = []
            for _ in range(count):
                value, at = _value(data, at, inner, depth + 1)
                values.append(value)
            return (inner, values), at
        case 11:
            count, at = _varint(data, at)
            kinds = data[at] if count else 0
            at += bool(count)
            pairs = []
            for _ in range(count):
                name, at = _value(data, at, kinds >> 4, depth + 1)
                value, at = _value(data, at, kinds & 15, depth + 1)
                pairs.append((name, value))
            return (kinds, pairs), at
        case 12:
            return _struct(data, at, depth)
    raise ValueError(f"metadata with a value of the unknown kind {kind}")


def _piece(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(data):
        raise IndexError
    return bytes(data[at : at + size]), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of too many bytes in metadata")


def _write(out: bytearray, kind: int, value: Any) -> None:
    match kind:
        case 1 | 2:
            out.append(TRUE if value else FALSE)
        case 3:
            out.append(value)
        case 4 | 5 | 6:
            _write_varint(out, (value << 1) ^ (value >> 63))
        case 7:
            out += value
        case 8:
            _write_varint(out, len(value))
            out += value
        case 9 | 10:
            inner, values = value
            if len(values) < 15:
                out.append(len(values) << 4 | inner)
            else:
                out.append(15 << 4 | inner)
                _write_varint(out, len(values))
            for one in values:
                _write(out, inner, one)
        case 11:
            kinds, pairs = value
            _write_varint(out, len(pairs))
            if pairs:
                out.append(kinds)
            for name, one in pairs:
                _write(out, kinds >> 4, name)
                _write(out, kinds & 15, one)
        case 12:
            last = 0
            for number, field in sorted(value.items()):
                code = field.kind if field.kind != TRUE or field.value else FALSE
                if 0 < number - last < 16:
                    out.append((number - last) << 4 | code)
                else:
                    out.append(code)
                    _write_varint(out, (number << 1) ^ (number >> 63))
                if field.kind not in (TRUE, FALSE):
                    _write(out, field.kind, field.value)
                last = number
            out.append(0)


def _write_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
