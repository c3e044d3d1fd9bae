"""A small study of made-up images: three ways of coding, from good to bad, on four images."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.eval.study.design.build import StudyOptions, blurred, build
from gencomp.eval.study.design.sources import StudyImage
from gencomp.eval.study.plan import Design, Method, Study, load
from gencomp.eval.study.web.session import Course
from gencomp.eval.study.web.store import Store

QUALITY = {"good": 1, "middling": 3, "bad": 6}  # factor of the blur


def made_up(seed: int, width: int = 120, height: int = 96) -> Image.Image:
    """Edges, a gradient and texture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 60 * np.sin(x / 5 + seed) * np.cos(y / 7) + 40 * ((x // 16 + y // 16) % 2)
    pixels = 90 + waves[..., None] + 0.4 * x[..., None] + rng.normal(0, 18, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def made_up_codings(folder: Path, images: int = 4, codecs: dict[str, int] = QUALITY) -> list[StudyImage]:
    folder.mkdir(parents=True, exist_ok=True)
    coded = []
    for k in range(images):
        image = made_up(k)
        original = folder / f"image{k}.png"
        image.save(original)
        for codec, factor in codecs.items():
            path = folder / f"image{k}-{codec}.png"
            (blurred(image, factor) if factor > 1 else image).save(path)
            metrics = {"psnr": 40.0 - factor - 0.1 * k, "lpips_alex": 0.05 * factor + 0.01 * k}
            coded.append(StudyImage(f"image{k}", codec, "", None, original, path, 0.1 * factor, metrics))
    return coded


def options(**changes: Any) -> StudyOptions:
    design = Design("random", 12, checks=2, repeats=1, training=2, rest_every=0)
    given = StudyOptions(design, "A test", "Which is closer?", "flip", crop=(64, 64), questions=())
    return replace(given, **changes)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    build(root / "study", made_up_codings(root / "images"), options())
    return root / "study"


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A fresh copy of the small study, without votes."""
    return Path(shutil.copytree(built, tmp_path / "study"))


@pytest.fixture
def study(folder: Path) -> Study:
    return load(folder)


@pytest.fixture
def course_of() -> Callable[[Store, Study], Course]:
    """The course of raters by a clock on which five seconds pass whenever somebody looks."""
    return lambda store, study: Course(study, store, count(1_800_000_000, 5).__next__)


@pytest.fixture
def course(folder: Path, study: Study, course_of: Callable[[Store, Study], Course]) -> Course:
    return course_of(Store(folder, study.id), study)


@pytest.fixture(scope="session")
def codings() -> Callable[..., list[StudyImage]]:
    return made_up_codings


@pytest.fixture(scope="session")
def make_options() -> Callable[..., StudyOptions]:
    return options


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., tuple[Path, Study]]:
    """Builds the small study, or one of these codings, with options of its own."""

    def make(coded: list[StudyImage] | None = None, **changes: Any) -> tuple[Path, Study]:
        place = tmp_path / "made"
        return place, build(place, coded or made_up_codings(tmp_path / "images"), options(**changes))

    return make


@pytest.fixture
def built_with(make_study: Callable[..., tuple[Path, Study]]) -> Callable[[Method], tuple[Path, Study]]:
    """Builds the small study with a design of twelve pairs by this method."""
    return lambda method: make_study(design=Design(method, 12, 2, 1, 2, 0))
