"""Colours of an image to sRGB: by its ICC profile, or by code points (ITU-T H.273: PNG's cICP, nclx of AVIF and HEIF).

Code points that a profile can say (Display P3, BT.2020, BT.601 and so on, with the curve of sRGB, a power or none)
become one. Those of light beyond white (PQ, HLG) cannot: there is no one way to fit them into 8 bits.
"""

import io
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from gencomp.metadata import ImageWarning

_D65, _C, _DCI, _D50 = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351), (0.96422, 1.0, 0.82521)
_BT709, _BT470BG = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06))
_SMPTE, _P3 = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
_PRIMARIES = {  # by code point, table 2: red, green, blue and white
    1: (*_BT709, _D65), 2: (*_BT709, _D65), 4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C), 5: (*_BT470BG, _D65),
    6: (*_SMPTE, _D65), 7: (*_SMPTE, _D65), 9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: (*_P3, _DCI), 12: (*_P3, _D65), 22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}  # fmt: skip
_SRGB_CURVES = {1, 2, 6, 13, 14, 15}  # table 3; those of television are shown by the curve of sRGB, as browsers do
_POWERS = {4: 2.2, 5: 2.8, 8: 1.0}
_BEYOND_WHITE = {16: "PQ", 18: "HLG"}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_MAX_BOXES = 1000


class CodePoints(NamedTuple):
    """primaries, transfer: of H.273; full: whether samples use the whole range."""

    primaries: int
    transfer: int
    full: bool = True


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile of an image as Pillow has opened it: its own, or one that says what its code points say.

    Empty where these say sRGB, or, with an ImageWarning, what no profile can say; None where nothing is said. In a PNG
    code points count before a profile (PNG 3, 4.3), in the others after.
    """
    own: bytes | None = image.info.get("icc_profile")
    if image.format not in {"PNG", "AVIF", "HEIF"} or (own and image.format != "PNG"):
        return own
    with file_of(image) as file:
        try:
            points = None if file is None else _of_png(file) if image.format == "PNG" else _of_boxes(file)
        except (OSError, ValueError, struct.error):
            return own
    return own if points is None else _profile(points)


@contextmanager
def file_of(image: Image.Image) -> Iterator[BinaryIO | None]:
    """The file that Pillow has opened an image from, as long as it can be had: before its pixels are decoded, or, as in
    `save`, after that if the file has a name."""
    if getattr(image, "tile", None) and (file := getattr(image, "fp", None)) is not None:
        at = file.tell()
        try:
            yield file
        finally:
            file.seek(at)
    elif name := getattr(image, "filename", ""):
        try:
            with Path(os.fsdecode(name)).open("rb") as file:
                yield file
        except OSError:
            yield None
    else:
        yield None


def to_srgb(colour: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours (L, RGB or CMYK) with their ICC profile, if any -> sRGB."""
    if not profile:
        return as_rgb(colour)
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[embedded.profile.xcolor_space.strip()]
        if mode != colour.mode and (colour.mode, mode) != ("L", "RGB"):
            raise ValueError(f"a {mode} profile in a {colour.mode} image")
        transform = ImageCms.buildTransform(embedded, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "RGB" and _is_identity(transform):
            return as_rgb(colour)
        return ImageCms.applyTransform(colour.convert(mode), transform) or as_rgb(colour)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError) as error:
        text = f"the embedded colour profile cannot be used ({error}): the image is taken as sRGB"
        warnings.warn(text, ImageWarning, stacklevel=2)
        return as_rgb(colour)


def as_rgb(colour: Image.Image) -> Image.Image:
    """Mode RGB, without a profile."""
    return colour if colour.mode == "RGB" else colour.convert("RGB")


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform moves no colour by more than a level: one more sRGB profile, which is best left alone."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    moved = ImageCms.applyTransform(Image.fromarray(grid), transform)
    return moved is not None and int(np.abs(np.asarray(moved, np.int16) - grid).max()) <= 1


def _profile(points: CodePoints) -> bytes:
    primaries, transfer = _PRIMARIES.get(points.primaries), points.transfer
    if primaries is None or not points.full or transfer not in _SRGB_CURVES | _POWERS.keys():
        curve = _BEYOND_WHITE.get(transfer, f"transfer {transfer}")
        what = f"{curve}, primaries {points.primaries}{'' if points.full else ', narrow range'}"
        beyond = ": its light goes beyond white, and it will look dull" if transfer in _BEYOND_WHITE else ""
        text = f"its colours ({what}) are not known here, and taken as sRGB{beyond}; convert it to sRGB first"
        warnings.warn(text, ImageWarning, stacklevel=4)
        return b""
    if primaries == _PRIMARIES[1] and transfer in _SRGB_CURVES:
        return b""
    return _matrix_profile(*primaries, curve=_POWERS.get(transfer))


def _matrix_profile(*primaries: tuple[float, float], curve: float | None) -> bytes:
    """An ICC profile (ICC.1:2022) of three colourants, adapted to D50 (Bradford), and a curve: a power, or sRGB's."""
    *colourants, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD
    matrix = np.stack(colourants, 1)
    matrix = adapted @ (matrix * np.linalg.solve(matrix, white))
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045) if curve is None else (curve,)
    shape = b"para\0\0\0\0" + struct.pack(">HH", 3 if curve is None else 0, 0) + _fixed(*numbers)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _fixed(*_D50)}
    for letter, column in zip(b"rgb", matrix.T):
        tags |= {bytes([letter]) + b"XYZ": b"XYZ \0\0\0\0" + _fixed(*column), bytes([letter]) + b"TRC": shape}
    name = "its code points".encode("utf-16-be")
    for tag in (b"desc", b"cprt"):
        tags[tag] = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(name), 28) + name
    table, data, at = b"", b"", 132 + 12 * len(tags)
    for tag, value in tags.items():
        table += tag + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s", at + len(data), b"", 0x04400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + _fixed(*_D50) + bytes(48) + struct.pack(">I", len(tags)) + table + data


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(65536 * number) for number in numbers))


def _of_png(file: BinaryIO) -> CodePoints | None:
    file.seek(8)
    for _ in range(_MAX_BOXES):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"cICP":
            primaries, transfer, _matrix, full = struct.unpack(">4B", file.read(4))
            return CodePoints(primaries, transfer, full == 1)
        if kind in {b"IDAT", b"IEND"}:
            break
        file.seek(length + 4, io.SEEK_CUR)
    return None


def _of_boxes(file: BinaryIO) -> CodePoints | None:
    """The first nclx colour box of an image file (ISO/IEC 23008-12: meta, iprp, ipco, colr), if any."""
    end = file.seek(0, io.SEEK_END)
    path = (b"meta", b"iprp", b"ipco", b"colr")
    start = 0
    for depth, wanted in enumerate(path):
        inside = [(a, b) for kind, a, b in _boxes(file, start, end) if kind == wanted]
        for a, _ in inside:
            file.seek(a)
            if wanted == b"colr" and file.read(4) == b"nclx":  # range: the reader of the pixels has seen to it
                return CodePoints(*struct.unpack(">HH", file.read(4)))
        if not inside:
            return None
        start, end = inside[0]
        start += 4 if depth == 0 else 0  # version and flags
    return None


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", file.read(8)), 16
        stop = end if size == 0 else at + size
        if (size and size < head) or stop > end:
            return
        yield kind, at + head, stop
        at = stop
