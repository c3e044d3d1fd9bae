"""The plan of a study: what is compared, on which crops, in which order. Written once by `study new`, then only read.

A study folder holds

    study.json     this plan
    images/        every image a rater can see, a PNG at 1:1 named by the hash of its bytes, so that its address
                   says nothing about the codec and cannot be guessed
    consent.txt    what a rater reads and agrees to; the owner's words
    votes.sqlite   raters, their trials and their votes (`store.py`)
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from gencomp.files import write_atomically

PLAN_VERSION = 2
Layout = Literal["flip", "side", "inplace"]
Method = Literal["full", "random", "active"]
LAYOUTS: tuple[str, ...] = get_args(Layout)
METHODS: tuple[str, ...] = get_args(Method)
ORIGINAL, DEGRADED, MILD = "original", "degraded", "mild"  # images of a scene that are no codec's
IMAGE_ID = re.compile(r"[0-9a-f]{32}")


class StudyError(ValueError):
    """What is wrong with a study, in one line for its owner."""


@dataclass(frozen=True)
class Condition:
    """One way of coding that is judged: a codec at one setting (and one realism, where it has that knob)."""

    id: str  # readable and unique: what the owner sees; a rater never does
    codec: str
    setting: str
    realism: float | None
    bpp: float | None  # mean over the study's images, from the files' bytes
    measures: dict[str, float]  # measures over a set of images (fid, kid, ...), from the evaluation


@dataclass(frozen=True)
class Rendering:
    """One scene coded under one condition."""

    image: str
    bpp: float | None
    metrics: dict[str, float]  # of the evaluation (whole image) and psnr_crop (of what the rater sees)


@dataclass(frozen=True)
class Scene:
    """One crop of one photograph: the original, its renderings, and two spoilt copies for checks and training."""

    id: str
    image: str
    x: int
    y: int
    width: int
    height: int
    original: str
    degraded: str  # nobody who looks can take it for the original
    mild: str  # softer, for training
    check: bool  # degraded differs enough here to serve as an attention check
    renderings: dict[str, Rendering]

    def image_id(self, name: str) -> str:
        """The image id of a condition of this scene, or of "original", "degraded" or "mild"."""
        own = {ORIGINAL: self.original, DEGRADED: self.degraded, MILD: self.mild}
        return own[name] if name in own else self.renderings[name].image


@dataclass(frozen=True)
class Design:
    """What one rater does. Trials: pairs that count; checks and repeats come on top; training goes before."""

    method: Method
    trials: int
    checks: int
    repeats: int
    training: int
    rest_every: int  # the page offers a rest after so many trials; 0: never


class Pair(NamedTuple):
    """Two conditions (ids in the plan's order) on one scene: what a vote decides."""

    scene: str
    first: str
    second: str


@dataclass(frozen=True)
class Study:
    title: str
    question: str
    layout: Layout
    ties: bool
    seed: int
    design: Design
    conditions: tuple[Condition, ...]
    scenes: tuple[Scene, ...]

    @property
    def id(self) -> str:
        """Names this very study: equal plans have equal ids, so votes given in several places can be pooled."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()[:16]

    @cached_property
    def scene(self) -> dict[str, Scene]:
        """The scenes by id."""
        return {scene.id: scene for scene in self.scenes}

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every pair of conditions on every scene that has both, in the plan's order."""
        order = [condition.id for condition in self.conditions]
        return [
            Pair(scene.id, first, second)
            for scene in self.scenes
            for first, second in combinations([c for c in order if c in scene.renderings], 2)
        ]

    @property
    def images(self) -> frozenset[str]:
        """The ids of all images that a rater can see."""
        return frozenset(
            scene.image_id(name) for scene in self.scenes for name in (ORIGINAL, DEGRADED, MILD, *scene.renderings)
        )

    def largest_crop(self) -> tuple[int, int]:
        """Width and height in pixels that hold every crop of the study."""
        return max(s.width for s in self.scenes), max(s.height for s in self.scenes)


def canonical(study: Study) -> str:
    return json.dumps({"version": PLAN_VERSION} | asdict(study), sort_keys=True, ensure_ascii=False, allow_nan=False)


def save(study: Study, folder: Path) -> None:
    text = json.dumps({"version": PLAN_VERSION} | asdict(study), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "study.json", text.encode())


def load(folder: Path) -> Study:
    """The plan in a study folder. StudyError says what is missing or broken."""
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(f"{folder} is no study: it has no study.json. Make one with `gencomp study new {folder} ...`")
    try:
        study = _study(json.loads(path.read_text("utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path} is broken ({error}); build the study again with `gencomp study new`") from error
    return study


def _study(plan: Mapping[str, Any]) -> Study:
    if plan["version"] != PLAN_VERSION:
        raise ValueError(f"plan version {plan['version']}; this program knows {PLAN_VERSION}")
    conditions = tuple(Condition(**c) for c in plan["conditions"])
    scenes = tuple(
        Scene(**(s | {"renderings": {c: Rendering(**r) for c, r in s["renderings"].items()}})) for s in plan["scenes"]
    )
    known = {condition.id for condition in conditions}
    if len(known) < len(conditions) or len(known) < 2 or not scenes:
        raise ValueError("it needs two or more different conditions and at least one scene")
    for scene in scenes:
        names = [*scene.renderings, ORIGINAL, DEGRADED, MILD]
        if not set(scene.renderings) <= known or not all(IMAGE_ID.fullmatch(scene.image_id(n)) for n in names):
            raise ValueError(f"scene {scene.id} names an unknown condition or image")
    if plan["layout"] not in LAYOUTS or plan["design"]["method"] not in METHODS:
        raise ValueError("unknown layout or design")
    return Study(
        str(plan["title"]),
        str(plan["question"]),
        plan["layout"],
        bool(plan["ties"]),
        int(plan["seed"]),
        Design(**plan["design"]),
        conditions,
        scenes,
    )


def finite(value: object) -> float | None:
    """A number from a table's cell, or None where it holds none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
