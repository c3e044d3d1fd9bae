"""What a photographer may want kept beside the pixels: from an image to sections of a .gnc file, and back.

Nothing is kept unless it is asked for by name (`--keep exif,xmp`):

    exif      what the camera and its owner say: maker, model, times, exposure, lens, artist, copyright, description.
              Not the place (GPS) unless `gps` is asked for too; never owner and serial numbers of the camera, names
              of computers, orientation and size, which the pixels no longer follow, thumbnails, or maker notes, which
              hold offsets into the old file
    xmp       of the XMP packet what is known to be harmless, by name: rights and authorship, title, rating, dates,
              settings of the camera (xmp.py holds the list); the place, as GPS or in words, only with `gps`
    icc       the colour profile, if it is one of RGB colours: the pixels then stay in its colours instead of being
              converted to sRGB
    dpi       pixels per inch
    comment   the comment of a JPEG, GIF or PNG
    gps       with exif or xmp: the place stays in them

What is asked for and not there is no error; what is there and cannot be kept is an ImageWarning. A file from outside
may hold anything: sizes are bounded (LIMITS), and what does not parse is left out with an ImageWarning.
"""

import io
import math
import re
import struct
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from gencomp.bitstream import SECTION_KINDS
from gencomp.xmp import harmless, names

KINDS = ("exif", "xmp", "icc", "dpi", "comment")
LIMITS = {"exif": 65_000, "xmp": 65_000, "comment": 65_000, "dpi": 8, "icc": 800_000}
"""Bytes of each section: what a JPEG can hold, and a colour profile of a generous size."""

_PREFIX = b"Exif\0\0"
_EMPTY_EXIF = 14  # bytes of an EXIF block without an entry
_DPI = struct.Struct("<ff")
_XMP_TAG = 700
_DESCRIPTIVE = frozenset(
    (Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist)
    + (Base.Copyright, Base.Rating, Base.RatingPercent, Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords)
    + (Base.XPSubject,)
)
_NOT_OF_THE_FILE = frozenset((Base.MakerNote, IFD.Interop, Base.ExifImageWidth, Base.ExifImageHeight, Base.ColorSpace))
_PRIVATE = frozenset((Base.CameraOwnerName, Base.BodySerialNumber, Base.LensSerialNumber, Base.ImageUniqueID))
_KNOWN = frozenset(Base) - _PRIVATE - _NOT_OF_THE_FILE  # of EXIF's own directory; others may hold anything
_XMP_ORIENTATION = re.compile(rb"(?P<before>tiff:Orientation(?:\s*=\s*[\"']|>)\s*)(?P<value>[1-8])")


class ImageWarning(UserWarning):
    """Something in an image was left out: further frames, a broken colour profile, metadata that cannot be kept."""


def checked(keep: Collection[str]) -> frozenset[str]:
    """`keep` as a set, with "all" for every kind but gps; ValueError for an unknown name."""
    names = frozenset(KINDS if "all" in keep else ()) | frozenset(keep) - {"all"}
    if unknown := sorted(names - {*KINDS, "gps"}):
        known = " ".join(KINDS)
        raise ValueError(f"no kind of metadata is called {', '.join(map(repr, unknown))}; known: {known} gps all")
    return names


def rules() -> dict[str, Any]:
    """What may be kept, for the page: tags of EXIF's first and own directory, properties of XMP by namespace."""
    return {"described": sorted(_DESCRIPTIVE), "shot": sorted(_KNOWN), "xmp": names()}


def collect(image: Image.Image, keep: Collection[str], profile: bytes | None = None) -> dict[int, bytes]:
    """Sections, by kind, of what is to be kept of an image; `icc` only if it is usable. profile: instead of its own."""
    asked, gps, sections = checked(keep), "gps" in keep, {}
    collectors: dict[str, Callable[[], bytes | None]] = {
        "exif": lambda: _exif(image, gps),
        "xmp": lambda: _xmp(image, gps),
        "icc": lambda: _icc(image.mode, image.info.get("icc_profile") if profile is None else profile),
        "dpi": lambda: _packed_dpi(image.info["dpi"]) if image.info.get("dpi") is not None else None,
        "comment": lambda: _utf8(image.info.get("comment") or image.info.get("Comment") or b""),
    }
    for name, collector in collectors.items():
        if name not in asked:
            continue
        try:
            content = _bounded(name, collector() or b"")
        except Exception as error:  # metadata come from outside and break their readers in every way
            warnings.warn(f"its {name} cannot be kept ({_line(error)})", ImageWarning, stacklevel=2)
            continue
        if content:
            sections[SECTION_KINDS[name]] = content
    return sections


def to_info(sections: Mapping[int, bytes]) -> dict[str, Any]:
    """Sections as Pillow names them in `Image.info`: exif, xmp, icc_profile, dpi, comment; broken ones left out."""
    info: dict[str, Any] = {}
    for name in KINDS:
        kind = SECTION_KINDS[name]
        if kind not in sections:
            continue
        try:
            key, value = _restored(name, _bounded(name, sections[kind]))
        except Exception as error:  # as above
            warnings.warn(f"the file's {name} is damaged and left out ({_line(error)})", ImageWarning, stacklevel=2)
        else:
            info[key] = value
    return info


def save_options(info: Mapping[Any, Any], format_name: str) -> dict[str, Any]:
    """What Pillow's `save` takes to write `info` (of `to_info`) into a PNG, JPEG, WebP or TIFF, as far as it can."""
    known = {"PNG": ("exif", "icc_profile", "dpi"), "JPEG": ("exif", "icc_profile", "dpi", "xmp", "comment")}
    known |= {"WEBP": ("exif", "icc_profile", "xmp"), "TIFF": ("icc_profile", "dpi")}
    options = {key: info[key] for key in known[format_name] if key in info}
    xmp, comment = info.get("xmp"), info.get("comment")
    if format_name == "PNG" and (xmp or comment):
        options["pnginfo"] = PngInfo()
        if xmp:
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
        if comment:
            options["pnginfo"].add_itxt("Comment", comment)
    if format_name == "TIFF" and (xmp or comment or "exif" in info):
        options["compression"] = "raw"  # libtiff, which compresses, cannot write the directories inside an EXIF block
        options["exif"] = exif = Image.Exif()
        exif.load(info.get("exif", b""))
        exif.update({Base.ImageDescription.value: comment} if comment else {})
        exif.update({_XMP_TAG: xmp} if xmp else {})
    return options


def from_options(options: Mapping[str, Any]) -> dict[int, bytes]:
    """Sections from the options of Pillow's `save`: exif, xmp, icc_profile, dpi, comment, as they are given. ValueError
    for what cannot be stored; here the caller asks for exactly these bytes, a place in them included."""
    packers: dict[str, Callable[[Any], bytes | None]] = {
        "exif": lambda exif: (exif.tobytes() if isinstance(exif, Image.Exif) else bytes(exif)).removeprefix(_PREFIX),
        "xmp": _utf8,
        "icc_profile": rgb_profile,
        "dpi": _packed_dpi,
        "comment": _utf8,
    }
    sections = {}
    for option, packer in packers.items():
        if not options.get(option):
            continue
        name = "icc" if option == "icc_profile" else option
        try:
            content = packer(options[option]) or b""
        except Exception as error:  # whatever the caller gave and a parser made of it
            raise ValueError(f"{option} cannot be stored: {_line(error)}") from error
        if len(content) > LIMITS[name]:
            raise ValueError(f"{option} of {len(content):,} bytes, over {LIMITS[name]:,}, cannot be stored")
        sections[SECTION_KINDS[name]] = content
    return sections


def upright(sections: Mapping[int, bytes]) -> tuple[dict[int, bytes], int | None]:
    """Sections whose EXIF and XMP say that the image is upright, and the orientation that they gave (EXIF's first). For
    pixels that are turned by it; all else stays byte by byte. ValueError for EXIF that cannot be read."""
    found, orientations = dict(sections), list[int]()
    exif, xmp = SECTION_KINDS["exif"], SECTION_KINDS["xmp"]
    if (at := _orientation_at(found.get(exif, b""))) is not None:
        order: Literal["little", "big"] = "little" if found[exif][:1] == b"I" else "big"
        orientations.append(int.from_bytes(found[exif][at : at + 2], order))
        found[exif] = found[exif][:at] + (1).to_bytes(2, order) + found[exif][at + 2 :]
    if xmp in found:
        orientations += [int(match["value"]) for match in _XMP_ORIENTATION.finditer(found[xmp])]
        found[xmp] = _XMP_ORIENTATION.sub(lambda match: match["before"] + b"1", found[xmp])
    return found, orientations[0] if orientations else None


def _orientation_at(exif: bytes) -> int | None:
    """Where the value of the orientation stands in an EXIF block (TIFF 6.0, section 2)."""
    if len(exif) < 8:
        return None
    order = "<" if exif[:1] == b"I" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH8x", exif, at)
            if tag == Base.Orientation:
                return int(at) + 8 + (2 if order == ">" and kind == 4 else 0)
    except struct.error:
        raise ValueError("its directory is cut short") from None
    return None


def rgb_profile(profile: bytes | None) -> bytes | None:
    """An ICC profile if it is one of RGB colours; ValueError for another."""
    if not profile:
        return None
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    if space != "RGB":
        raise ValueError(f"it is a profile of {space} colours")
    return profile


def _exif(image: Image.Image, gps: bool) -> bytes | None:
    old, new = image.getexif(), Image.Exif()
    new.update({tag: value for tag, value in old.items() if tag in _DESCRIPTIVE})
    if shot := {tag: value for tag, value in old.get_ifd(IFD.Exif).items() if tag in _KNOWN}:
        new.get_ifd(IFD.Exif).update(shot)
    if gps and (place := old.get_ifd(IFD.GPSInfo)):
        new.get_ifd(IFD.GPSInfo).update(place)
    content = new.tobytes().removeprefix(_PREFIX)
    return content if len(content) > _EMPTY_EXIF else None


def _xmp(image: Image.Image, gps: bool) -> bytes | None:
    packet = image.info.get("xmp") or getattr(image, "tag_v2", {}).get(_XMP_TAG)
    if not packet:
        return None
    return harmless(_bounded("xmp", _utf8(packet).strip(b"\0 \t\r\n")), gps)


def _icc(mode: str, profile: bytes | None) -> bytes | None:
    usable = rgb_profile(profile)
    if usable and mode in {"CMYK", "LAB"}:
        raise ValueError(f"it is one of RGB colours in an image of {mode}")
    return usable


def _packed_dpi(dpi: Any) -> bytes:
    across, down = (float(value) for value in dpi)
    if not all(math.isfinite(value) and 0 < value < 1e6 for value in (across, down)):
        raise ValueError(f"{across:g} by {down:g} pixels per inch")
    return _DPI.pack(across, down)


def _utf8(text: bytes | str) -> bytes:
    """Text as UTF-8; bytes that are not are taken as Latin-1."""
    if isinstance(text, str):
        return text.encode()
    try:
        return bytes(text).decode().encode()
    except UnicodeDecodeError:
        return bytes(text).decode("latin-1").encode()


def _restored(name: str, content: bytes) -> tuple[str, Any]:
    """Key and value in Image.info of a section's content; raises whatever parsers raise."""
    if name == "exif":
        if content[:4] not in (b"II*\0", b"MM\0*"):  # what follows is parsed by who asks for it
            raise ValueError("no EXIF block")
        return "exif", _PREFIX + content
    if name == "xmp":
        return "xmp", content.decode().encode()
    if name == "icc":
        return "icc_profile", rgb_profile(content)
    if name == "dpi":
        across, down = _DPI.unpack(content)
        _packed_dpi((across, down))
        return "dpi", (across, down)
    return "comment", content.decode()


def _bounded(name: str, content: bytes) -> bytes:
    if len(content) > LIMITS[name]:
        raise ValueError(f"{len(content):,} bytes, over {LIMITS[name]:,}")
    return content


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
