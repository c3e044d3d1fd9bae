"""Alpha comes back as it was, costs next to nothing where it is simple, and what lies under it costs no bits."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gencomp.alpha import KIND, filled, pack_alpha, read_with_alpha, unpack_alpha, with_alpha
from gencomp.bitstream import MAX_SECTION_BYTES, inspect
from gencomp.codec import Codec
from gencomp.image import ImageWarning, encoded_image, read_image

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"
SIZE = (61, 43)


def drawn(shape: str, fill: int = 255, ground: int = 0) -> NDArray[np.uint8]:
    image = Image.new("L", SIZE, ground)
    getattr(ImageDraw.Draw(image), shape)((7, 5, 40, 30), fill=fill)
    return np.asarray(image)


def boxed(box: tuple[int, int, int, int], inside: int = 255, outside: int = 0) -> NDArray[np.uint8]:
    plane = np.full(SIZE[::-1], outside, np.uint8)
    top, bottom, left, right = box
    plane[top:bottom, left:right] = inside
    return plane


DRAW = np.random.default_rng(3)
SIMPLE = {
    "nothing seen": boxed((0, 0, 0, 0)),
    "glass": boxed((0, 0, 0, 0), 0, 128),
    "nearly opaque": boxed((0, 0, 0, 0), 0, 254),
    "rectangle": boxed((5, 30, 7, 40)),
    "hole": boxed((5, 30, 7, 40), 0, 255),
    "glass in glass": boxed((5, 30, 7, 40), 77, 200),
    "corner": boxed((0, 9, 0, 11)),
    "other corner": boxed((30, 43, 50, 61)),
    "band": boxed((0, 43, 20, 30)),
    "edge": boxed((0, 43, 0, 20), 3, 200),
    "pixel": boxed((20, 21, 30, 31), 254, 255),
}
COMPLEX = {
    "ellipse": drawn("ellipse"),
    "soft ellipse": np.asarray(Image.fromarray(drawn("ellipse")).resize((9, 7)).resize(SIZE)),
    "ramp": np.tile(np.linspace(0, 255, SIZE[0]).astype(np.uint8), (SIZE[1], 1)),
    "steps": np.tile(np.arange(SIZE[0], dtype=np.uint8) // 16 * 85, (SIZE[1], 1)),
    "noise": DRAW.integers(0, 256, SIZE[::-1], dtype=np.uint8),
    "hard noise": 255 * DRAW.integers(0, 2, SIZE[::-1], dtype=np.uint8),
    "checks": (255 * (np.indices(SIZE[::-1]).sum(0) // 4 % 2)).astype(np.uint8),
    "two boxes": np.maximum(boxed((2, 9, 2, 9)), boxed((20, 30, 20, 50))),
    "dust": np.where(DRAW.random(SIZE[::-1]) < 0.01, 254, 255).astype(np.uint8),
}


def layered(alpha: NDArray[np.uint8]) -> Image.Image:
    patches = np.random.default_rng(4).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(np.dstack([np.asarray(Image.fromarray(patches).resize(SIZE)), alpha]))


@pytest.mark.parametrize("name", [*SIMPLE, *COMPLEX])
def test_alpha_of_every_kind_comes_back_exactly(codec: Codec, name: str) -> None:
    alpha = (SIMPLE | COMPLEX)[name]
    data = codec.compress(layered(alpha), quality=30)
    seen = codec.decompress(data)
    assert seen.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(seen)[..., 3], alpha)
    for suffix in ("x.png", "x.webp", "x.tif"):
        written = Image.open(io.BytesIO(encoded_image(seen, suffix)))
        np.testing.assert_array_equal(np.asarray(written.convert("RGBA"))[..., 3], alpha)
    assert codec.size(layered(alpha), 30) == len(data)
    if name in SIMPLE:
        without = codec.compress(filled(layered(alpha).convert("RGB"), Image.fromarray(alpha)), quality=30)
        assert len(data) - len(without) <= 30


@pytest.mark.parametrize("mode", ["LA", "PA", "P", "key", "array"])
def test_every_way_to_say_alpha_is_kept(codec: Codec, mode: str) -> None:
    image, alpha = layered(drawn("ellipse")), drawn("ellipse")
    source: Any = np.asarray(image) if mode == "array" else image.convert("LA") if mode == "LA" else image
    if mode in {"P", "PA"}:
        source = image.quantize(8).convert("PA") if mode == "PA" else image.quantize(8)
    if mode == "key":
        source = Image.fromarray(np.where(alpha, 200, 7).astype(np.uint8))
        source.info["transparency"] = 7
    if mode in {"P", "PA"}:
        alpha = np.asarray(source.convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(np.asarray(codec.decompress(codec.compress(source)))[..., 3], alpha)


def test_what_is_not_transparent_keeps_no_alpha(codec: Codec) -> None:
    image = layered(boxed((0, 0, 0, 0), 0, 255))
    assert KIND not in inspect(codec.compress(image)).extras
    assert codec.compress(image) == codec.compress(image.convert("RGB"))


def test_colours_that_are_not_seen_cost_nothing() -> None:
    alpha, noise = drawn("ellipse"), layered(drawn("ellipse"))
    noisy = np.array(noise)
    noisy[alpha == 0, :3] = DRAW.integers(0, 256, (int((alpha == 0).sum()), 3))
    shown = [np.asarray(read_with_alpha(image)[0]) for image in (noise, Image.fromarray(noisy))]
    np.testing.assert_array_equal(shown[0], shown[1])  # whatever lies there
    np.testing.assert_array_equal(shown[0][alpha > 0], noisy[alpha > 0, :3])
    steps = np.abs(np.diff(shown[0].astype(int), axis=1)).mean()
    assert steps < 0.2 * np.abs(np.diff(noisy[..., :3].astype(int), axis=1)).mean()


def test_a_background_is_composited_on_and_keeps_no_alpha(codec: Codec) -> None:
    image = layered(SIMPLE["glass"])
    data = codec.compress(image, background="#ff0000")
    assert KIND not in inspect(data).extras
    red = Image.composite(image.convert("RGB"), Image.new("RGB", SIZE, "red"), image.getchannel("A"))
    assert data == codec.compress(red)
    assert codec.compress(image, background="white") == codec.compress(read_image(image))


def test_jpeg_says_that_it_is_flattened_and_pillow_opens_alpha(fake_codec: Any) -> None:
    image, file = layered(drawn("ellipse")), io.BytesIO()
    image.save(file, "GNC", quality=100)
    seen = Image.open(file)
    assert (seen.mode, seen.size) == ("RGBA", SIZE)  # before anything is decoded
    np.testing.assert_array_equal(np.asarray(seen)[..., 3], drawn("ellipse"))
    with pytest.warns(ImageWarning, match="JPEG holds no alpha"):
        written = Image.open(io.BytesIO(encoded_image(seen, "x.jpg")))
    assert np.asarray(written)[0, 0].min() > 240
    image.save(file := io.BytesIO(), "GNC", background="white")
    assert Image.open(file).mode == "RGB"


def test_alpha_too_large_for_a_file_is_composited_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gencomp.alpha.MAX_SECTION_BYTES", 100)
    with pytest.warns(ImageWarning, match="no room for: composited on white"):
        rgb, sections = read_with_alpha(layered(COMPLEX["noise"]))
    assert not sections
    assert rgb.size == SIZE


def test_alpha_turns_with_its_image() -> None:
    image = layered(SIMPLE["corner"])
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    rgb, sections = read_with_alpha(file)
    turned = Image.fromarray(SIMPLE["corner"]).transpose(Image.Transpose.ROTATE_270)
    assert rgb.size == turned.size
    np.testing.assert_array_equal(np.asarray(unpack_alpha(sections[KIND], rgb.size)), np.asarray(turned))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0", b"\0\1\2", b"\2", b"\1", b"\1junk", b"\0\1\2\0\0\x7f\x7f", b"\0\1\2\0\0\1\0", b"\0\1\2\0\0\1\1\0",
        pack_alpha(Image.fromarray(COMPLEX["noise"][:-1])),
        b"\1%!PS-Adobe-3.0 EPSF-3.0", pack_alpha(Image.fromarray(COMPLEX["noise"]))[:-40],
        b"\1" + bytes(encoded_image(Image.new("RGBA", SIZE), "x.png")),
    ],
)  # fmt: skip
def test_damaged_alpha_costs_the_alpha_alone(content: bytes) -> None:
    image = Image.new("RGB", SIZE)
    with pytest.warns(ImageWarning, match="alpha is damaged"):
        assert with_alpha(image, content).mode == "RGB"


def test_the_largest_section_is_within_bounds() -> None:
    noise = DRAW.integers(0, 256, (900, 900), dtype=np.uint8)
    wide = np.tile(np.arange(17000) % 251, (2, 1)).astype(np.uint8)  # beyond what WebP holds
    for plane in map(Image.fromarray, (noise, wide)):
        content = pack_alpha(plane)
        assert len(content) < MAX_SECTION_BYTES
        np.testing.assert_array_equal(np.asarray(unpack_alpha(content, plane.size)), np.asarray(plane))
