"""Mutations of .gnc files: bytes at random, and fields by the format's own rules with the checksum set right again.

Without the second kind nearly every mutant ends at the file's checksum, and nothing behind it is ever tried.
"""

import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from gencomp import bitstream
from gencomp.bitstream import MAX_SIDE, STEPS, BitstreamError

TESTS = Path(__file__).parent.parent
SIDES = (0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 500, 16383, MAX_SIDE, MAX_SIDE + 1, 2**28 - 1)
STEPS_TRIED = (0, 1, 506, 507, 508, STEPS - 1, STEPS, STEPS + 1, 2**16 - 1)
BYTES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
MOST_BYTES = 1 << 14  # of a mutant; the time per byte is the same in longer ones


def corpus() -> list[bytes]:
    """The golden and the conformance files, good and bad."""
    folders = (TESTS / "golden", TESTS / "conformance" / "files")
    return [path.read_bytes() for folder in folders for path in sorted(folder.glob("*.gnc"))]


def mutate(draw: random.Random, files: Sequence[bytes], model_id: bytes) -> bytes:
    """A mutant of one of the files; most of them bear a right checksum and the model's id."""
    data = draw.choice(files)
    if draw.random() < 0.6:
        data = _rebuilt(draw, data, files, model_id)
    if draw.random() < 0.5:
        data = mutate_bytes(draw, data, files)
    return resealed(data) if draw.random() < 0.8 else data


def mutate_bytes(draw: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to four of: bits flipped, a byte set, a piece cut, inserted, repeated, or taken from another file."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(out))
        end = min(len(out), at + draw.choice((1, 2, 4, 16, 64, len(out))))
        match draw.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(out):
                out[at] = draw.choice(BYTES)
            case 2:
                del out[at:end]
            case 3:
                out[at:at] = draw.randbytes(draw.choice((1, 2, 4, 16, 64)))
            case 4:
                out[at:at] = out[at:end] * draw.choice((1, 2, 16))
            case 5:
                other = draw.choice(others)
                start = draw.randint(0, len(other))
                out[at:end] = other[start : start + draw.choice((1, 4, 16, 64, len(other)))]
    return bytes(out[:MOST_BYTES])


def resealed(data: bytes) -> bytes:
    """The data with the file checksum that its bytes ask for, where they have a header at all."""
    try:
        _, end = bitstream.read_header(data)
    except BitstreamError:
        return data
    head, body = data[:end], data[end + 4 :]
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def _rebuilt(draw: random.Random, data: bytes, others: Sequence[bytes], model_id: bytes) -> bytes:
    """The file written anew, some fields at their limits or beyond; unsealed. Where it cannot be read, as it is."""
    try:
        seen = bitstream.inspect(data)
    except BitstreamError:
        return data
    header, payload = seen.header, data[len(data) - seen.sections["payload"] :]
    version = header.version if draw.random() < 0.7 else draw.choice((1, 2, 2, 0, 3, 0x11, 0xFF))
    width, height = (v if draw.random() < 0.6 else draw.choice(SIDES) for v in (header.width, header.height))
    step = header.quality_step if draw.random() < 0.7 else draw.choice(STEPS_TRIED)
    crc = header.latents_crc if draw.random() < 0.9 else draw.getrandbits(32)
    if draw.random() < 0.5:
        payload = _payload(draw, payload, others)
    head = b"GNC" + bytes([version]) + (model_id if draw.random() < 0.95 else draw.randbytes(4))
    head += _varint(draw, width) + _varint(draw, height) + struct.pack("<HI", step, crc)
    body = _sections(draw, dict(seen.extras), payload) if version == 2 else payload
    return (head + bytes(4) + body)[:MOST_BYTES]


def _payload(draw: random.Random, payload: bytes, others: Sequence[bytes]) -> bytes:
    match draw.randrange(4):
        case 0:
            return b""
        case 1:
            return payload[: draw.randint(0, len(payload))]
        case 2:
            return draw.randbytes(draw.choice((1, 4, 45, 300, 3000)))
        case _:
            return mutate_bytes(draw, payload, others)


def _sections(draw: random.Random, extras: dict[int, bytes], payload: bytes) -> bytes:
    """Sections of version 2, also unknown, doubled, out of order and of wrong lengths."""
    sections = sorted(extras.items())
    for _ in range(draw.choice((0, 0, 1, 2))):
        kind = draw.choice((0, 1, 2, 3, 4, 5, 6, 100, 127, 128, 255))
        content = draw.choice((b"", b"hi", bytes(8), draw.randbytes(draw.randrange(200)), *extras.values()))
        sections.append((kind, content if draw.random() < 0.7 else mutate_bytes(draw, content, [payload])))
    if draw.random() < 0.8:
        sections.sort()
    lengths = (0, 1, 2**20, 2**20 + 1, 2**31, 2**32 - 1, 2**32)
    parts = []
    for kind, content in [*sections, (0, payload)]:
        length = len(content) if draw.random() < 0.95 else draw.choice(lengths)
        parts.append(bytes([kind]) + _varint(draw, length) + content)
    return b"".join(parts)


def _varint(draw: random.Random, value: int) -> bytes:
    """Seven bits a byte, lowest first; now and then not in the shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if draw.random() < 0.02:
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)
