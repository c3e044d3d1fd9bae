"""The plan of a study: what is compared, on which crops, in which order. Written once by `study new`, then only read.

A study folder holds

    study.json     this plan
    images/        every image a rater can see, a PNG at 1:1 named by the hash of its bytes, so that its address
                   says nothing about the codec and cannot be guessed
    consent.txt    what a rater reads and agrees to; the owner's words
    votes.sqlite   raters, their trials and their votes (`store.py`)
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from gencomp.files import write_atomically

from .questions import Question, questions_from

PLAN_VERSION = 2
Task = Literal["pairs", "dsis", "acr"]
Layout = Literal["flip", "side", "inplace"]
Method = Literal["full", "random", "active"]
TASKS: tuple[str, ...] = get_args(Task)
METHODS: tuple[str, ...] = get_args(Method)
LAYOUTS: dict[Task, tuple[Layout, ...]]  # the first is the default
LAYOUTS = {"pairs": ("flip", "side", "inplace"), "dsis": ("side", "inplace"), "acr": ("side",)}
GRADES: dict[Task, tuple[str, ...]] = {  # best first: 5 to 1; BT.500-15 for DSIS, P.910 for ACR
    "dsis": ("Imperceptible", "Perceptible, but not annoying", "Slightly annoying", "Annoying", "Very annoying"),
    "acr": ("Excellent", "Good", "Fair", "Poor", "Bad"),
}
QUESTIONS: dict[Task, str] = {
    "pairs": "Which is closer to the original, A or B?",
    "dsis": "How far is the image from the original?",
    "acr": "How good is this image?",
}
MAX_DENSITY = 2.5  # device pixels per point; beyond it an image at 1:1 is too small on the screen to be judged
# Images of a scene that are no codec's. `hidden` is the original as it stands among the answers: another file.
ORIGINAL, HIDDEN, DEGRADED, OBVIOUS, MILD = OWN = ("original", "hidden", "degraded", "obvious", "mild")
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
    """One crop of one photograph: the original, its renderings, and what checks and training need.

    No file of a check or of the training is one that a rater has met in another role, so that comparing addresses or
    bytes tells no more than looking does.
    """

    id: str
    image: str
    x: int
    y: int
    width: int
    height: int
    original: str
    hidden: str  # the original with single samples one level off: looks the same, is another file
    degraded: str  # for checks: nobody who looks can take it for the original
    obvious: str  # for training: as plain to see
    mild: str  # for training: softer
    check: bool  # degraded differs enough here to serve as an attention check
    renderings: dict[str, Rendering]

    def image_id(self, name: str) -> str:
        """The image id of a condition of this scene, or of one of its own images (OWN)."""
        return str(getattr(self, name)) if name in OWN else self.renderings[name].image


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
    """What a vote decides: two conditions (ids in the plan's order) on one scene, or one (second is "") to be rated."""

    scene: str
    first: str
    second: str


@dataclass(frozen=True)
class Study:
    title: str
    question: str
    task: Task
    layout: Layout
    ties: bool
    seed: int
    max_density: float
    design: Design
    questions: tuple[Question, ...]
    conditions: tuple[Condition, ...]
    scenes: tuple[Scene, ...]

    @property
    def id(self) -> str:
        """Names this very study: equal plans have equal ids, so votes given in several places can be pooled."""
        return hashlib.sha256(canonical(self, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def scene(self) -> dict[str, Scene]:
        """The scenes by id."""
        return {scene.id: scene for scene in self.scenes}

    @property
    def choices(self) -> tuple[str, ...]:
        """The answers that a trial takes."""
        if self.task != "pairs":
            return ("5", "4", "3", "2", "1")
        return ("a", "b", "tie") if self.ties else ("a", "b")

    @property
    def flips(self) -> bool:
        """Whether what is judged shares a place on the screen, so that no answer is possible without a flip."""
        return self.layout == "inplace" or (self.layout == "flip" and self.task == "pairs")

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every pair of conditions on every scene that has both, in the plan's order; what is rated in other tasks.

        ACR rates the hidden original, too, as in P.910's ACR-HR."""
        order = [condition.id for condition in self.conditions]
        if self.task != "pairs":
            rated = [HIDDEN, *order] if self.task == "acr" else order
            return [Pair(s.id, name, "") for s in self.scenes for name in rated if name in (HIDDEN, *s.renderings)]
        coded = {scene.id: [c for c in order if c in scene.renderings] for scene in self.scenes}
        return [Pair(scene, *two) for scene, names in coded.items() for two in combinations(names, 2)]

    @property
    def images(self) -> frozenset[str]:
        """The ids of all images that a rater can see."""
        return frozenset(scene.image_id(name) for scene in self.scenes for name in (*OWN, *scene.renderings))

    def largest_crop(self) -> tuple[int, int]:
        """Width and height in pixels that hold every crop of the study."""
        return max(s.width for s in self.scenes), max(s.height for s in self.scenes)


def items(task: Task, conditions: int) -> int:
    """How many pairs, or images to rate, so many conditions of one scene make."""
    return {"pairs": conditions * (conditions - 1) // 2, "dsis": conditions, "acr": conditions + 1}[task]


def canonical(study: Study, **how: Any) -> str:
    return json.dumps({"version": PLAN_VERSION} | asdict(study), ensure_ascii=False, allow_nan=False, **how)


def save(study: Study, folder: Path) -> None:
    write_atomically(folder / "study.json", canonical(study, indent=1).encode())


def load(folder: Path) -> Study:
    """The plan in a study folder. StudyError says what is missing or broken."""
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(f"{folder} is no study: it has no study.json. Make one with `gencomp study new {folder} ...`")
    try:
        return _study(json.loads(path.read_text("utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{path} is broken ({error}); build the study again with `gencomp study new`") from error


def _study(plan: Mapping[str, Any]) -> Study:
    if plan["version"] != PLAN_VERSION:
        raise ValueError(f"plan version {plan['version']}; this program knows {PLAN_VERSION}")
    conditions = tuple(Condition(**c) for c in plan["conditions"])
    coded = [{c: Rendering(**r) for c, r in scene["renderings"].items()} for scene in plan["scenes"]]
    scenes = tuple(Scene(**(s | {"renderings": of})) for s, of in zip(plan["scenes"], coded))
    known = {condition.id for condition in conditions}
    if len(known) < len(conditions) or len(known) < 2 or not scenes:
        raise ValueError("it needs two or more different conditions and at least one scene")
    for scene in scenes:
        names = [*scene.renderings, *OWN]
        if not set(scene.renderings) <= known or not all(IMAGE_ID.fullmatch(scene.image_id(n)) for n in names):
            raise ValueError(f"scene {scene.id} names an unknown condition or image")
    if plan["task"] not in TASKS or plan["layout"] not in LAYOUTS[plan["task"]]:
        raise ValueError("unknown task or layout")
    if plan["design"]["method"] not in METHODS or (plan["design"]["method"] == "active" and plan["task"] != "pairs"):
        raise ValueError("unknown design")
    seed, density = int(plan["seed"]), float(plan["max_density"])
    parts = Design(**plan["design"]), questions_from(plan["questions"]), conditions, scenes
    asked = str(plan["title"]), str(plan["question"]), plan["task"], plan["layout"], bool(plan["ties"])
    return Study(*asked, seed, density, *parts)
