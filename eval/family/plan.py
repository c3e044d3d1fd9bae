"""How many steps each rung gets: measured speeds or counted arithmetic, fixed once in plan.json.

Schedules depend on the number of steps, so a run that goes on after a crash must be told the same one.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gencomp.files import write_atomically

FORMAT = "gencomp-family-2"
FILE = "plan.json"
LEAST_STEPS = 2  # of a stage


class PlanError(ValueError):
    """The folder was planned otherwise, or a budget cannot be planned with."""


class StageCost(NamedTuple):
    """A stage of a recipe: its procedure, its share of the recipe's steps, and what one step costs."""

    procedure: str
    share: float
    seconds: float
    flops: float


class PlannedRun(NamedTuple):
    """A planned training run. begin_realism: its step, or None; flops and seconds as planned, of the whole run."""

    recipe: str
    steps: int
    begin_realism: int | None = None
    batch: int = 0
    seconds: float = 0.0
    flops: float = 0.0


class FamilySettings(NamedTuple):
    """What a folder was begun with. minutes: the budget of a rung; arithmetic: whether it is that of the anchor's."""

    data: tuple[str, ...]
    minutes: float
    arithmetic: bool


Plan = dict[str, list[PlannedRun]]  # by rung


def run_of(recipe: str, batch: int, stages: Sequence[StageCost], budget: float, by_arithmetic: bool) -> PlannedRun:
    """The run whose stages, in their shares of the steps, cost `budget` together: seconds, or operations."""
    cost = sum(stage.share * (stage.flops if by_arithmetic else stage.seconds) for stage in stages)
    steps = [max(LEAST_STEPS, round(budget / cost * stage.share)) for stage in stages]
    begin_realism = sum(steps[:-1]) if stages[-1].procedure == "realism" and len(stages) > 1 else None
    seconds, flops = (sum(n * getattr(s, what) for n, s in zip(steps, stages)) for what in ("seconds", "flops"))
    return PlannedRun(recipe, sum(steps), begin_realism, batch, seconds, flops)


def load(out: Path, settings: FamilySettings) -> Plan:
    """What is planned already; PlanError where that was with other settings."""
    path = out / FILE
    if not path.is_file():
        return {}
    try:
        saved = json.loads(path.read_text("utf-8"))
        before = FamilySettings(**{**saved["settings"], "data": tuple(saved["settings"]["data"])})
        plan = {name: [PlannedRun(**run) for run in runs] for name, runs in saved["rungs"].items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PlanError(f"{path} cannot be read as a plan: {error}") from error
    differs = [name for name in FamilySettings._fields if getattr(before, name) != getattr(settings, name)]
    if differs:
        what = ", ".join(f"--{n} {_shown(getattr(before, n))} (now {_shown(getattr(settings, n))})" for n in differs)
        raise PlanError(f"{out} was begun with {what.replace('minutes', 'budget')}: name another --out")
    return plan


def save(out: Path, settings: FamilySettings, plan: Plan) -> None:
    """Write the plan, whole or not at all."""
    rungs: dict[str, Any] = {name: [run._asdict() for run in runs] for name, runs in plan.items()}
    text = json.dumps({"format": FORMAT, "settings": settings._asdict(), "rungs": rungs}, indent=1)
    write_atomically(out / FILE, text.encode())


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
