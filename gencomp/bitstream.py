"""The .gnc file: one image, its size, its quality, two checksums and an entropy-coded payload. See FORMAT.md."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, NamedTuple

MAGIC = b"GNC"
FORMAT_VERSION = 1
"""The version that is written unless a file has optional sections."""
SECTIONS_VERSION = 2
MODEL_ID_BYTES = 4
STEPS = 1024
MAX_SIDE = 2**21 - 1
"""Largest width or height [pixels]: three varint bytes, so that the header never passes 24 bytes."""
MAX_HEADER_BYTES = 24
MAX_PIXELS = 178_956_970
"""Pixels that are read or decoded unless the caller raises the limit: where Pillow, too, refuses by default."""
MAX_SECTION_BYTES = 1 << 20
"""Content of all sections but the payload, together."""
SECTION_KINDS = {"exif": 1, "xmp": 2, "icc": 3, "comment": 4, "dpi": 5, "alpha": 6}
MIN_QUALITY, MAX_QUALITY = 1.0, 100.0
DEFAULT_QUALITY = 45.0
"""About 0.12 bits per pixel on Kodak with the embedded model."""

_PAYLOAD, _MUST_KNOW = 0, 128
_NAME_OF = {kind: name for name, kind in SECTION_KINDS.items()}
_CRC = struct.Struct("<I")
_STEP_AND_LATENTS_CRC = struct.Struct("<HI")
_GEOMETRY = struct.Struct("<IIH")
_CHUNK = 1 << 16


class BitstreamError(ValueError):
    """A file that cannot be decoded: foreign, damaged, of another format version or for another model."""


class ModelError(ValueError):
    """A model that cannot be used: unknown, broken, or failing its own checks."""


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the payload.

    model_id: 4 bytes; width, height: 1 .. MAX_SIDE pixels; quality_step: 0 .. STEPS; latents_crc: what the file stores,
    0 .. 2**32 - 1; version: 1 or 2. Raises ValueError for anything else.
    """

    model_id: bytes
    width: int
    height: int
    quality_step: int
    latents_crc: int
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if len(self.model_id) != MODEL_ID_BYTES:
            raise ValueError(f"a model id has {MODEL_ID_BYTES} bytes, not {len(self.model_id)}")
        bounds = {"width": (1, MAX_SIDE), "height": (1, MAX_SIDE), "quality_step": (0, STEPS)}
        bounds |= {"latents_crc": (0, 2**32 - 1), "version": (FORMAT_VERSION, SECTIONS_VERSION)}
        for name, (low, high) in bounds.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"{name} must lie in {low} to {high}, not {value}")

    def stored_crc(self, crc_of_latents: int) -> int:
        """What a file of this size, step and version stores for latents whose bytes alone have the CRC given."""
        if self.version == 1:
            return crc_of_latents
        return zlib.crc32(_GEOMETRY.pack(self.width, self.height, self.quality_step), crc_of_latents)

    def sealed(self, crc_of_latents: int) -> Header:
        """This header with the checksum of latents whose bytes alone have the CRC given."""
        return replace(self, latents_crc=self.stored_crc(crc_of_latents))


class Inspection(NamedTuple):
    """What a file says of itself, read once.

    sections: bytes by name: header, checksums, optional sections, payload; they add up to the file. extras: content of
    the optional sections by kind, those of unknown kinds too. payload: empty unless it was asked for.
    """

    header: Header
    sections: dict[str, int]
    checksum_ok: bool
    extras: dict[int, bytes]
    payload: bytes

    def checked(self) -> Inspection:
        """Itself; BitstreamError for a wrong checksum."""
        if not self.checksum_ok:
            raise BitstreamError("damaged file: its checksum does not match (cut short, altered or extended)")
        return self


def pack(header: Header, payload: bytes, extras: Mapping[int, bytes] | None = None) -> bytes:
    """The file's bytes: header, checksums, optional sections by kind, payload. Version 1 holds no such sections."""
    head = MAGIC + bytes([header.version]) + header.model_id + varint(header.width) + varint(header.height)
    head += _STEP_AND_LATENTS_CRC.pack(header.quality_step, header.latents_crc)
    extras = extras or {}
    if sum(map(len, extras.values())) > MAX_SECTION_BYTES:
        raise ValueError(f"optional sections may have {MAX_SECTION_BYTES:,} bytes together")
    if not all(_PAYLOAD < kind < 256 for kind in extras):
        raise ValueError("kinds of optional sections lie in 1 to 255")
    if header.version >= SECTIONS_VERSION:
        sections = [*sorted(extras.items()), (_PAYLOAD, payload)]
        payload = b"".join(bytes([kind]) + varint(len(content)) + content for kind, content in sections)
    elif extras:
        raise ValueError(f"format version {header.version} holds no sections")
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def payload_room(size: int, header: Header, extras: Mapping[int, bytes] | None = None) -> int:
    """Bytes of payload that fit into a file of at most `size` bytes; negative where not even an empty one does."""
    room = size - len(pack(header, b"", extras))
    if header.version >= SECTIONS_VERSION and room > 0:
        room -= len(varint(room)) - 1
    return room


def unpack(data: bytes) -> tuple[Header, bytes]:
    """Header and payload of a whole file. Raises BitstreamError for anything that `pack` did not write."""
    inspection = inspect(data).checked()
    return inspection.header, inspection.payload


def inspect(data: bytes) -> Inspection:
    """The same without raising on a wrong checksum; still raises BitstreamError where header or sections are broken."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"the bytes of a .gnc file are expected, not {type(data).__name__}")
    return inspect_file(io.BytesIO(data), max_pixels=None, keep=True)


def inspect_file(file: IO[bytes], max_pixels: int | None = MAX_PIXELS, *, keep: bool = False) -> Inspection:
    """`inspect` of an open file, which is bounded by what its header claims and by max_pixels.

    keep: the payload, too; without it the memory is that of a header and its optional sections. No file is larger than
    its raw image, its optional sections and a margin for the padding of small images: a foreign file, or one that does
    not end, raises BitstreamError before it fills the memory.
    """
    header, stored, extras, rest = _read_front(file, max_pixels)
    kept: list[bytes] | None = [] if keep else None
    if header.version == 1:
        payload = rest.skip(None, kept)
    else:
        payload = _read_length(rest)
        if rest.skip(payload, kept) < payload:
            raise BitstreamError("damaged file: it ends inside the payload")
        if rest.skip(1):
            raise BitstreamError("damaged file: it goes on after its payload")
    named = {_NAME_OF.get(kind, f"section {kind}"): len(content) for kind, content in extras.items()}
    checksums = 2 * _CRC.size
    header_bytes = rest.total - checksums - payload - sum(named.values())
    sections = {"header": header_bytes, "checksums": checksums, **named, "payload": payload}
    return Inspection(header, sections, _CRC.unpack(stored)[0] == rest.crc, extras, b"".join(kept or ()))


def peek(file: IO[bytes]) -> tuple[Header, dict[int, bytes]]:
    """Header and optional sections of an open file, no further read than these; checks no checksum."""
    header, _, extras, _ = _read_front(file, None)
    return header, extras


def read_header(data: bytes) -> tuple[Header, int]:
    """The header and its length in bytes (up to the file CRC) from a file's first bytes; checks no checksum."""
    if not data:
        raise BitstreamError("empty file")
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise BitstreamError("not a gencomp file")
    at = len(MAGIC) + 1 + MODEL_ID_BYTES
    if len(data) > len(MAGIC):
        _check_version(data[len(MAGIC)])
    width, at = read_varint(data, at, 3)
    height, at = read_varint(data, at, 3)
    end = at + _STEP_AND_LATENTS_CRC.size
    if len(data) < end:
        raise BitstreamError("damaged file: it ends inside the header")
    quality_step, latents_crc = _STEP_AND_LATENTS_CRC.unpack_from(data, at)
    model_id = bytes(data[len(MAGIC) + 1 : len(MAGIC) + 1 + MODEL_ID_BYTES])
    try:
        return Header(model_id, width, height, quality_step, latents_crc, data[len(MAGIC)]), end
    except ValueError as error:
        raise BitstreamError(f"damaged file: {error}") from None


def quality_to_step(quality: float) -> int:
    """The stored step of a quality in 1 .. 100; neighbouring steps are 0.097 apart. Raises ValueError outside."""
    if not MIN_QUALITY <= quality <= MAX_QUALITY:
        raise ValueError(f"quality must lie in {MIN_QUALITY:g} to {MAX_QUALITY:g}, not {quality:g}")
    return round((quality - MIN_QUALITY) / (MAX_QUALITY - MIN_QUALITY) * STEPS)


def step_to_quality(step: int) -> float:
    """The quality, 1 .. 100, of a stored step 0 .. STEPS; `quality_to_step` undoes it exactly."""
    if not 0 <= step <= STEPS:
        raise ValueError(f"step must lie in 0 to {STEPS}, not {step}")
    return MIN_QUALITY + (MAX_QUALITY - MIN_QUALITY) * step / STEPS


class _Rest:
    """A header and what follows it, read from front to back. crc: of all bytes read; total: how many."""

    def __init__(self, head: bytes, file: IO[bytes], max_pixels: int | None) -> None:
        self.header, end = read_header(head)
        self.crc, self.total = zlib.crc32(head[:end]), end
        self._ahead, self._file = head[end:], file
        pixels = self.header.width * self.header.height
        self._limit = 65_536 + 3 * (pixels if max_pixels is None else min(pixels, max_pixels))
        self._limit += MAX_SECTION_BYTES if self.header.version >= SECTIONS_VERSION else 0

    def take(self, count: int, counted: bool = True) -> bytes:
        """The next `count` bytes; BitstreamError where the file ends before. counted: whether the CRC covers them."""
        data = self._read(count)
        if len(data) < count:
            raise BitstreamError("damaged file: it ends inside " + ("a section" if counted else "the header"))
        self.total += count
        self.crc = zlib.crc32(data, self.crc) if counted else self.crc
        return data

    def skip(self, count: int | None, kept: list[bytes] | None = None) -> int:
        """Read on for `count` bytes, or to the end, a piece at a time; how many there were. kept: gets the pieces."""
        before = self.total
        while count is None or self.total - before < count:
            left = _CHUNK if count is None else min(_CHUNK, count - (self.total - before))
            data = self._read(left)
            self.total += len(data)
            if self.total > self._limit:
                size = f"{self.header.width}x{self.header.height}"
                raise BitstreamError(f"damaged file: longer than an image of {size} can be")
            self.crc = zlib.crc32(data, self.crc)
            if not data:
                break
            if kept is not None:
                kept.append(data)
        return self.total - before

    def _read(self, count: int) -> bytes:
        data, self._ahead = self._ahead[:count], self._ahead[count:]
        return data + self._file.read(count - len(data)) if len(data) < count else data


def _read_front(file: IO[bytes], max_pixels: int | None) -> tuple[Header, bytes, dict[int, bytes], _Rest]:
    """What stands before the payload: header, file CRC, optional sections; and the rest."""
    rest = _Rest(file.read(MAX_HEADER_BYTES), file, max_pixels)
    stored = rest.take(_CRC.size, counted=False)
    return rest.header, stored, _read_extras(rest) if rest.header.version >= SECTIONS_VERSION else {}, rest


def _read_extras(rest: _Rest) -> dict[int, bytes]:
    """The optional sections, up to the payload's kind, which is taken too."""
    extras: dict[int, bytes] = {}
    last, size = 0, 0
    while (kind := rest.take(1)[0]) != _PAYLOAD:
        if kind <= last:
            raise BitstreamError("damaged file: its sections are out of order")
        if kind >= _MUST_KNOW:
            raise BitstreamError(f"written by a newer version of gencomp, or damaged: section {kind} must be known")
        length = _read_length(rest)
        size += length
        if size > MAX_SECTION_BYTES:
            raise BitstreamError(f"damaged file: over {MAX_SECTION_BYTES:,} bytes of optional sections")
        extras[kind], last = rest.take(length), kind
    return extras


def _read_length(rest: _Rest) -> int:
    digits = b""
    while not digits or (digits[-1] >= 0x80 and len(digits) < 5):
        digits += rest.take(1)
    length = read_varint(digits, 0, 5)[0]
    if length >= 2**32:
        raise BitstreamError("damaged file: it holds an invalid length")
    return length


def _check_version(byte: int) -> None:
    version, flags = byte & 0x0F, byte >> 4
    if FORMAT_VERSION <= version <= SECTIONS_VERSION and not flags:
        return
    what = f"format flags {flags:#x}" if flags else f"format version {version}"
    known = f"versions {FORMAT_VERSION} and {SECTIONS_VERSION}"
    raise BitstreamError(f"written by a newer version of gencomp, or damaged: {what} (this one reads {known})")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int, most: int) -> tuple[int, int]:
    """Value of at most `most` bytes and the position after it; leaves zero and too large values to the caller."""
    value = 0
    for shift in range(0, 7 * most, 7):
        if at >= len(data):
            raise BitstreamError("damaged file: it ends inside the header")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                break
            return value, at
    raise BitstreamError("damaged file: it holds an invalid image size or length")
