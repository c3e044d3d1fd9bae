"""The demonstration: real files, equal sizes, one image; and the sheet of crops, pixels as they are."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image
from skimage.data import data_dir

from gencomp.eval.codecs.build import build
from gencomp.eval.demo.cli import demo
from gencomp.eval.demo.crops import CROPS, SIDE, show
from gencomp.eval.demo.sheet import busiest_square, side_by_side

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"


def test_sizes_are_equal_or_the_table_says_why(photos: Path, tmp_path: Path) -> None:
    given = [str(photos / "coffee.png"), "-o", str(tmp_path / "seen.png"), "--model", str(TINY), "--device", "cpu"]
    done = CliRunner().invoke(demo, [*given, "--json", "--bpp", "0.5"])
    assert done.exit_code == 0, done.output
    ours, *others = json.loads(done.stdout)["codecs"]
    assert abs(ours["bpp"] / 0.5 - 1) <= 0.02 or "not reached" in ours["note"]
    assert [one["codec"] for one in (ours, *others)] == ["gencomp", "avif", "webp", "jpeg"]
    for other in others:
        assert abs(other["bytes"] / ours["bytes"] - 1) <= 0.02 or "not reached" in other["note"]
    with Image.open(tmp_path / "seen.png") as sheet:
        assert sheet.width > 1000
    text = CliRunner().invoke(demo, [*given, "--bpp", "0.5", "--overwrite"]).stdout
    assert "Side by side" in text
    assert f"{ours['bytes']:,}" in text
    assert CliRunner().invoke(demo, [*given, "--bpp", "0.5", "--quality", "30"]).exit_code == 2
    assert CliRunner().invoke(demo, [given[0], "-o", "seen.jpg"]).exit_code == 2  # only a PNG is written


def test_the_detail_is_the_busiest_square() -> None:
    pixels = np.full((90, 120), 128, np.uint8)
    pixels[50:70, 70:90] = np.random.default_rng(0).integers(0, 256, (20, 20))
    left, top, side = busiest_square(Image.fromarray(pixels).convert("RGB"), 20)
    assert side == 20
    assert abs(left - 70) <= 1
    assert abs(top - 50) <= 1


def test_a_sheet_of_an_image_smaller_than_the_detail() -> None:
    small = Image.new("RGB", (30, 20), "red")
    assert side_by_side(small, [("one", "10 bytes", small), ("two", "11 bytes", small)]).width > 3 * 2 * 20


def test_the_sheet_of_crops_shows_pixels_one_to_one() -> None:
    for name, left, top, _ in CROPS:
        with Image.open(Path(data_dir) / name) as photo:
            assert 0 <= left <= photo.width - SIDE
            assert 0 <= top <= photo.height - SIDE
    jpeg = build("jpeg")[0]
    sheet = np.asarray(show(CROPS[:1], jpeg, jpeg, bpp=1.0))
    name, left, top, _ = CROPS[0]
    with Image.open(Path(data_dir) / name) as photo:
        piece = np.asarray(photo.convert("RGB"))[top : top + SIDE, left : left + SIDE]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, piece.shape)[:, :20, 0]
    assert sum(np.array_equal(window, piece) for row in windows for window in row) == 1
