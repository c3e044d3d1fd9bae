"""Pictures of every kind come in as sRGB by the documented rule, or are refused; they go out by suffix."""

import contextlib
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from gencomp.image import (
    ImageError,
    ImageWarning,
    image_format,
    read_image,
    read_layers,
    to_tensor,
    to_uint8,
    write_image,
)

VALUES16 = np.array([[0, 127, 128, 129, 255, 256, 300, 32767, 32768, 65279, 65280, 65406, 65535]], np.uint16)
EXPECTED16 = np.array([[round(v / 257) for v in VALUES16[0].tolist()]], np.uint8)


def _array(source: Any, **options: Any) -> NDArray[np.uint8]:
    image = read_image(source, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def _file(image: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def _noise(height: int, width: int, channels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _png(samples: NDArray[np.uint16], colour_type: int, *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    """A 16-bit PNG, which Pillow itself cannot write with colours. samples: HxWxC."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts)
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(body))


def _icc(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ", kind: bytes = b"mntr") -> bytes:
    """A minimal ICC 2 profile (ICC.1:2001-04, 6.1 and 6.2)."""
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    head = struct.pack(">I4s4s4s4s4s", at + len(data), b"lcms", b"\x02\x10\0\0", kind, space, connection)
    illuminant = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    head += bytes(12) + b"acsp" + bytes(28) + illuminant
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(v * 65536) for v in (x, y, z)))


LINEAR = b"curv\0\0\0\0" + struct.pack(">I", 0)  # values proportional to light
WHITE = _xyz(0.9642, 1.0, 0.8249)
SRGB = {b"r": _xyz(0.4361, 0.2225, 0.0139), b"g": _xyz(0.3851, 0.7169, 0.0971), b"b": _xyz(0.1431, 0.0606, 0.7141)}
CURVES = {b"rTRC": LINEAR, b"gTRC": LINEAR, b"bTRC": LINEAR}
LINEAR_RGB = _icc(b"RGB ", {b"wtpt": WHITE, **{c + b"XYZ": xyz for c, xyz in SRGB.items()}, **CURVES})
LINEAR_GREY = _icc(b"GRAY", {b"wtpt": WHITE, b"kTRC": LINEAR})
RAMP8 = bytes(range(256))
MID_GREY_CMYK = _icc(  # colours become Lab (50.2, 0, 0) whatever they are, black ink makes them black
    b"CMYK",
    {
        b"wtpt": WHITE,
        b"A2B0": b"mft1\0\0\0\0\x04\x03\x02\0"
        + struct.pack(">9i", *(65536 * (i in (0, 4, 8)) for i in range(9)))
        + RAMP8 * 4
        + b"\x80\x80\x80\0\x80\x80" * 8
        + RAMP8 * 3,
    },
    b"Lab ",
    b"prtr",
)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"


def _srgb_of_light(level: int) -> int:
    """8-bit linear light -> 8-bit sRGB (IEC 61966-2-1)."""
    light = level / 255
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def test_rgb_comes_through_unchanged_from_path_file_and_picture(tmp_path: Path) -> None:
    pixels = _noise(5, 7, 3)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), _file(image, "PNG"), image, pixels):
        np.testing.assert_array_equal(_array(source), pixels)
    assert read_image(image) is image


def test_grey_one_bit_and_palette_become_their_colours() -> None:
    pixels = _noise(6, 6, 3)
    grey = Image.fromarray(pixels[..., 0])
    np.testing.assert_array_equal(_array(_file(grey, "PNG")), np.repeat(pixels[..., :1], 3, axis=2))
    bits = Image.fromarray(pixels[..., 0] > 127)
    np.testing.assert_array_equal(_array(_file(bits, "PNG"))[..., 1], 255 * (pixels[..., 0] > 127))
    palette = Image.fromarray(pixels).quantize(36)
    np.testing.assert_array_equal(_array(_file(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_what_was_applied_is_not_carried_on() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = Image.open(_file(Image.new("RGB", (4, 4), (9, 8, 7)), "PNG", icc_profile=srgb))
    read = read_image(source)
    assert read.info == {}  # or every file of a comparison would count the profile's bytes
    assert "icc_profile" in source.info  # and the caller's image stays as it is
    assert read.getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA"])
def test_alpha_is_composited_on_white(mode: str) -> None:
    layers = Image.fromarray(np.array([[[200, 40, 0, 255], [200, 40, 0, 0], [200, 40, 0, 51]]], np.uint8), "RGBA")
    if mode in {"LA", "La"}:
        layers = layers.convert("LA")
    opaque, clear, fifth = _array(layers if mode == "PA" else layers.convert(mode))[0].astype(int)
    full = np.asarray(layers.convert("RGB"))[0, 0].astype(int)
    np.testing.assert_array_equal(clear, 255)
    np.testing.assert_array_equal(opaque, full)
    np.testing.assert_allclose(fifth, full * 0.2 + 255 * 0.8, atol=2.5 if mode in {"RGBa", "La"} else 0.51)


def test_transparent_palette_entry_and_colour_key_are_composited_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 90, 80, 70])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(_array(_file(palette, "PNG", transparency=1)), [[[10, 20, 30], [255, 255, 255]]])
    faint = _array(_file(palette, "PNG", transparency=bytes([255, 51])))
    np.testing.assert_array_equal(faint[0, 1], [round(0.2 * v + 0.8 * 255) for v in (90, 80, 70)])
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    np.testing.assert_array_equal(_array(_file(rgb, "PNG", transparency=(4, 5, 6))), [[[1, 2, 3], [255, 255, 255]]])
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    np.testing.assert_array_equal(_array(_file(grey, "PNG", transparency=9))[0, :, 0], [7, 255])


def test_16_bit_grey_is_scaled_by_257_and_never_clipped() -> None:
    image, pgm = Image.fromarray(VALUES16), io.BytesIO(b"P5 13 1 65535\n" + VALUES16.astype(">u2").tobytes())
    for file in (_png(VALUES16[..., None], 0), _file(image, "TIFF"), pgm, image, VALUES16):
        np.testing.assert_array_equal(_array(file), np.repeat(EXPECTED16[..., None], 3, axis=2))


def test_16_bit_colours_are_at_most_one_level_from_exact_and_unbiased() -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(1, -1, 1)
    exact = ramp / 257
    for samples, colour_type in ((np.repeat(ramp, 3, 2), 2), (np.concatenate([ramp] * 3 + [ramp * 0 + 65535], 2), 6)):
        error = _array(_png(samples, colour_type)) - exact
        assert np.abs(error).max() <= 1
        assert abs(error.mean()) < 0.01
    np.testing.assert_array_equal(_array(np.repeat(VALUES16[..., None], 3, 2)), np.repeat(EXPECTED16[..., None], 3, 2))


def test_16_bit_grey_with_alpha_or_key_is_composited_on_white() -> None:
    samples = np.array([[[0x4040, 65535], [0x4040, 0]]], np.uint16)
    np.testing.assert_array_equal(_array(_png(samples, 4))[0, :, 0], [0x40, 255])
    keyed = _png(VALUES16[..., None], 0, (b"tRNS", struct.pack(">H", 300)))
    np.testing.assert_array_equal(_array(keyed)[0, :, 0], np.where(VALUES16[0] == 300, 255, EXPECTED16[0]))


def test_16_bit_colours_with_a_key_are_refused_because_the_key_cannot_be_matched() -> None:
    keyed = _png(np.repeat(VALUES16[..., None], 3, 2), 2, (b"tRNS", struct.pack(">HHH", 300, 300, 300)))
    with pytest.raises(ImageError, match="transparent colour"):
        read_image(keyed)


def test_tiff_of_white_zero_is_inverted() -> None:
    tiff = _file(Image.fromarray(VALUES16), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(_array(tiff)[..., 0], 255 - EXPECTED16)


def test_tiff_of_12_bits_is_scaled_by_4095() -> None:
    samples = [0, 1, 2048, 4095]
    packed = int("".join(f"{v:012b}" for v in samples), 2).to_bytes(6, "big")
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1), (279, 6)]
    at = 8 + 2 + 12 * len(tags) + 4
    ifd = b"".join(struct.pack("<HHII", tag, 4, 1, at if tag == 273 else value) for tag, value in tags)
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags)) + ifd + bytes(4) + packed
    np.testing.assert_array_equal(_array(io.BytesIO(tiff))[0, :, 0], [round(v / 4095 * 255) for v in samples])


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_float_and_32_bit_pixels_are_refused(dtype: type) -> None:
    tiff = _file(Image.fromarray(np.ones((2, 2), dtype)), "TIFF")
    with pytest.raises(ImageError, match="no known range"):
        read_image(tiff)


@pytest.mark.parametrize("shape", [(2, 2, 5), (2, 2, 1), (4,), (0, 2), (1, 2, 2, 3)])
def test_arrays_that_are_no_image_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="array"):
        read_image(np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="2x2x3 of float64"):
        read_image(np.zeros((2, 2, 3)))


def test_cmyk_without_profile_is_converted_by_formula() -> None:
    cmyk = Image.fromarray(np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "CMYK")
    np.testing.assert_array_equal(_array(_file(cmyk, "TIFF")), [[[255, 255, 255], [0, 255, 255], [0, 0, 0]]])
    np.testing.assert_allclose(_array(_file(cmyk.resize((24, 8), 0), "JPEG", quality=100))[0, 4], 255, atol=4)


def test_cmyk_goes_through_its_profile() -> None:
    inks = _noise(4, 4, 4)
    inks[0, :, 3], inks[1:, :, 3] = 255, 0
    converted = _array(_file(Image.fromarray(inks, "CMYK"), "TIFF", icc_profile=MID_GREY_CMYK))
    np.testing.assert_allclose(converted[0], 0, atol=2)
    np.testing.assert_allclose(converted[1:], 120, atol=2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_rgb_profile_is_converted_to_srgb(mode: str) -> None:
    image = Image.new("RGB", (4, 4), (128, 128, 128))
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    converted = _array(_file(image, "PNG", icc_profile=LINEAR_RGB))
    np.testing.assert_allclose(converted, _srgb_of_light(128), atol=1)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profile_is_converted_to_srgb(mode: str) -> None:
    ramp = Image.fromarray(np.arange(0, 256, 17, dtype=np.uint8)[None]).convert(mode)
    expected = [_srgb_of_light(level) for level in range(0, 256, 17)]
    np.testing.assert_allclose(_array(_file(ramp, "PNG", icc_profile=LINEAR_GREY))[0, :, 2], expected, atol=1)


@pytest.mark.parametrize("profile", [b"no profile", LINEAR_RGB[:150], MID_GREY_CMYK, LINEAR_GREY])
def test_broken_or_foreign_profile_is_ignored_and_said(profile: bytes) -> None:
    pixels = _noise(4, 4, 3)
    with pytest.warns(ImageWarning, match="colour profile cannot be used"):
        result = _array(_file(Image.fromarray(pixels), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    pixels = _noise(4, 6, 3)
    lying = pixels if orientation < 5 else pixels.transpose(1, 0, 2)
    upright = [lying, lying[:, ::-1], lying[::-1, ::-1], lying[::-1]][(orientation - 1) % 4]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(_file(Image.fromarray(pixels), kind, exif=exif))
    np.testing.assert_array_equal(np.asarray(image), upright)
    np.testing.assert_array_equal(_array(image), upright)


def test_animation_gives_its_first_frame_and_says_so() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    for kind in ("GIF", "PNG", "TIFF"):
        file = _file(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.warns(ImageWarning, match="first of 3 frames"):
            np.testing.assert_array_equal(_array(file)[0, 0], [255, 0, 0])


def test_jpeg_with_a_preview_behind_it_needs_no_warning() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(_file(frames[0], "MPO", save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("data", [b"", b"text, not a image", b"GIF89a", EPS])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        read_image(io.BytesIO(data))


def test_missing_file_and_folder_stay_oserrors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "no.png")
    with pytest.raises(OSError, match="directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM"])
def test_truncated_picture_is_refused(kind: str) -> None:
    data = _file(Image.fromarray(_noise(40, 40, 3)), kind).getvalue()
    with pytest.raises(ImageError):
        read_image(io.BytesIO(data[: len(data) // 2]))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF"]), st.randoms(use_true_random=False))
def test_damaged_picture_is_read_or_refused(kind: str, random: Any) -> None:
    data = bytearray(_file(Image.fromarray(_noise(12, 12, 3)), kind).getvalue())
    for _ in range(4):
        data[random.randrange(len(data))] = random.randrange(256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImageError):
            assert read_image(io.BytesIO(data), max_pixels=10_000).mode == "RGB"


def test_picture_beyond_the_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(Image.new("L", (100, 100)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="100x100 pixels are more than the limit of 9999"):
        read_image(file, max_pixels=9999)


def test_limit_can_be_raised_beyond_that_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(Image.new("L", (100, 100)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for limit in (10_000, None):
            assert read_image(file, max_pixels=limit).size == (100, 100)
            assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_leave_the_limit_of_pillow_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _file(Image.new("L", (100, 100)), "PNG").getvalue()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: read_image(io.BytesIO(data), None), range(80)))
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".tiff", ".PNG"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str) -> None:
    pixels = _noise(17, 9, 3)
    write_image(Image.fromarray(pixels), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(_array(tmp_path / f"a{suffix}"), pixels)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_jpeg_keeps_colour_at_full_resolution(tmp_path: Path) -> None:
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    write_image(Image.fromarray(stripes), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as written:
        assert written.format == "JPEG"
        assert np.abs(np.asarray(written).astype(int) - stripes).mean() < 4


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.gnc", ".png"])
def test_unknown_suffix_is_an_error_naming_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"known: \.png \.jpg \.jpeg \.webp \.tif \.tiff"):
        image_format(name)
    with pytest.raises(ImageError):
        write_image(Image.new("RGB", (2, 2)), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "width"), [("a.webp", 16384), ("a.jpg", 65536)])
def test_picture_too_large_for_its_format_is_a_clear_error(tmp_path: Path, name: str, width: int) -> None:
    with pytest.raises(ImageError, match=f"{width}x1 cannot be written as"):
        write_image(Image.new("RGB", (width, 1)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_kept_profile_leaves_the_pixels_in_its_colours() -> None:
    pixels = _noise(4, 6, 3)
    file = _file(Image.fromarray(pixels), "PNG", icc_profile=LINEAR_RGB)
    image, _, sections = read_layers(file, ["icc"])
    np.testing.assert_array_equal(np.asarray(image), pixels)
    assert sections == {3: LINEAR_RGB}
    assert not np.array_equal(_array(file), pixels)


def test_profile_of_other_colours_is_not_kept_but_applied_and_that_is_said() -> None:
    file = _file(Image.fromarray(_noise(4, 4, 4), "CMYK"), "TIFF", icc_profile=MID_GREY_CMYK)
    with pytest.warns(ImageWarning, match="its icc cannot be kept .*CMYK"):
        image, _, sections = read_layers(file, ["icc"])
    np.testing.assert_array_equal(np.asarray(image), _array(file))
    assert sections == {}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_running_out_of_memory_names_the_size(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    file = _file(Image.new("L", (20, 10)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", Mock(side_effect=error))
    with pytest.raises(ImageError, match="not enough memory for an image of 20x10"):
        read_image(file)


def test_metadata_that_a_format_cannot_hold_do_not_cost_the_image(tmp_path: Path) -> None:
    with pytest.warns(ImageWarning, match="cannot be written as JPEG"):
        write_image(Image.new("RGB", (2, 2)), tmp_path / "a.jpg", info={"xmp": bytes(100_000)})
    assert (tmp_path / "a.jpg").stat().st_size > 0


def test_tensors_hold_every_level_exactly() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    tensor = to_tensor(levels)
    assert tensor.shape == (1, 3, 1, 256)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (0, 1)
    np.testing.assert_array_equal(to_uint8(tensor), levels)
