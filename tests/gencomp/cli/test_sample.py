"""`gencomp sample` and `gencomp interpolate`: sheets and folders, animations, one line for what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gencomp.cli.main import main

TINY = Path(__file__).parent.parent.parent / "golden" / "tiny.safetensors"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--model", str(TINY)])


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for seed, name in enumerate(("a.png", "b.png")):
        blocks = np.random.default_rng(seed).integers(0, 256, (2, 3, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((34, 20)).save(tmp_path / name)
    return tmp_path / "a.png", tmp_path / "b.png"


def test_samples_come_as_a_sheet_or_one_by_one(tmp_path: Path) -> None:
    done = run("sample", "-o", tmp_path / "sheet.png", "--count", 5, "--size", "32x16", "--json")
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["seed"] for line in done.stdout.splitlines()] == [0, 1, 2, 3, 4]
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * 16 + 4, 3 * 32 + 8, 3)
    done = run("sample", "-o", tmp_path / "drawn", "--count", 2, "--size", "32x16", "--seed", 3)
    assert done.exit_code == 0, done.output
    single = [np.asarray(Image.open(tmp_path / "drawn" / f"sample-000{k}.png")) for k in range(2)]
    assert np.array_equal(single[0], sheet[20:, :32])  # the fourth image has the seed 3


@pytest.mark.parametrize("size", ["0x5", "big", "100000x100000", "3x"])
def test_sizes_that_are_none_are_wrong_usage(size: str, tmp_path: Path) -> None:
    assert run("sample", "-o", tmp_path / "x.png", "--size", size).exit_code == 2
    assert not (tmp_path / "x.png").exists()


def test_frames_come_as_files_or_as_an_animation(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = run("interpolate", *pair, "-o", tmp_path / "frames", "--frames", 3, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["frames"] == 3
    assert [p.name for p in sorted((tmp_path / "frames").iterdir())] == [f"frame-000{k}.png" for k in range(3)]
    done = run("interpolate", *pair, "-o", tmp_path / "film.webp", "--frames", 3, "--fps", 10, "--quality", 100)
    assert done.exit_code == 0, done.output
    film = Image.open(tmp_path / "film.webp")
    assert getattr(film, "n_frames", 1) > 1  # equal ones become one
    assert film.size == (34, 20)


def test_images_of_two_sizes_and_unknown_outputs_are_said_in_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    Image.open(pair[1]).resize((20, 34)).save(pair[1])
    done = run("interpolate", *pair, "-o", tmp_path / "frames")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == ["Error: the images have 34x20 and 20x34 pixels: bring them to one size first"]
    assert not (tmp_path / "frames").exists()
    assert run("interpolate", *pair, "-o", tmp_path / "film.mp4").exit_code == 2


def test_an_animation_that_would_fill_the_memory_is_refused_before_any_frame(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (1200, 900)).save(tmp_path / name)
    done = run("interpolate", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "film.webp", "--frames", 1000)
    assert done.exit_code == 2
    assert "name a folder" in done.stderr
    assert not (tmp_path / "film.webp").exists()
