"""Planes of bytes as JPEG scans, by Pillow's coder: baseline, one component, and of each file the scan's data alone.

All else in such a file follows from the size and the quantiser's step, so it is not stored: `head` makes it again
(ITU-T T.81 | ISO/IEC 10918-1, annex B, with the typical Huffman tables of luminance of annex K.3 and one step for all
64 frequencies). One component means no conversion of colours and no upsampling: what decides the decoded bytes is the
inverse DCT alone. The standard leaves it some freedom; libjpeg and libjpeg-turbo, which Pillow is built on, compute it
in 32-bit integers ("islow"), in SIMD code bit for bit as in C. `PROBE` is a scan that tells whether this machine does.
"""

import io
import struct

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import BitstreamError, ModelError

Bytes = npt.NDArray[np.uint8]

SIDE = 1 << 15  # of a scan at most; larger planes are cut, since JPEG's sizes have 16 bits
LEAST_BITS = 6  # of a block of 8 x 8: a difference of 0, and the end of the block

DC_CODES = bytes.fromhex("00010501010101010100000000000000"), bytes(range(12))  # codes of each length 1 .. 16; symbols
AC_CODES = (
    bytes.fromhex("0002010303020403050504040000017d"),
    bytes.fromhex(
        "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a343536373839"
        "3a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7"
        "a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
    ),
)

PROBE = bytes.fromhex(
    "67c44bed0649b58d73c3d657f7de23f1ceb9ae7873c45a45cdfe91e0ab18ed3e1978d7c1daafc5197c61e26d6b4dd0afb5abdf86be32f143"
    "6b1f09754f01fc3ad2bc4561a85bd93cfa19d37e1a5d78424d5f88361f10d745baf01e89e2ff00877fb3df867c51e30d0e0bbf066b9abe9d"
    "a76bf6d278bbc63a0f8bb524d5fc5de0fd3345b7d4bc37a56afe32f0e6b5a2f8b7c09afe9fe2ebfd26e3c0fe18f88f1788ae7c577fadf85f"
)
"""A scan of 8 x 16 bytes of noise: all frequencies, and with large steps values beyond a byte, which are clamped."""


def code_lengths(codes: tuple[bytes, bytes]) -> npt.NDArray[np.int64]:
    """Bits of the code of each symbol 0..255, 0 where there is none."""
    lengths = np.zeros(256, np.int64)
    lengths[np.frombuffer(codes[1], np.uint8)] = np.repeat(np.arange(1, 17), np.frombuffer(codes[0], np.uint8))
    return lengths


def head(height: int, width: int, step: int) -> bytes:
    """What stands before a scan: start of image, quantisation table, frame, Huffman tables, start of scan."""
    segments = [
        (0xDB, b"\0" + bytes([step]) * 64),
        (0xC0, struct.pack(">BHHB3B", 8, height, width, 1, 1, 0x11, 0)),
        (0xC4, b"\x00" + DC_CODES[0] + DC_CODES[1]),
        (0xC4, b"\x10" + AC_CODES[0] + AC_CODES[1]),
        (0xDA, bytes([1, 1, 0, 0, 63, 0])),
    ]
    parts = [struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments]
    return b"\xff\xd8" + b"".join(parts)


def encode_plane(plane: Bytes, step: int) -> bytes:
    """uint8 [H, W], sides up to SIDE -> the data of its scan. ModelError where Pillow writes another kind of JPEG."""
    from PIL import Image

    file = io.BytesIO()
    try:
        Image.fromarray(plane).save(file, "JPEG", qtables=[[step] * 64])
    except (OSError, KeyError) as error:
        raise ModelError(f"Pillow writes no JPEG here: {error}") from error
    data, ours = file.getvalue(), head(plane.shape[0], plane.shape[1], step)
    jfif = 4 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 2  # where its own marker ends
    if not (data[:2] + data[jfif:]).startswith(ours):
        raise ModelError("Pillow's JPEG coder is not libjpeg here: it writes other tables")
    return data[jfif + len(ours) - 2 : -2]


def decode_plane(scan: bytes, height: int, width: int, step: int) -> Bytes:
    """The reverse, sides up to SIDE; BitstreamError for a scan that is too short or that ends too soon.

    A scan that is damaged otherwise may decode to something, as libjpeg does its best; the file's checksums tell.
    """
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile

    check_length(scan, height, width)
    if scan.count(b"\xff") != scan.count(b"\xff\0"):
        raise BitstreamError("the coded data are damaged: a marker within a JPEG scan")
    try:
        image = JpegImageFile(io.BytesIO(head(height, width, step) + scan + b"\xff\xd9"))
        return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BitstreamError("the coded data are damaged: a JPEG scan cannot be read") from error


def check_length(scan: bytes, height: int, width: int) -> None:
    """BitstreamError for a scan with less than the fewest bits of its blocks, before anything is made of its size."""
    if 8 * len(scan) < LEAST_BITS * -(-height // 8) * -(-width // 8):
        raise BitstreamError("the coded data are damaged: a JPEG scan is too short")
