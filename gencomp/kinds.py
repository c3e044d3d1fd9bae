"""What kind of image a file is: decided here alone, by its first bytes, before any reader sees it.

A name says nothing, and Pillow left to itself tries readers that hand a file to other programs (Ghostscript), or that
read another file's kind within one. Here one reader at most is named for a file. Vector graphics, raw photographs,
whose readable part is a small preview, films, and kinds that no photograph has are refused in a line.
"""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

START_BYTES = 64
UNMISTAKABLE = frozenset({"AVIF", "GIF", "HEIF", "JPEG", "JPEG2000", "JXL", "PNG", "PSD", "QOI", "TIFF", "WEBP"})
"""Kinds whose beginning no other file is likely to have."""
_MAX_DIRECTORIES, _MAX_ENTRIES, _MAX_INSIDE = 64, 4096, 16  # of a TIFF that are looked at

# What stands where, and what it says. First the kinds whose beginning is also another's.
_RAW = (
    (8, b"CR\x02", "Canon CR2"), (6, b"HEAPCCDR", "Canon CRW"), (0, b"FUJIFILMCCD-RAW", "Fujifilm RAF"),
    (0, b"IIRO", "Olympus ORF"), (0, b"IIRS", "Olympus ORF"), (0, b"MMOR", "Olympus ORF"),
    (0, b"IIU\0", "Panasonic RW2"), (0, b"FOVb", "Sigma X3F"), (0, b"\0MRM", "Minolta MRW"),
)  # fmt: skip
_VECTOR = (
    (0, b"%!PS", "EPS"), (0, b"\xc5\xd0\xd3\xc6", "EPS"), (0, b"%PDF", "PDF"), (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (0, b"\x01\0\x09\0", "WMF"), (40, b" EMF", "EMF"), (0, b"<svg", "SVG"), (0, b"<?xml", "SVG"),
    (0, b"\x1f\x8b", "SVGZ or gzip"),
)  # fmt: skip
_IMAGE = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"), (0, b"\xff\xd8\xff", "JPEG"), (0, b"GIF87a", "GIF"), (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"), (8, b"WEBP", "WEBP"), (0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"), (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"), (0, b"\xff\x4f\xff\x51", "JPEG2000"), (4, b"jP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x0a", "JXL"), (4, b"JXL \r\n\x87\n", "JXL"), (0, b"8BPS", "PSD"), (0, b"qoif", "QOI"),
    (0, b"\0\0\x01\0", "ICO"), (0, b"icns", "ICNS"), (0, b"DDS ", "DDS"), (0, b"\x01\xda", "SGI"),
    (0, b"\x0a\x05\x01", "PCX"), (0, b"GNC", "GNC"),
)  # fmt: skip
_PPM = re.compile(rb"P([1-6]|F|f)[\s#]")
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_RAW_BRANDS = {b"crx ": "Canon CR3"}
_PLUGINS = {"HEIF": ("pillow_heif", "pillow-heif"), "JXL": ("pillow_jxl", "pillow-jxl-plugin")}
_VECTOR_SAID = "{} is a vector format: draw it at the size you want first"
_SUBFILE, _INSIDE, _WIDTH, _HEIGHT, _PHOTOMETRIC = 254, 330, 256, 257, 262  # tags of TIFF
_MOSAIC = {32803, 34892}  # photometric interpretations of raw samples
_LENGTHS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # TIFF's types of whole numbers


class ImageError(ValueError):
    """An image that cannot be read or written: unreadable, too large, or of a kind that has no rule here."""


def kind_of(start: bytes) -> str | None:
    """The kind of image that begins with these 64 bytes: Pillow's name of it, "raw NAME", "vector NAME" or "film"."""
    if start[4:8] == b"ftyp":
        return _container(start)
    for marks, prefix in ((_RAW, "raw "), (_VECTOR, "vector "), (_IMAGE, "")):
        for at, mark, name in marks:
            if start.startswith(mark, at) and (name != "WEBP" or start[:4] == b"RIFF"):
                return prefix + name
    if _PPM.match(start):
        return "PPM"
    tga = len(start) >= 18 and start[1] < 2 and start[2] in {1, 2, 3, 9, 10, 11} and start[16] in {8, 15, 16, 24, 32}
    return "TGA" if tga else None


def open_image(source: str | Path | BinaryIO) -> Image.Image:
    """Pillow's image of a path or an open file, by the one reader that its content names; its pixels are still coded.
    ImageError for what is no image, or none that is read here; OSError where the file cannot be opened."""
    from PIL import Image

    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            reader = _reader_for(file)
        return Image.open(source, formats=(reader,))
    try:
        source.seek(0)
    except (AttributeError, io.UnsupportedOperation):
        source = io.BytesIO(source.read())
    return Image.open(source, formats=(_reader_for(source),))


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """An image as a file of a Pillow format, with its options."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def check_opened(image: Image.Image) -> None:
    """The same refusals for an image that Pillow has opened for the caller, before its pixels are asked for."""
    if image.format in {"EPS", "WMF"}:
        raise ImageError(_VECTOR_SAID.format(image.format))
    file = getattr(image, "fp", None)
    if image.format == "TIFF" and file is not None and image.tell() == 0:
        at = file.tell()
        try:
            _check_tiff(file)
        finally:
            file.seek(at)


def _reader_for(file: BinaryIO) -> str:
    kind = kind_of(file.read(START_BYTES))
    file.seek(0)
    what, _, name = (kind or "").partition(" ")
    if kind is None:
        raise ImageError("not an image that can be read")
    if what == "raw":
        raise ImageError(f"a raw photograph ({name}): develop it first, to TIFF or PNG; only its preview could be read")
    if what == "vector":
        raise ImageError(_VECTOR_SAID.format(name))
    if kind == "film":
        raise ImageError("a video: extract an image first")
    if kind == "GNC":
        raise ImageError("a gencomp file already; decompress it first to code it again")
    if kind in _PLUGINS:
        _plug_in(kind)
    if kind == "TIFF":
        _check_tiff(file)
        file.seek(0)
    return kind


def _plug_in(kind: str) -> None:
    module, package = _PLUGINS[kind]
    try:
        plugin = __import__(module)
    except ImportError:
        raise ImageError(f"{kind} needs a reader that is not installed: pip install {package}") from None
    if kind == "HEIF":
        plugin.register_heif_opener()


def _container(start: bytes) -> str | None:
    """By the brands of an ISO base media file (ISO/IEC 14496-12, 4.3): the major one, then the compatible ones."""
    size = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[at : at + 4] for at in range(16, size - 3, 4))]
    if brands[0] in _RAW_BRANDS:
        return f"raw {_RAW_BRANDS[brands[0]]}"
    if brands[0] in _AVIF_BRANDS or (brands[0] in _HEIF_BRANDS and _AVIF_BRANDS & set(brands)):
        return "AVIF"
    return "HEIF" if _HEIF_BRANDS & set(brands) else "film"


def _check_tiff(file: BinaryIO) -> None:
    """ImageError where the first image of a TIFF is a preview of a photograph that lies elsewhere in the file.

    That is so in DNG, NEF, ARW and their kin: the first directory is marked as reduced, or the file holds samples of a
    colour mosaic, or a larger image that is not reduced hangs below the first. Pyramids, whose further images are
    smaller, and documents of many pages are as TIFF has them. What is broken is left to the reader.
    """
    try:
        directories = _directories(file)
    except (struct.error, OSError, OverflowError, IndexError):
        return
    if not directories:
        return
    first, *inside = directories
    mosaic = any(d.get(_PHOTOMETRIC, [0])[0] in _MOSAIC for d in directories)
    larger = any(_area(d) > _area(first) and not d.get(_SUBFILE, [0])[0] & 1 for d in inside)
    if mosaic or larger or first.get(_SUBFILE, [0])[0] & 1:
        how = "develop a raw photograph, or save that alone"
        raise ImageError(f"its first image is a preview of another inside it: {how}")


def _area(directory: dict[int, list[int]]) -> int:
    return directory.get(_WIDTH, [0])[0] * directory.get(_HEIGHT, [0])[0]


def _directories(file: BinaryIO) -> list[dict[int, list[int]]]:
    """Whole numbers by tag of a TIFF's first directory and of those below it (TIFF 6.0, section 2; BigTIFF)."""
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    count, offset, inline = ("Q", "Q", 8) if big else ("H", "I", 4)
    entry = struct.Struct(f"{order}HH{offset}{inline}s")
    found: list[dict[int, list[int]]] = []
    places, seen = list(struct.unpack_from(order + offset, start, 8 if big else 4)), set[int]()
    while places and len(found) < _MAX_DIRECTORIES:
        place = places.pop(0)
        if place in seen or not place:
            continue
        seen.add(place)
        file.seek(place)
        (entries,) = struct.unpack(order + count, file.read(struct.calcsize(order + count)))
        table, directory = file.read(entry.size * min(entries, _MAX_ENTRIES)), dict[int, list[int]]()
        for at in range(0, len(table) - entry.size + 1, entry.size):
            tag, kind, values, held = entry.unpack_from(table, at)
            if tag not in {_SUBFILE, _INSIDE, _WIDTH, _HEIGHT, _PHOTOMETRIC} or kind not in _LENGTHS:
                continue
            form = struct.Struct(f"{order}{min(values, _MAX_INSIDE)}{_LENGTHS[kind]}")
            if values * struct.calcsize(order + _LENGTHS[kind]) > inline:
                file.seek(struct.unpack(order + offset, held)[0])
                held = file.read(form.size)
            if values:
                directory[tag] = list(form.unpack(held[: form.size]))
        found.append(directory)
        places += directory.get(_INSIDE, [])
    return found
