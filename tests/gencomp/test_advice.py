"""Advice on other formats: edges decide, photographs raise no alarm; and qualities asked for by what they show."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

import gencomp
from gencomp.advice import Pixels, advise, avif_within, gmsd
from gencomp.cli.main import main
from gencomp.codec import Codec
from gencomp.target import TargetError, least_quality, psnr

pytestmark = pytest.mark.skipif(avif_within(np.zeros((8, 8, 3), np.uint8), 9999) is None, reason="Pillow has no AVIF")


@pytest.fixture(scope="module")
def codec() -> Codec:
    return gencomp.load(device="cpu")


def chart(kind: str) -> Image.Image:
    """Bars, lines, or boxes in outline, on white: what few bytes of AVIF hold nearly exactly."""
    image, rng = Image.new("RGB", (320, 240), "white"), np.random.default_rng(0)
    draw = ImageDraw.Draw(image)
    for k in range(8):
        colour = tuple(int(v) for v in rng.integers(0, 200, 3))
        box = (20 + k * 36, 220 - int(rng.integers(20, 190)), 44 + k * 36, 220)
        if kind == "bars":
            draw.rectangle(box, fill=colour)
        elif kind == "lines":
            draw.line((10, 20 + 25 * k, 310, 20 + 25 * k), fill=colour, width=3)
        else:
            draw.rectangle(box, outline=colour, width=3)
    return image


def photo(name: str) -> Pixels:
    return np.ascontiguousarray(getattr(pytest.importorskip("skimage.data"), name)()[40:296, 120:376])


@pytest.mark.parametrize("kind", ["bars", "lines", "boxes"])
def test_charts_are_better_off_as_avif(codec: Codec, kind: str) -> None:
    pixels = np.asarray(chart(kind))
    advice = advise(codec, pixels, 45.0, 8 * len(codec.compress(pixels, quality=45)) / pixels[..., 0].size)
    assert advice is not None
    assert advice.is_avif


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_photographs_are_not(codec: Codec, name: str) -> None:
    pixels = photo(name)
    advice = advise(codec, pixels, 45.0, 8 * len(codec.compress(pixels, quality=45)) / pixels[..., 0].size)
    assert advice is None or not advice.is_avif


def test_edges_are_compared_as_published() -> None:
    piq, torch = pytest.importorskip("piq"), pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.asarray(Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((96, 64)))
    y = np.clip(x + rng.normal(0, 12, x.shape), 0, 255).astype(np.uint8)
    a, b = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in (x, y))
    assert gmsd(x, y) == pytest.approx(float(piq.gmsd(a, b, data_range=1.0)), rel=0.05)  # its borders are padded
    assert gmsd(x, x) == gmsd(x[:3], y[:3]) == 0


def test_the_command_says_it_takes_it_or_is_quiet(tmp_path: Path) -> None:
    source, coded = tmp_path / "a.png", tmp_path / "b.gnc"
    chart("bars").save(source)

    def run(*more: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["compress", str(source), "-o", str(coded), "--device", "cpu", *more])
        return result.exit_code, result.output

    assert "AVIF of as many bytes" in run()[1]
    assert run("--quiet") == (0, "")
    limit = coded.stat().st_size
    assert run("--auto")[0] == 0
    assert (tmp_path / "b.avif").stat().st_size <= limit
    status, said = run("--auto")
    assert (status, "exists and is kept" in said) == (1, True)
    assert run("--auto", "--keep", "exif")[0] == 2


@pytest.mark.parametrize("wanted", [22.0, 25.0, 28.0])
def test_the_least_quality_that_shows_as_much_is_found(codec: Codec, wanted: float) -> None:
    pixels = photo("coffee")[:96, :96]

    def shown(quality: float) -> float:
        return psnr(pixels, np.asarray(codec.round_trip(Image.fromarray(pixels), quality=quality)))

    quality = least_quality(codec, pixels, lambda image: psnr(pixels, image) >= wanted)
    assert shown(quality) >= wanted
    assert quality < 1.5 or shown(quality - 0.5) < wanted + 0.1  # at realism 1 PSNR rises with quality but for a little
    with pytest.raises(TargetError, match="quality 100"):
        least_quality(codec, pixels, lambda image: False)
