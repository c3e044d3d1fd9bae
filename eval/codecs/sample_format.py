"""Chroma format and bit depth as the files say them themselves: a table shows what was coded, not what was asked."""

import struct

_AV1_SUBSAMPLING = {(0, 0): "4:4:4", (1, 0): "4:2:2", (1, 1): "4:2:0"}
_JPEG_SUBSAMPLING = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0"}


def avif(data: bytes) -> str:
    """From the codec configuration box `av1C` (AV1 in ISOBMFF 2.3.3); "" where there is none."""
    start = data.find(b"av1C")
    if start < 0 or len(data) < start + 7:
        return ""
    flags = data[start + 6]
    depth = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    if flags & 0x10:
        return f"grey, {depth} bits"
    return f"{_AV1_SUBSAMPLING.get((flags >> 3 & 1, flags >> 2 & 1), 'unknown chroma')}, {depth} bits"


def jpeg(data: bytes) -> str:
    """From the frame header SOF (ITU-T T.81 B.2.2): sampling factors of luma against chroma; "" where there is none."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            depth, components = data[at + 4], data[at + 9]
            if components == 1:
                return f"grey, {depth} bits"
            factors = [(f >> 4, f & 15) for f in data[at + 11 : at + 10 + 3 * components : 3]]
            across, down = (factors[0][k] // max(1, factors[1][k]) for k in (0, 1))
            return f"{_JPEG_SUBSAMPLING.get((across, down), 'other chroma')}, {depth} bits"
        at += 2 + length
    return ""


def from_pixel_format(name: str) -> str:
    """An ffmpeg pixel format such as yuv420p10le in words; "" for one that is none of luma and chroma."""
    for code, words in (("yuv420p", "4:2:0"), ("yuv422p", "4:2:2"), ("yuv444p", "4:4:4"), ("yuvj420p", "4:2:0")):
        if name.startswith(code):
            depth = name.removeprefix(code).removesuffix("le").removesuffix("be") or "8"
            return f"{words}, {depth} bits"
    return ""
