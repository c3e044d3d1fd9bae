"""Alpha beside the codec: the plane without loss in a section of the file, and colours that cost nothing where it is 0.

The section (kind 6) begins with a byte that says its form:

    0   a rectangle: a byte, alpha inside it; a byte, alpha elsewhere; varints left, top, width, height [pixels], at
        least one pixel, within the image. One value everywhere is a rectangle of the whole image
    1   a PNG or lossless WebP file of one grey (or black-and-white) image as large as the coded one: its levels, 0 to
        255 (white 255), are alpha

Alpha is straight, not premultiplied; colours are those of the coded image. What fits neither form is left out.
"""

import io
import warnings
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gencomp.bitstream import MAX_PIXELS, MAX_SECTION_BYTES, SECTION_KINDS, read_varint, varint
from gencomp.image import Source, flattened, read_layers
from gencomp.kinds import open_image, saved
from gencomp.metadata import ImageWarning

KIND = SECTION_KINDS["alpha"]
_RECTANGLE, _FILE = 0, 1
_WEBP_SIDE = 16383
_GREY = 128


def read_with_alpha(
    source: Source, keep: Collection[str] = (), max_pixels: int | None = MAX_PIXELS, background: str | None = None
) -> tuple[Image.Image, dict[int, bytes]]:
    """The colours to code, mode RGB, and the sections of the file: metadata to keep, and alpha if there is any.

    background: composite on this colour instead, and keep no alpha. What does not fit into a file is composited on
    white with an ImageWarning.
    """
    rgb, alpha, sections = read_layers(source, keep, max_pixels)
    if alpha is None:
        return rgb, sections
    if background is None:
        content = pack_alpha(alpha)
        if len(content) + sum(map(len, sections.values())) <= MAX_SECTION_BYTES:
            return filled(rgb, alpha), {**sections, KIND: content}
        text = f"its alpha takes {len(content):,} bytes, which a file has no room for: composited on white"
        warnings.warn(text, ImageWarning, stacklevel=3)
    return flattened(rgb, alpha, background or "white"), sections


def pack_alpha(alpha: Image.Image) -> bytes:
    """The content of a section for a plane of mode L: the shortest of the forms above."""
    values = np.asarray(alpha)
    for outside in sorted({int(values[row, column]) for row in (0, -1) for column in (0, -1)}):
        rows, columns = (np.flatnonzero((values != outside).any(axis)) for axis in (1, 0))
        box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else (0, alpha.height, 0, alpha.width)
        top, bottom, left, right = map(int, box)
        inside = values[top:bottom, left:right]
        if (inside == inside[0, 0]).all():
            place = b"".join(map(varint, (left, top, right - left, bottom - top)))
            return bytes([_RECTANGLE, int(inside[0, 0]), outside]) + place
    hard = bool(np.isin(values, (0, 255)).all())
    files = [saved(alpha.convert("1", dither=Image.Dither.NONE) if hard else alpha, "PNG", optimize=True)]
    if max(alpha.size) <= _WEBP_SIDE:
        files.append(saved(alpha, "WEBP", lossless=True, quality=100, method=6))
    return bytes([_FILE]) + min(files, key=len)


def unpack_alpha(content: bytes, size: tuple[int, int]) -> Image.Image:
    """The plane, mode L, of a section's content, for an image of size (width, height). ValueError or what Pillow raises
    for anything else."""
    form = content[0]
    if form == _RECTANGLE:
        at, place = 3, []
        for _ in range(4):
            number, at = read_varint(content, at, 3)
            place.append(number)
        left, top, width, height = place
        if not (width and height and left + width <= size[0] and top + height <= size[1]) or at != len(content):
            raise ValueError("a rectangle beyond the image")
        plane = Image.new("L", size, content[2])
        plane.paste(content[1], (left, top, left + width, top + height))
        return plane
    if form != _FILE:
        raise ValueError(f"form {form}")
    with open_image(io.BytesIO(content[1:])) as file:
        grey = file.mode in {"1", "L"}
        known = file.format in {"PNG", "WEBP"} and (grey or file.mode == "RGB") and getattr(file, "n_frames", 1) == 1
        if not known or file.size != size:
            raise ValueError(f"an image {file.mode} of {file.width}x{file.height}")
        return file.convert("L") if grey else file.getchannel("G")


def with_alpha(image: Image.Image, content: bytes | None) -> Image.Image:
    """A decoded image with the alpha of its file, mode RGBA; as it is, with an ImageWarning, if that is damaged."""
    if content is None:
        return image
    try:
        image.putalpha(unpack_alpha(content, image.size))
    except Exception as error:  # Pillow's readers raise nearly everything
        warnings.warn(f"the file's alpha is damaged and left out ({error})", ImageWarning, stacklevel=3)
    return image


def filled(rgb: Image.Image, alpha: Image.Image) -> Image.Image:
    """The colours with those that are not seen at all, alpha 0, made smooth, so that they cost next to no bits."""
    seen = np.asarray(alpha) > 0
    if seen.all():
        return rgb
    return Image.fromarray(np.rint(spread(np.asarray(rgb, np.float32), seen)).astype(np.uint8))


def spread(pixels: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """[H, W, 3] with what is not known, [H, W], taken from means of what lies around at 2, 4, 8, .. pixels (push-pull,
    Gortler et al. 1996, The Lumigraph, section 3.5)."""
    height, width = known.shape
    if known.all():
        return pixels
    if not known.any():
        return np.full_like(pixels, _GREY)
    even = ((0, height % 2), (0, width % 2))
    weight = np.pad(known, even).astype(np.float32)
    sums = np.pad(pixels, (*even, (0, 0))) * weight[..., None]
    blocks = (weight.shape[0] // 2, 2, weight.shape[1] // 2, 2)
    count, total = weight.reshape(blocks).sum((1, 3)), sums.reshape(*blocks, 3).sum((1, 3))
    half = spread(total / np.maximum(count, 1)[..., None], count > 0)
    box, smooth = (0, 0, width / 2, height / 2), Image.Resampling.BILINEAR
    planes = (Image.fromarray(half[..., channel]).resize((width, height), smooth, box) for channel in range(3))
    return np.where(known[..., None], pixels, np.stack([np.asarray(plane) for plane in planes], -1))
