"""The family from the names of rungs to trained models: planned once, trained side by side, resumed where it was."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from gencomp.cli.batch import echo

from . import plan as planning
from .child import ChildError
from .plan import Plan, Run, Settings, Stage
from .rungs import ANCHOR, Rung, rung
from .training import PROBE_PART, Described, Place, UnknownRecipe, described, probe, train

LEAST_PROBE = 3.0  # seconds
NO_MEASURE = f"--arithmetic takes its measure from {ANCHOR}, which is not to be had here"
FAILED = "it failed"  # how the reason begins why a rung that is there has no model


Recipe = tuple[Described, list[Stage]]


class Trained(NamedTuple):
    """models by rung, in the order asked for; skipped: why a rung is not among them; failed: whether one of these is
    there and did not work."""

    plan: Plan
    models: dict[str, Path]
    skipped: dict[str, str]
    failed: bool


class BusyError(OSError):
    """Another process works in the same folder."""


def trained(place: Place, names: Sequence[str], settings: Settings, jobs: int, quiet: bool) -> Trained:
    """Plan and train what is missing; PlanError, BusyError. A rung that fails costs no other."""
    place.out.mkdir(parents=True, exist_ok=True)
    with _alone(place.out):
        plan, skipped = _planned(place, names, settings, jobs, quiet)
        chosen = [name for name in names if name in plan]
        models, lost = _train_all(place, {name: plan[name] for name in chosen}, jobs, quiet)
    skipped |= lost
    if not models:
        reasons = "; ".join(dict.fromkeys(skipped.values()))
        raise planning.PlanError(f"none of these rungs can be trained here: {reasons}")
    failed = any(why.startswith(FAILED) for why in skipped.values())
    return Trained(plan, {name: models[name] for name in chosen if name in models}, skipped, failed)


def _planned(
    place: Place, names: Sequence[str], settings: Settings, jobs: int, quiet: bool
) -> tuple[Plan, dict[str, str]]:
    """The plan with every rung in it that can be had, written down; and why others are not in it."""
    plan, skipped = planning.load(place.out, settings), dict[str, str]()
    missing = [rung(name) for name in names if name not in plan]
    recipes: dict[str, Recipe] = {}
    wanted = list(dict.fromkeys(part.recipe for one in [*_anchor(settings, plan), *missing] for part in one.runs))
    with ThreadPoolExecutor(jobs) as pool:
        found = {pool.submit(_measured, place, name, settings.minutes): name for name in wanted if missing}
        with tqdm(total=len(found), desc="measuring speeds", leave=False, disable=True if quiet else None) as bar:
            for future in as_completed(found):
                bar.update()
                try:
                    recipes[found[future]] = future.result()
                except UnknownRecipe:
                    skipped[found[future]] = f"no recipe {found[future]} is installed"
                except ChildError as error:
                    skipped[found[future]] = f"{FAILED}: {error}"
                _write_down(place, plan, missing, recipes, settings)
    for one in [one for one in missing if one.name not in plan]:
        skipped[one.name] = next((skipped[part.recipe] for part in one.runs if part.recipe in skipped), NO_MEASURE)
    return plan, {name: why for name, why in skipped.items() if name in names and name not in plan}


def _write_down(
    place: Place, plan: Plan, missing: Sequence[Rung], recipes: dict[str, Recipe], settings: Settings
) -> None:
    """Plan the rungs whose recipes are all known, so that a speed is measured once even if the command is killed."""
    operations = _operations(settings, plan, recipes)
    for one in missing:
        known = one.name not in plan and all(part.recipe in recipes for part in one.runs)
        if known and (operations is not None or not settings.arithmetic):
            plan[one.name] = _runs(one, recipes, 60 * settings.minutes, operations)
            planning.save(place.out, settings, plan)


def _anchor(settings: Settings, plan: Plan) -> list[Rung]:
    """The rung whose arithmetic is everybody's budget, where its speed must be known and is not yet."""
    return [rung(ANCHOR)] if settings.arithmetic and ANCHOR not in plan else []


def _measured(place: Place, recipe: str, minutes: float) -> Recipe:
    found = described(place, recipe)
    return found, probe(place, found, max(LEAST_PROBE, PROBE_PART * 60 * minutes))


def _operations(settings: Settings, plan: Plan, recipes: dict[str, Recipe]) -> float | None:
    """The budget in operations, those that the anchor does in the budget's minutes; None where it is one of time, or
    not known yet."""
    if settings.arithmetic and ANCHOR in plan:
        return sum(run.flops for run in plan[ANCHOR])
    if not settings.arithmetic or ANCHOR not in recipes:
        return None
    return sum(run.flops for run in _runs(rung(ANCHOR), recipes, 60 * settings.minutes, None))


def _runs(one: Rung, recipes: dict[str, Recipe], seconds: float, operations: float | None) -> list[Run]:
    runs = []
    for part in one.runs:
        recipe, stages = recipes[part.recipe]
        budget = part.share * (seconds if operations is None else operations)
        runs.append(planning.run_of(part.recipe, recipe.batch, stages, budget, operations is not None))
    return runs


def _train_all(place: Place, plan: Plan, jobs: int, quiet: bool) -> tuple[dict[str, Path], dict[str, str]]:
    """Every rung to its model file, `jobs` at a time, under one bar in minutes of training as planned; and why others
    have none."""
    done = dict.fromkeys(plan, 0)
    minutes = {name: sum(run.seconds for run in runs) / 60 for name, runs in plan.items()}
    steps = {name: sum(run.steps for run in runs) for name, runs in plan.items()}
    todo = [name for name in plan if not place.model(name).is_file()]
    shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min [{elapsed}<{remaining}]"
    bar = tqdm(total=sum(minutes[name] for name in todo), desc="training", bar_format=shape, leave=False,
               disable=True if quiet or not todo else None)  # fmt: skip

    stop = threading.Event()

    def told(name: str, count: int) -> None:
        done[name] = count
        if stop.is_set():
            raise InterruptedError

    models, lost = dict[str, Path](), dict[str, str]()
    said = time.monotonic()
    with bar, _pool(jobs, stop) as pool:
        work = {pool.submit(train, place, name, plan[name], partial(told, name)): name for name in plan}
        while work:
            time.sleep(0.1)
            for future in [future for future in work if future.done()]:
                name = work.pop(future)
                try:
                    models[name] = future.result()
                except ChildError as error:
                    lost[name] = f"{FAILED}: {error}"
                    continue
                if name in todo and not quiet:
                    echo(f"trained: {name}, {steps[name]:,} steps", err=True)
            bar.n = sum(minutes[name] * done[name] / steps[name] for name in todo)
            if time.monotonic() - said > 1:
                bar.refresh()
                said = time.monotonic()
    return models, lost


@contextmanager
def _pool(jobs: int, stop: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """Threads that are told to stop, by an event that they look at, when the block is left by an error."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """BusyError where another process holds the folder; the hold ends with its process, however that ends."""
    with (out / ".busy").open("w") as file:
        with suppress(ImportError):  # Windows
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise BusyError(f"{out}: another process trains in this folder") from error
        yield
