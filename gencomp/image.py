"""Images: from a file of any kind to sRGB, 8 bits, upright; to a file by suffix; to tensors and back.

What becomes of an image on its way in (`read_image`), in this order:

    16-bit grey         v / 257, rounded (12-bit TIFF: v / 4095 * 255; white-is-zero TIFF: inverted)
    16-bit RGB, RGBA    the high byte, which is all that Pillow reads: at most one level from v / 257
    palette, 1-bit      their colours
    YCbCr, HSV, LAB     Pillow's conversion
    float, 32-bit       refused: no range is known that would make them an image
    vector graphics, raw photographs, films
                        refused before any reader sees them (kinds.py)
    ICC profile, cICP, nclx
                        converted to sRGB (perceptual intent); without one an image is taken as sRGB, CMYK by
                        Pillow's formula. What cannot be used (HDR among it) is ignored with an ImageWarning (colour.py)
    alpha, colour key   kept apart (`read_layers`), or composited on white, in sRGB values, as a browser does on a white
                        page (`read_image`)
    orientation of EXIF or XMP
                        applied to files and to images that Pillow has just opened; what was made of one in memory is
                        taken as it is, since it may have been turned already
    several frames      the first one, with an ImageWarning
    EXIF, XMP, comment, pixels per inch and the profile itself
                        left out, unless they are asked for by name (`read_layers`, rules in metadata.py)

PNG's gAMA and cHRM chunks and 16-bit depth beyond the above are not used. This is the only module that rounds pixels.
An image larger than Pillow warns of (Image.MAX_IMAGE_PIXELS) is a DecompressionBombWarning here too.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from gencomp.bitstream import MAX_PIXELS, SECTION_KINDS
from gencomp.colour import as_rgb, file_of, profile_of, to_srgb
from gencomp.files import write_atomically
from gencomp.kinds import ImageError, check_opened, open_image
from gencomp.machine import memory_for
from gencomp.metadata import ImageWarning, collect, save_options

if TYPE_CHECKING:
    import torch

Source = str | Path | BinaryIO | Image.Image | NDArray[Any]

_TURNS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]
_UPRIGHT = {orientation: Image.Transpose[turn] for orientation, turn in enumerate(_TURNS, 2)}
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}


def read_image(source: Source, max_pixels: int | None = MAX_PIXELS) -> Image.Image:
    """The image in `source` as mode RGB, sRGB, upright (rules in the module docstring).

    source: a path, an open binary file, a Pillow image, or an array HxW, HxWx3 or HxWx4 of uint8 or uint16. A Pillow
    image that needs no conversion is returned as it is. max_pixels: the largest width * height that is decoded; None
    lifts the limit. Raises ImageError, or OSError if the file itself cannot be opened.
    """
    rgb, alpha, _ = read_layers(source, (), max_pixels)
    return rgb if alpha is None else flattened(rgb, alpha)


def flattened(rgb: Image.Image, alpha: Image.Image, background: str | tuple[int, ...] = "white") -> Image.Image:
    """Colours over a background, in sRGB values; its name or numbers as Pillow knows colours."""
    return Image.composite(rgb, Image.new("RGB", rgb.size, background), alpha)


def read_mask(source: Source, max_pixels: int | None = MAX_PIXELS) -> NDArray[np.bool_]:
    """Where a mask is white, [H, W]; if painted on transparency, where it is painted white, or if nowhere, at all."""
    rgb, alpha, _ = read_layers(source, (), max_pixels)
    seen = rgb if alpha is None else flattened(rgb, alpha, "black")
    white = np.asarray(seen.convert("L")) > 127
    return white if alpha is None or white.any() else np.asarray(alpha) > 127


class Layers(NamedTuple):
    """rgb: mode RGB, upright; alpha: mode L, or None where nothing is transparent; sections: metadata by kind."""

    rgb: Image.Image
    alpha: Image.Image | None
    sections: dict[int, bytes]


def read_layers(source: Source, keep: Collection[str] = (), max_pixels: int | None = MAX_PIXELS) -> Layers:
    """`read_image` with alpha apart, and the metadata to keep as sections of a .gnc file by kind (metadata.py). Where
    the colour profile is kept the pixels stay in its colours."""
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    try:
        if isinstance(source, Image.Image):
            check_opened(source)
            return _convert(source, keep, max_pixels)
        with _pillow_limit(max_pixels), open_image(source) as image:
            _check_kind(image)
            return _convert(image, keep, max_pixels)
    except UnidentifiedImageError:
        raise ImageError("not an image that can be read") from None
    except Image.DecompressionBombError as error:
        raise ImageError(str(error)) from None
    except Exception as error:
        if isinstance(error, ImageError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        # Pillow's readers raise nearly everything on damaged input: struct.error, SyntaxError, zlib.error, ...
        raise ImageError(f"the image cannot be read: {error}") from error


def write_image(image: Image.Image, path: str | Path, info: Mapping[Any, Any] | None = None) -> None:
    """Write `image` by suffix, whole or not at all (`encoded_image`); OSError from the disk."""
    write_atomically(path, encoded_image(image, path, info))


def encoded_image(image: Image.Image, path: str | Path, info: Mapping[Any, Any] | None = None) -> memoryview:
    """`image` as a file of the format that the suffix of `path` names: PNG, JPEG (quality 95, 4:4:4), WebP, TIFF.

    info: metadata to write into it, named as in `Image.info`; what the format cannot hold is left out with an
    ImageWarning. Raises ImageError for an unknown suffix or an image that the format cannot hold.
    """
    name = image_format(path)
    if name == "JPEG" and image.mode == "RGBA":
        warnings.warn("JPEG holds no alpha: composited on white", ImageWarning, stacklevel=2)
        image = flattened(image.convert("RGB"), image.getchannel("A"))
    try:
        return _encoded(image, name, save_options(info or {}, name))
    except Exception as error:  # metadata come from outside: they must not cost the image
        if not info:
            raise
        warnings.warn(f"its metadata cannot be written as {name} ({error})", ImageWarning, stacklevel=2)
        return _encoded(image, name, {})


def warn_if_large(width: int, height: int, max_pixels: int | None) -> None:
    """Warn where Pillow does of a decompression bomb, unless the caller has raised the limit on purpose."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and max_pixels is not None and limit < width * height <= max_pixels <= 2 * limit:
        text = f"an image of {width}x{height} pixels, over {limit}: is it what it says it is?"
        warnings.warn(text, Image.DecompressionBombWarning, stacklevel=3)


def image_format(path: str | Path) -> str:
    """The format that a path's suffix stands for, as Pillow names it; ImageError naming those that can be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        what = f"suffix {suffix}" if suffix else "a name without a suffix"
        raise ImageError(f"{what} names no image format that can be written; known: {' '.join(_FORMATS)}")
    return _FORMATS[suffix]


def to_tensor(array: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 HxWx3 -> float32 1x3xHxW in [0, 1]."""
    import torch

    planes = np.array(array.transpose(2, 0, 1)[None], order="C")  # a copy: torch warns of what it could not write to
    return torch.from_numpy(planes).to(torch.float32).div_(255)


def to_uint8(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Float 1x3xHxW (or 3xHxW), clipped to [0, 1] -> uint8 HxWx3, rounded half to even."""
    import torch

    levels = tensor.detach().float().clamp(0, 1).mul_(255).round_().to(torch.uint8)
    planes: NDArray[np.uint8] = levels.reshape(levels.shape[-3:]).cpu().numpy()
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def _encoded(image: Image.Image, name: str, more: dict[str, Any]) -> memoryview:
    encoded = io.BytesIO()
    try:
        image.save(encoded, name, **{**_OPTIONS[name], **more})
    except (OSError, ValueError) as error:
        what = f"a {image.mode} image of {image.width}x{image.height}"
        raise ImageError(f"{what} cannot be written as {name}: {error}") from error
    return encoded.getbuffer()


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.dtype not in (np.uint8, np.uint16) or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        what = f"{'x'.join(map(str, array.shape))} of {array.dtype}"
        raise ImageError(f"an array must be HxW, HxWx3 or HxWx4 of uint8 or uint16, not {what}")
    if 0 in array.shape:
        raise ImageError("an array without pixels is no image")
    return Image.fromarray(array if array.dtype == np.uint8 else _reduce(array, 65535))


_lifting = threading.Lock()


@contextmanager
def _pillow_limit(max_pixels: int | None) -> Iterator[None]:
    """Let Pillow open images up to max_pixels. Its own limit is global, so it is moved only when it is in the way."""
    pillow_limit = Image.MAX_IMAGE_PIXELS
    if pillow_limit is None or (max_pixels is not None and max_pixels <= 2 * pillow_limit):
        yield
        return
    with _lifting:
        pillow_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = pillow_limit


def _check_kind(image: Image.Image) -> None:
    """Refuse or warn by what the file says before its pixels are decoded."""
    raw_modes = str([tile[3] for tile in getattr(image, "tile", [])])
    if isinstance(image.info.get("transparency"), tuple) and ";16" in raw_modes:
        raise ImageError("a 16-bit PNG with a transparent colour cannot be read correctly: give it an alpha channel")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview behind it
        warnings.warn(f"only the first of {frames} frames is used", ImageWarning, stacklevel=3)


def _convert(image: Image.Image, keep: Collection[str], max_pixels: int | None) -> Layers:
    width, height = image.size
    if not width * height:
        raise ImageError(f"an image of {width}x{height} has no pixels")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(f"{width}x{height} pixels are more than the limit of {max_pixels} (max_pixels)")
    profile, key = profile_of(image), _scaled_key(image)  # both can be seen before the pixels are decoded, not after
    with memory_for(width, height, ImageError):
        image.load()
        sections = collect(image, keep, profile) if keep else {}
        turn = _UPRIGHT.get(orientation_of(image))
        colour, alpha = _split(image, key)
        rgb = as_rgb(colour) if SECTION_KINDS["icc"] in sections else to_srgb(colour, profile)
        if turn is not None:
            rgb, alpha = rgb.transpose(turn), None if alpha is None else alpha.transpose(turn)
        if rgb is image and image.info:
            rgb = image.copy()
        if rgb is not image:
            rgb.info = {}  # profile, orientation and transparency are used up, and no file need carry them again
        return Layers(rgb, alpha, sections)


def orientation_of(image: Image.Image) -> int:
    """1 to 8, as EXIF has it, of an image whose pixels are as they lie in its file; 1 of what was made in memory."""
    if not isinstance(image, ImageFile.ImageFile):
        return 1
    try:
        return int(image.getexif().get(ExifTag.Orientation, 1))
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned as EXIF's orientation, 1 to 8, says."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _scaled_key(image: Image.Image) -> int | None:
    """The transparent level of a PNG of 2 or 4 bits in levels of 8 bits, to which Pillow brings pixels, not the key."""
    key = image.info.get("transparency")
    if image.format != "PNG" or image.mode != "L" or not isinstance(key, int):
        return None
    with file_of(image) as file:
        if file is None:
            return None
        file.seek(24)  # in the header: bits for each sample
        scale = {2: 85, 4: 17}.get((file.read(1) or b"\0")[0])
    return key * scale if scale else None


def _split(image: Image.Image, key: int | None) -> tuple[Image.Image, Image.Image | None]:
    """Colours as L, RGB or CMYK, 8 bits, and alpha as L, None where nothing is transparent. key: instead of its own."""
    mode = image.mode
    if key is not None:
        alpha = image.point([0 if level == key else 255 for level in range(256)])
        return image, alpha if alpha.getextrema()[0] == 0 else None
    if mode.startswith("I;16") or (mode == "I" and image.format in {"PPM", "PNG"}):
        return _split_grey16(image)
    if mode in {"I", "F"}:
        kind = "32-bit integer" if mode == "I" else "floating-point"
        raise ImageError(f"{kind} pixels have no known range: save the image with 8 or 16 bits")
    if mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        grey = mode in {"1", "L", "LA", "La"}
        layers = image.convert("LA" if grey else "RGBA")
        alpha = layers.getchannel("A")
        return layers.convert("L" if grey else "RGB"), None if alpha.getextrema() == (255, 255) else alpha
    if mode in {"L", "RGB", "CMYK"}:
        return image, None
    return image.convert("L" if mode == "1" else "RGB"), None


def _split_grey16(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    white = 4095 if tuple(tags.get(_TIFF_BITS, ())) == (12,) else 65535
    grey = _reduce(values, white)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    key = image.info.get("transparency")
    alpha = None if key is None else Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
    return Image.fromarray(grey), alpha


def _reduce(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Integers 0 .. white -> round(255 * v / white); through a table, so that no float image is made."""
    if values.size and (values.min() < 0 or values.max() > white):
        raise ImageError(f"pixel values outside 0 to {white}")
    table = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    return table[values]
