"""The family from the names of rungs to trained models: planned once, trained side by side, resumed where it was.

Training is that of `gencomp.train`, called in worker processes: each has threads of its own, one that dies or fails
costs no other rung, and all end with this process, however it ends.
"""

import json
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch
from tqdm import tqdm

from gencomp.cli.batch import echo
from gencomp.cli.group import explain
from gencomp.processes import Died, Returned, Say, Told, Workers
from gencomp.train.export import export
from gencomp.train.loop import RunOptions, Stopped
from gencomp.train.loop import run as train
from gencomp.train.plan import estimate
from gencomp.train.recipes import RECIPES
from gencomp.train.settings import recipe

from . import plan as planning
from .plan import FamilySettings, Plan, PlannedRun, StageCost
from .rungs import ANCHOR, Rung, rung

LEAST_PROBE = 3.0  # seconds
PROBE_PART = 0.05  # of the budget, for the measurement of a recipe's speed
PROBE_STEPS = (4, 60)  # of a stage, at least and at most
NO_MEASURE = f"--arithmetic takes its measure from {ANCHOR}, which is not to be had here"
FAILED = "it failed"  # how the reason begins why a rung that is there has no model
Speeds = tuple[int, list[StageCost]]  # of a recipe here: its batch, and what a step of each stage costs
ENDED = 143  # the status of a process that SIGTERM has ended


class BusyError(OSError):
    """Another process works in the same folder."""


class FamilyFolder(NamedTuple):
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


class Task(NamedTuple):
    """Work for a process. name: of a recipe to measure, in about `seconds`, or of a rung to train by its runs."""

    name: str
    seconds: float = 0.0
    runs: tuple[PlannedRun, ...] = ()


class Failed(NamedTuple):
    """What a task came to that did not work."""

    why: str


class Trained(NamedTuple):
    """models by rung, in the order asked for; skipped: why a rung is not among them; failed: whether one of these is
    there and did not work."""

    plan: Plan
    models: dict[str, Path]
    skipped: dict[str, str]
    failed: bool


def trained(folder: FamilyFolder, names: Sequence[str], settings: FamilySettings, jobs: int, quiet: bool) -> Trained:
    """Plan and train what is missing; PlanError, BusyError. A rung that fails costs no other. jobs 0: here."""
    folder.out.mkdir(parents=True, exist_ok=True)
    prepare = partial(_prepare, folder)
    with _alone(folder.out), Workers(prepare, jobs, folder.threads, has_children=True) as workers:
        plan, skipped = _planned(workers, folder, names, settings, quiet)
        chosen = {name: plan[name] for name in names if name in plan}
        models, lost = _train_all(workers, folder, chosen, quiet)
    skipped |= lost
    if not models:
        reasons = "; ".join(dict.fromkeys(skipped.values()))
        raise planning.PlanError(f"none of these rungs can be trained here: {reasons}")
    failed = any(why.startswith(FAILED) for why in skipped.values())
    return Trained(plan, {name: models[name] for name in chosen if name in models}, skipped, failed)


def _planned(
    workers: Workers, folder: FamilyFolder, names: Sequence[str], settings: FamilySettings, quiet: bool
) -> tuple[Plan, dict[str, str]]:
    """The plan with every rung in it that can be had, written down whenever a speed is known, so that it is measured
    once even if the command is killed; and why others are not in it."""
    plan, skipped = planning.load(folder.out, settings), dict[str, str]()
    missing = [rung(name) for name in names if name not in plan]
    anchor = [rung(ANCHOR)] if missing and settings.arithmetic and ANCHOR not in plan else []
    wanted = list(dict.fromkeys(part.recipe for one in [*anchor, *missing] for part in one.runs))
    skipped |= {name: f"no recipe {name} is installed" for name in wanted if name not in RECIPES}
    seconds = max(LEAST_PROBE, PROBE_PART * 60 * settings.minutes)
    tasks = [Task(name, seconds) for name in wanted if name in RECIPES]
    speeds: dict[str, Speeds] = {}
    with tqdm(total=len(tasks), desc="measuring speeds", leave=False, disable=True if quiet else None) as bar:
        for task, result in _done(workers.run(tasks)):
            bar.update()
            if isinstance(result, Failed):
                skipped[task.name] = result.why
                continue
            speeds[task.name] = result
            operations = _operations(settings, plan, speeds)
            for one in [one for one in missing if one.name not in plan and _is_known(one, speeds)]:
                if operations is not None or not settings.arithmetic:
                    plan[one.name] = _runs(one, speeds, 60 * settings.minutes, operations)
                    planning.save(folder.out, settings, plan)
    for one in [one for one in missing if one.name not in plan]:
        skipped[one.name] = next((skipped[part.recipe] for part in one.runs if part.recipe in skipped), NO_MEASURE)
    return plan, {name: why for name, why in skipped.items() if name in names and name not in plan}


def _operations(settings: FamilySettings, plan: Plan, speeds: dict[str, Speeds]) -> float | None:
    """The budget in operations, those that the anchor does in the budget's minutes; None where it is one of time, or
    not known yet."""
    anchor = rung(ANCHOR)
    if not settings.arithmetic or (ANCHOR not in plan and not _is_known(anchor, speeds)):
        return None
    return sum(run.flops for run in plan.get(ANCHOR) or _runs(anchor, speeds, 60 * settings.minutes, None))


def _is_known(one: Rung, speeds: dict[str, Speeds]) -> bool:
    return all(part.recipe in speeds for part in one.runs)


def _runs(one: Rung, speeds: dict[str, Speeds], seconds: float, operations: float | None) -> list[PlannedRun]:
    budget, by_arithmetic = (seconds, False) if operations is None else (operations, True)
    return [planning.run_of(part.recipe, *speeds[part.recipe], part.share * budget, by_arithmetic) for part in one.runs]


def _train_all(
    workers: Workers, folder: FamilyFolder, plan: Plan, quiet: bool
) -> tuple[dict[str, Path], dict[str, str]]:
    done = dict.fromkeys(plan, 0)
    minutes = {name: sum(run.seconds for run in runs) / 60 for name, runs in plan.items()}
    steps = {name: sum(run.steps for run in runs) for name, runs in plan.items()}
    todo = [name for name in plan if not folder.model(name).is_file()]
    models = {name: folder.model(name) for name in plan if name not in todo}
    lost = dict[str, str]()
    shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min [{elapsed}<{remaining}]"
    with tqdm(total=sum(minutes[name] for name in todo), desc="training", bar_format=shape, leave=False,
              disable=True if quiet or not todo else None) as bar:  # fmt: skip

        def told(task: Task, step: int) -> None:
            done[task.name] = step
            bar.n = sum(minutes[name] * done[name] / steps[name] for name in todo)
            bar.refresh()

        for task, result in _done(workers.run([Task(name, runs=tuple(plan[name])) for name in todo]), told):
            if isinstance(result, Failed):
                lost[task.name] = result.why
                continue
            models[task.name] = result
            told(task, steps[task.name])
            if not quiet:
                echo(f"trained: {task.name}, {steps[task.name]:,} steps", err=True)
    return models, lost


def _done(
    events: Iterator[Told | Returned | Died | None], told: Callable[[Task, int], None] = lambda task, step: None
) -> Iterator[tuple[Task, Any]]:
    """Each task with what it came to; `told` hears what is said on the way."""
    for event in events:
        if isinstance(event, Told):
            told(event.task, event.message)
        elif isinstance(event, Returned):
            yield event.task, event.result
        elif isinstance(event, Died):
            yield event.task, Failed(f"{FAILED}: its process ended ({event.fault})")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """BusyError where another process holds the folder; the hold ends with its process, however that ends."""
    with (out / ".busy").open("w") as file:
        try:
            _lock(file, wait=False)
        except OSError as error:
            raise BusyError(f"{out}: another process trains in this folder") from error
        yield


def _lock(file: TextIO, wait: bool) -> None:
    with suppress(ImportError):  # Windows
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _prepare(folder: FamilyFolder, number: int, say: Say) -> tuple[None, Callable[[Task], Any]]:
    """What a worker does with a task; what training says goes into a file."""

    def do(task: Task) -> Any:
        printed = folder.out / "runs" / "said" / f"{'train' if task.runs else 'probe'}-{task.name}.txt"
        printed.parent.mkdir(parents=True, exist_ok=True)
        with printed.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            _lock(file, wait=True)  # which the worker of a command that was killed may hold while it saves
            try:
                if task.runs:
                    return train_rung(folder, task.name, task.runs, say)
                return measure_speeds(folder, task.name, task.seconds)
            except Stopped:  # it has saved where it stands
                sys.exit(ENDED)
            except Exception as error:
                traceback.print_exc()
                return Failed(f"{FAILED}: {explain(error)}")

    return None, do


def measure_speeds(folder: FamilyFolder, name: str, seconds: float) -> Speeds:
    """A recipe's speed in its first steps here, over about so many seconds.

    One run shows all its stages; realism without the model that it would go on from, but after some steps of the stage
    before.
    """
    chosen = recipe(name)
    stages: list[dict[str, Any]] = estimate(chosen, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    estimated = sum(stage["seconds_per_step"] for stage in stages)
    steps = min(PROBE_STEPS[1], max(PROBE_STEPS[0], round(seconds / max(1e-6, estimated))))
    with_realism = stages[-1]["stage"] == "realism"
    before = max(1, len(stages) - with_realism)  # stages before it
    where = folder.out / "runs" / "probes" / name
    shutil.rmtree(where, ignore_errors=True)  # what an interrupted measurement left
    total, begin_realism = (before + with_realism) * steps, before * steps if with_realism else None
    _train(folder, PlannedRun(name, total, begin_realism), where, None, RunOptions(log_every=1))
    whole = sum(stage["end"] - stage["begin"] for stage in stages)
    lines = log(where)
    costs = []
    for stage in stages:
        of_stage = [line for line in lines if line["stage"] == stage["stage"]]
        counted = of_stage[1:] or of_stage  # the first step also pays for what is set up once
        mean = sum(_seconds(line, 1, chosen.batch, folder) for line in counted) / max(1, len(counted))
        costs.append(StageCost(stage["stage"], (stage["end"] - stage["begin"]) / whole, mean, stage["flops"]))
    return chosen.batch, costs


def train_rung(folder: FamilyFolder, name: str, runs: Sequence[PlannedRun], say: Say) -> Path:
    """Every run of a rung to its end, from where it stands, and the model file; says the steps done as they go."""
    model, before, done = folder.model(name), None, 0
    for number, run in enumerate(runs, 1):
        where = folder.run(name, number)
        told = partial(lambda done, step: say(done + step), done)
        options = RunOptions(log_every=max(1, run.steps // 100), save_minutes=0.5, told=told)
        _train(folder, run, where, before, options)
        done, before = done + run.steps, where
    assert before is not None
    model.parent.mkdir(parents=True, exist_ok=True)
    export(before, model, name=name, graphs=True)
    return model


def _train(folder: FamilyFolder, run: PlannedRun, out: Path, before: Path | None, options: RunOptions) -> None:
    overrides = {"steps": str(run.steps)}
    if run.begin_realism is not None:
        overrides["realism.begin"] = str(run.begin_realism)
    train(recipe(run.recipe, overrides), list(folder.data), out, init=before, options=options)


def log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log that tell of training, the last of each step: a resumed run writes some again."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    by_step = {line["step"]: line for line in lines if "images_per_second" in line}
    return [by_step[step] for step in sorted(by_step)]


def seconds_spent(lines: Sequence[dict[str, Any]], batch: int, folder: FamilyFolder) -> float:
    """Seconds of training behind the lines of a log."""
    steps = [0, *(line["step"] for line in lines)]
    return sum(_seconds(line, line["step"] - before, batch, folder) for line, before in zip(lines, steps))


def _seconds(line: dict[str, Any], steps: int, batch: int, folder: FamilyFolder) -> float:
    if folder.on_cpu and line.get("processor_seconds"):
        return float(line["processor_seconds"]) / folder.threads
    return float(steps * batch / line["images_per_second"])
