"""A small study of made-up pictures: three ways of coding, from good to bad, on four pictures."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gencomp.eval.study.design.build import Options, blurred, build
from gencomp.eval.study.design.sources import Coded
from gencomp.eval.study.plan import Design, Study, load

QUALITY = {"good": 1, "middling": 3, "bad": 6}  # factor of the blur


def made_up(seed: int, width: int = 120, height: int = 96) -> Image.Image:
    """Edges, a gradient and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 60 * np.sin(x / 5 + seed) * np.cos(y / 7) + 40 * ((x // 16 + y // 16) % 2)
    pixels = 90 + waves[..., None] + 0.4 * x[..., None] + rng.normal(0, 18, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def made_up_codings(folder: Path, pictures: int = 4, codecs: dict[str, int] = QUALITY) -> list[Coded]:
    folder.mkdir(parents=True, exist_ok=True)
    coded = []
    for k in range(pictures):
        picture = made_up(k)
        original = folder / f"picture{k}.png"
        picture.save(original)
        for codec, factor in codecs.items():
            path = folder / f"picture{k}-{codec}.png"
            (blurred(picture, factor) if factor > 1 else picture).save(path)
            metrics = {"psnr": 40.0 - factor - 0.1 * k, "lpips_alex": 0.05 * factor + 0.01 * k}
            coded.append(Coded(f"picture{k}", codec, "", None, original, path, 0.1 * factor, metrics))
    return coded


def options(**changes: object) -> Options:
    design = Design("random", 12, checks=2, repeats=1, training=2, rest_every=0)
    given = {"design": design, "title": "A test", "question": "Which is closer?", "layout": "flip", "crop": (64, 64)}
    return Options(**(given | changes))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    build(root / "study", made_up_codings(root / "pictures"), options())
    return root / "study"


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A fresh copy of the small study, without votes."""
    return Path(shutil.copytree(built, tmp_path / "study"))


@pytest.fixture
def study(folder: Path) -> Study:
    return load(folder)


@pytest.fixture
def codings() -> Callable[..., list[Coded]]:
    return made_up_codings


@pytest.fixture
def make_options() -> Callable[..., Options]:
    return options


@pytest.fixture
def built_with(tmp_path: Path) -> Callable[[str], tuple[Path, Study]]:
    """Builds the small study with a design of twelve pairs by this method."""

    def make(method: str) -> tuple[Path, Study]:
        design = Design(method, 12, checks=2, repeats=1, training=2, rest_every=0)
        place = tmp_path / f"{method} study"
        return place, build(place, made_up_codings(tmp_path / "pictures"), options(design=design))

    return make


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """Path of a Chromium; the test is skipped where there is none."""
    pytest.importorskip("playwright")
    for name in ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell"):
        if path := shutil.which(name):
            yield path
            return
    pytest.skip("no chromium on this machine")
