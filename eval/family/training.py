"""Rungs trained and exported by the commands that a person would give, each in a process of its own."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import child
from .plan import Run, Stage

PROBE_PART = 0.05  # of the budget, for the measurement of a recipe's speed
PROBE_STEPS = (4, 60)  # of a stage, at least and at most
POLL_SECONDS = 0.5
Told = Callable[[int], None]  # is told the steps done


class UnknownRecipe(ValueError):
    """No recipe of this name is installed."""


class Described(NamedTuple):
    """A recipe before it is run: its batch, and each stage as plain values (see `train/plan.py`)."""

    name: str
    batch: int
    stages: list[dict[str, float]]


class Place(NamedTuple):
    """Where the runs of a family lie, and how they are made.

    on_cpu: seconds are those of the processor, divided by `threads`, so that other work on the machine does not take
    part of a rung's budget; else they are those of the clock.
    """

    out: Path
    data: tuple[str, ...]
    threads: int
    on_cpu: bool

    def run(self, rung: str, number: int) -> Path:
        return self.out / "runs" / rung / f"{number}"

    def model(self, rung: str) -> Path:
        return self.out / "models" / f"{rung}.safetensors"

    def said(self, what: str) -> Path:
        """Where what a command said is kept."""
        return self.out / "runs" / "said" / f"{what}.txt"


def described(place: Place, recipe: str) -> Described:
    """What a recipe asks for; UnknownRecipe where there is none of this name."""
    try:
        said = child.call(["train", recipe, "--dry-run", "--json"], place.said(f"describe-{recipe}"), place.threads)
    except child.ChildError as error:
        if error.status == 2:
            raise UnknownRecipe(str(error)) from error
        raise
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return Described(recipe, int(found["recipe"]["batch"]), found["stages"])


def probe(place: Place, recipe: Described, seconds: float) -> list[Stage]:
    """The stages of a recipe with the speed of their first steps here, over about so many seconds.

    One run shows all its stages; realism without the model that it would go on from, but after some steps of the stage
    before.
    """
    estimated = sum(stage["seconds_per_step"] for stage in recipe.stages)
    steps = min(PROBE_STEPS[1], max(PROBE_STEPS[0], round(seconds / max(1e-6, estimated))))
    with_realism = recipe.stages[-1]["stage"] == "realism"
    before = max(1, len(recipe.stages) - with_realism)  # stages before it
    where = place.out / "runs" / "probes" / recipe.name
    shutil.rmtree(where, ignore_errors=True)  # what an interrupted measurement left
    total, begin_realism = (before + with_realism) * steps, before * steps if with_realism else None
    arguments = _train(place, recipe.name, total, begin_realism, where)
    child.call([*arguments, "--log-every", "1"], place.said(f"probe-{recipe.name}"), place.threads)
    whole = sum(stage["end"] - stage["begin"] for stage in recipe.stages)
    lines = log(where)
    return [
        Stage(
            str(stage["stage"]),
            (stage["end"] - stage["begin"]) / whole,
            _seconds_per_step([line for line in lines if line["stage"] == stage["stage"]], recipe.batch, place),
            stage["flops"],
        )
        for stage in recipe.stages
    ]


def train(place: Place, rung: str, runs: Sequence[Run], told: Told) -> Path:
    """Every run of a rung to its end, from where it stands, and the model file; `told` hears of steps as they go."""
    model, before = place.model(rung), None
    if model.is_file():
        return model
    done = 0
    for number, run in enumerate(runs, 1):
        where, said = place.run(rung, number), place.said(f"train-{rung}-{number}")
        arguments = _train(place, run.recipe, run.steps, run.begin_realism, where)
        arguments += ["--init", str(before)] if before else []
        arguments += ["--log-every", str(max(1, run.steps // 100)), "--save-minutes", "0.5"]
        with child.started(arguments, said, place.threads) as process:
            while not child.finished(process, said):
                told(done + steps_done(where))
                time.sleep(POLL_SECONDS)
        done, before = done + run.steps, where
        told(done)
    model.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["export", str(before), "-o", str(model), "--name", rung]
    child.call(arguments, place.said(f"export-{rung}"), place.threads)
    return model


def _train(place: Place, recipe: str, steps: int, begin_realism: int | None, out: Path) -> list[str]:
    arguments = ["train", recipe, "--steps", str(steps), "--out", str(out)]
    arguments += [part for source in place.data for part in ("--data", source)]
    arguments += ["--set", f"realism.begin={begin_realism}"] if begin_realism is not None else []
    return [*arguments, "--sample-every", "0", "--validate-every", "0", "--tracker", "none"]


def steps_done(run: Path) -> int:
    """The last step that a run's log knows of."""
    lines = log(run)
    return int(lines[-1]["step"]) if lines else 0


def log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log that tell of training, the last of each step: a resumed run writes some again."""
    by_step: dict[int, dict[str, Any]] = {}
    path = run / "log.jsonl"
    for text in path.read_text("utf-8").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:  # being written, or cut by a kill
            continue
        if "images_per_second" in line:
            by_step.pop(line["step"], None)
            by_step[line["step"]] = line
    return [by_step[step] for step in sorted(by_step)]


def seconds_spent(lines: Sequence[dict[str, Any]], batch: int, place: Place) -> float:
    """Seconds of training behind the lines of a log."""
    steps, seconds = 0, 0.0
    for line in lines:
        seconds += _seconds(line, line["step"] - steps, batch, place)
        steps = line["step"]
    return seconds


def _seconds_per_step(lines: Sequence[dict[str, Any]], batch: int, place: Place) -> float:
    """Mean over the lines of one step each, but for the first, which also pays for what is set up once."""
    counted = lines[1:] or lines
    return sum(_seconds(line, 1, batch, place) for line in counted) / max(1, len(counted))


def _seconds(line: dict[str, Any], steps: int, batch: int, place: Place) -> float:
    """Of the steps that a line stands for."""
    if place.on_cpu and line.get("processor_seconds"):
        return float(line["processor_seconds"]) / place.threads
    return float(steps * batch / line["images_per_second"])
