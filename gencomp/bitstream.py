"""The .gnc file: one picture, its sizes, its quality, two checksums and an entropy-coded payload.

Format 1. Integers are little-endian; fields follow one another without padding.

    field        bytes    value
    -----------  -------  ----------------------------------------------------------------------------------
    magic        3        ASCII "GNC" (47 4E 43)
    version      1        low four bits: format version, 1; high four bits: flags, all 0 in format 1
    model id     4        first 4 bytes of the SHA-256 over all that decides integers in the model
    width        1 to 3   varint, 1 .. 2,097,151 pixels
    height       1 to 3   varint, 1 .. 2,097,151 pixels
    quality      2        unsigned step, 0 .. 1024; quality = 1 + 99 * step / 1024
    latents CRC  4        CRC-32 of the decoded integer latents (int32, little-endian, NCHW order)
    file CRC     4        CRC-32 of every byte of the file but these four
    payload      the rest entropy-coded latents; its length is not stored: it ends where the file ends

A varint holds seven bits a byte, lowest first; the high bit says that another byte follows. Only the shortest
form is valid, so that one picture has one header. CRC-32 is that of zlib (polynomial EDB88320). Not counting the
payload, a file has 20 to 24 bytes.

Invalid, and refused with a BitstreamError: another magic; another version or a flag that is set; a varint that is
zero, longer than three bytes or not in its shortest form; a step above 1024; a file that ends inside the header; a
file CRC that does not match (a truncated, altered or extended file). The file CRC finds damage to the file; the
latents CRC finds a decoder that read other integers than the encoder wrote. What a valid header claims is still
only a claim: a reader bounds width * height (MAX_PIXELS) before it allocates anything.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import IO, NamedTuple

MAGIC = b"GNC"
FORMAT_VERSION = 1
MODEL_ID_BYTES = 4
STEPS = 1024
MAX_SIDE = 2**21 - 1
"""Largest width or height [pixels]: three varint bytes, so that the header never passes 24 bytes."""
MAX_HEADER_BYTES = 24
MAX_PIXELS = 178_956_970
"""Pixels that are read or decoded unless the caller raises the limit: where Pillow, too, refuses by default."""
MIN_QUALITY, MAX_QUALITY = 1.0, 100.0
DEFAULT_QUALITY = 45.0
"""About 0.12 bits a pixel on Kodak with the embedded model."""

_CRC = struct.Struct("<I")
_STEP_AND_LATENTS_CRC = struct.Struct("<HI")


class BitstreamError(ValueError):
    """A file that cannot be decoded: foreign, damaged, of another format version or for another model."""


class ModelError(ValueError):
    """A model that cannot be used: unknown, broken, or failing its own checks."""


@dataclass(frozen=True)
class Header:
    """What the decoder must know before the payload.

    model_id: 4 bytes; width, height: 1 .. MAX_SIDE pixels; quality_step: 0 .. STEPS; latents_crc: CRC-32 of
    the integer latents, 0 .. 2**32 - 1. Raises ValueError for anything else.
    """

    model_id: bytes
    width: int
    height: int
    quality_step: int
    latents_crc: int

    def __post_init__(self) -> None:
        if len(self.model_id) != MODEL_ID_BYTES:
            raise ValueError(f"a model id has {MODEL_ID_BYTES} bytes, not {len(self.model_id)}")
        for name, value, low, high in (
            ("width", self.width, 1, MAX_SIDE),
            ("height", self.height, 1, MAX_SIDE),
            ("quality_step", self.quality_step, 0, STEPS),
            ("latents_crc", self.latents_crc, 0, 2**32 - 1),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in {low} to {high}, not {value}")


class Inspection(NamedTuple):
    """What a file says of itself. sections: bytes of header, checksums and payload; they add up to the file."""

    header: Header
    sections: dict[str, int]
    checksum_ok: bool


def pack(header: Header, payload: bytes) -> bytes:
    """The file's bytes: header, checksums, payload."""
    head = b"".join(
        (
            MAGIC,
            bytes([FORMAT_VERSION]),
            header.model_id,
            _varint(header.width),
            _varint(header.height),
            _STEP_AND_LATENTS_CRC.pack(header.quality_step, header.latents_crc),
        )
    )
    return head + _CRC.pack(_crc(head, payload)) + payload


def unpack(data: bytes) -> tuple[Header, bytes]:
    """Header and payload of a whole file. Raises BitstreamError for anything that `pack` did not write."""
    inspection = inspect(data)
    if not inspection.checksum_ok:
        raise BitstreamError("damaged file: its checksum does not match (cut short, altered or extended)")
    return inspection.header, data[len(data) - inspection.sections["payload"] :]


def inspect(data: bytes) -> Inspection:
    """The same without raising on a wrong checksum; still raises BitstreamError where no header can be read."""
    header, head_bytes = read_header(data)
    payload_at = head_bytes + _CRC.size
    if len(data) < payload_at:
        raise BitstreamError("damaged file: it ends inside the header")
    (file_crc,) = _CRC.unpack_from(data, head_bytes)
    view = memoryview(data)
    checksums = 2 * _CRC.size
    return Inspection(
        header=header,
        sections={"header": payload_at - checksums, "checksums": checksums, "payload": len(data) - payload_at},
        checksum_ok=file_crc == _crc(view[:head_bytes], view[payload_at:]),
    )


def read_header(data: bytes) -> tuple[Header, int]:
    """The header and its length in bytes (up to the file CRC) from a file's first bytes; checks no checksum."""
    if not data:
        raise BitstreamError("empty file")
    if not data.startswith(MAGIC):
        raise BitstreamError("not a gencomp file")
    at = len(MAGIC) + 1 + MODEL_ID_BYTES
    if len(data) > len(MAGIC):
        _check_version(data[len(MAGIC)])
    width, at = _read_varint(data, at)
    height, at = _read_varint(data, at)
    end = at + _STEP_AND_LATENTS_CRC.size
    if len(data) < end:
        raise BitstreamError("damaged file: it ends inside the header")
    step, latents_crc = _STEP_AND_LATENTS_CRC.unpack_from(data, at)
    model_id = bytes(data[len(MAGIC) + 1 : len(MAGIC) + 1 + MODEL_ID_BYTES])
    try:
        return Header(model_id, width, height, step, latents_crc), end
    except ValueError as error:
        raise BitstreamError(f"damaged file: {error}") from None


def read(file: IO[bytes], max_pixels: int | None = MAX_PIXELS) -> bytes:
    """The bytes of a .gnc file from an open one, bounded by what its header claims and by max_pixels.

    No file is larger than its raw picture and a margin for the padding of small ones: a foreign file, or one that
    does not end, raises BitstreamError before it fills the memory. Checks nothing else.
    """
    head = file.read(MAX_HEADER_BYTES)
    header, _ = read_header(head)
    pixels = header.width * header.height
    limit = 65_536 + 3 * (pixels if max_pixels is None else min(pixels, max_pixels))
    data = head + file.read(limit + 1 - len(head))
    if len(data) > limit:
        raise BitstreamError(f"damaged file: longer than a picture of {header.width}x{header.height} can be")
    return data


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


def _check_version(byte: int) -> None:
    version, flags = byte & 0x0F, byte >> 4
    if version == FORMAT_VERSION and not flags:
        return
    what = f"format version {version}" if version != FORMAT_VERSION else f"format flags {flags:#x}"
    raise BitstreamError(
        f"written by a newer version of gencomp, or damaged: {what} (this one reads version {FORMAT_VERSION})"
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and the position after it; leaves zero and too large values to Header."""
    value = 0
    for shift in (0, 7, 14):
        if at >= len(data):
            raise BitstreamError("damaged file: it ends inside the header")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                break
            return value, at
    raise BitstreamError("damaged file: it holds an invalid picture size")


def _crc(head: bytes | memoryview, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(head))
