"""Colours said by code points come in as sRGB, or are named in a warning; keys and masks are where they were meant."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from gencomp.image import ImageWarning, read_image, read_layers, read_mask

TO_SRGB = {  # linear light, from CSS Color 4, section 18
    12: [[1.2249401, -0.2249402, 0], [-0.0420570, 1.0420571, 0], [-0.0196376, -0.0786361, 1.0982735]],
    9: [[1.6602266, -0.5875477, -0.0728382], [-0.1245534, 1.1328999, -0.0083496], [-0.0181551, -0.1006030, 1.1187720]],
}
CURVES: dict[int, Callable[[Any], Any]] = {
    13: lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4),
    4: lambda v: v**2.2,
    8: lambda v: v,
}


def pixels() -> np.ndarray:
    """Patches of colours that stay within sRGB."""
    return np.random.default_rng(5).integers(70, 180, (3, 4, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)


def with_chunk(image: Image.Image, kind: bytes, content: bytes, **options: Any) -> io.BytesIO:
    """The image as a PNG with a chunk before its pixels."""
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    data, chunk = file.getvalue(), kind + content
    at = data.index(b"IDAT") - 4
    length, crc = (struct.pack(">I", number) for number in (len(content), zlib.crc32(chunk)))
    return io.BytesIO(data[:at] + length + chunk + crc + data[at:])


def png(primaries: int, transfer: int, full: int = 1, **options: Any) -> io.BytesIO:
    return with_chunk(Image.fromarray(pixels()), b"cICP", bytes([primaries, transfer, 0, full]), **options)


def avif(primaries: int, transfer: int, full: int = 1) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, "AVIF", quality=100, subsampling="4:4:4")
    data = bytearray(file.getvalue())
    at = data.index(b"nclx") + 4
    data[at : at + 4] = struct.pack(">HH", primaries, transfer)
    return io.BytesIO(bytes(data))


def expected(primaries: int, transfer: int) -> np.ndarray:
    light = CURVES[transfer](pixels() / 255) @ np.array(TO_SRGB.get(primaries, np.eye(3))).T
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.clip(light, 1e-9, None) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("points", [(12, 13), (9, 13), (12, 4), (1, 8), (9, 8)])
@pytest.mark.parametrize("file", [png, avif])
def test_colours_of_code_points_are_converted(file: Any, points: tuple[int, int]) -> None:
    for source in (file(*points), Image.open(file(*points))):
        difference = np.abs(np.asarray(read_image(source)) - np.clip(expected(*points), 0, 255))
        assert difference.mean() <= 1.5  # the AVIF is coded with a little loss
        assert np.abs(pixels() - expected(*points)).mean() > 2.5  # or nothing would be shown


@pytest.mark.parametrize("points", [(1, 13), (1, 1), (2, 2), (1, 6)])
def test_code_points_of_srgb_change_nothing(points: tuple[int, int]) -> None:
    np.testing.assert_array_equal(np.asarray(read_image(png(*points))), pixels())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(np.asarray(read_image(png(*points, icc_profile=srgb))), pixels())  # the chunk counts


@pytest.mark.parametrize("points", [(9, 16, "PQ"), (9, 18, "HLG"), (1, 17, "transfer 17"), (10, 13, "primaries 10")])
@pytest.mark.parametrize("file", [png, avif])
def test_colours_that_no_profile_can_say_are_named(file: Any, points: tuple[int, int, str]) -> None:
    with pytest.warns(ImageWarning, match=points[2]):
        read_image(file(*points[:2]))


@pytest.mark.parametrize("file", [png, avif])
def test_colours_are_converted_when_pillow_saves_what_it_has_opened(file: Any, tmp_path: Path, fake_codec: Any) -> None:
    path = tmp_path / "photo"
    path.write_bytes(file(12, 13).getvalue())
    Image.open(path).save(tmp_path / "photo.gnc", quality=100)  # which decodes the pixels first
    shown = np.asarray(Image.open(tmp_path / "photo.gnc"))
    assert np.abs(shown - np.clip(expected(12, 13), 0, 255)).mean() < 1.5


def test_a_narrow_range_is_named() -> None:
    with pytest.warns(ImageWarning, match="narrow range"):
        read_image(png(12, 13, 0))


def test_colours_of_code_points_can_be_kept_as_a_profile() -> None:
    rgb, _, sections = read_layers(png(12, 13), ["icc"])
    np.testing.assert_array_equal(np.asarray(rgb), pixels())
    tagged = Image.fromarray(pixels())
    tagged.info["icc_profile"] = sections[3]
    assert np.abs(np.asarray(read_image(tagged)) - np.clip(expected(12, 13), 0, 255)).mean() < 1


def test_broken_boxes_and_chunks_are_as_if_they_were_not_there() -> None:
    draw = np.random.default_rng(0)
    for file in (png, avif):
        whole = file(12, 13).getvalue()
        for _ in range(60):
            data = bytearray(whole)
            data[int(draw.integers(8, 200))] = int(draw.integers(256))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    read_image(io.BytesIO(bytes(data)))
                except ValueError as error:
                    said = str(error)
                    assert "\n" not in said


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_grey_png_is_transparent_where_its_key_says(bits: int) -> None:
    levels = min(1 << bits, 16)
    row = np.arange(levels)
    packed = np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(-1)).tobytes()
    header = struct.pack(">IIBBBBB", levels, 1, bits, 0, 0, 0, 0)
    for key in range(levels):
        chunks = [(b"IHDR", header), (b"tRNS", struct.pack(">H", key))]
        chunks += [(b"IDAT", zlib.compress(b"\0" + packed)), (b"IEND", b"")]
        data = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
        rgb, alpha, _ = read_layers(io.BytesIO(b"\x89PNG\r\n\x1a\n" + data))
        assert alpha is not None
        np.testing.assert_array_equal(np.asarray(alpha)[0], np.where(row == key, 0, 255))
        np.testing.assert_array_equal(np.asarray(rgb)[0, :, 0], row * 255 // ((1 << bits) - 1))


@pytest.mark.parametrize(
    ("ground", "paint"),
    [
        ((0, 0, 0, 0), (255, 255, 255, 255)),
        ((255, 255, 255, 0), (255, 255, 255, 255)),
        ((0, 0, 0, 0), (0, 0, 0, 255)),  # with a black brush
        ((0, 0, 0, 0), (90, 0, 0, 255)),
        ((0, 0, 0, 255), (255, 255, 255, 255)),
    ],
)
def test_a_mask_is_what_was_painted(ground: tuple[int, ...], paint: tuple[int, ...]) -> None:
    mask = Image.new("RGBA", (12, 8), ground)
    mask.paste(paint, (3, 2, 7, 5))
    hole = np.zeros((8, 12), bool)
    hole[2:5, 3:7] = True
    np.testing.assert_array_equal(read_mask(mask), hole)
