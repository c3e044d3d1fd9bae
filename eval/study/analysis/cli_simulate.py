"""`gencomp study simulate`: what a study can tell, before anybody has voted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options
from gencomp.cli.batch import echo

from ..console import STUDY, one_line, own_files

if TYPE_CHECKING:
    from ..plan import Study


@click.command()
@click.option("--studies", type=click.IntRange(1, 100_000), default=200, show_default=True)
@click.option("--raters", type=click.IntRange(2, 10_000), default=20, show_default=True, help="In each study.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--like", type=STUDY, help="Take images, conditions and design of this study: what will it achieve?")
@click.option("--scale", metavar="ELO,ELO,...", help="True scores. Default: evenly from 1300 to 1700.")
@click.option("--conditions", type=click.IntRange(2, 40), default=6, show_default=True)
@click.option("--images", type=click.IntRange(1, 500), default=12, show_default=True)
@click.option("--design", type=click.Choice(["full", "random", "active"]), default="random", show_default=True)
@click.option("--trials", type=click.IntRange(1, 2000), default=40, show_default=True, help="Pairs for each rater.")
@click.option("--checks", type=click.IntRange(0, 100), help="For each rater. Default: as `study new` has it.")
@click.option("--task", type=click.Choice(["pairs", "dsis", "acr"]), default="pairs", show_default=True)
@click.option("--ties/--no-ties", default=False)
@click.option(
    "--taste", type=click.FloatRange(0), default=60.0, show_default=True, help="Spread of raters' tastes, Elo."
)
@click.option(
    "--spread",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Spread of a condition's score over images, Elo.",
)
@click.option("--lapse", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="Share of random votes.")
@click.option(
    "--careless",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    show_default=True,
    help="Share of raters who answer everything at random, checks too.",
)
@click.option("--resamples", type=click.IntRange(100, 100_000), default=500, show_default=True)
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the votes of one such study as CSV, to rehearse: needs --like; see `import`.",
)
@options.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    studies: int,
    raters: int,
    seed: int,
    like: Path | None,
    scale: str | None,
    taste: float,
    spread: float,
    lapse: float,
    careless: float,
    resamples: int,
    save: Path | None,
    overwrite: bool,
    as_json: bool,
    **made_up: Any,
) -> None:
    """Simulate raters with known scores: do the 95 % intervals contain the truth, and how wide are they?

    \b
    gencomp study simulate                           the method itself, 200 studies
    gencomp study simulate --like DIR --raters 30    what your study can tell with 30 raters
    """
    from numpy import linspace
    from tqdm import tqdm

    from gencomp.outputs import protecting

    from ..plan import load
    from .coverage import coverage
    from .simulate import Population

    given = click.get_current_context().get_parameter_source
    if like and (clash := [n for n in made_up if given(n) is click.core.ParameterSource.COMMANDLINE]):
        raise click.UsageError(f"{', '.join(f'--{name}' for name in clash)}: --like takes these from the study")
    if save and not like:
        raise click.UsageError("--save needs --like: votes belong to a study")
    with one_line():
        rule = protecting(own_files(like) if like else [], overwrite)
        if save:
            rule.check(save)
        plan = load(like) if like else _made_up(**made_up)
        known = _scale(scale, len(plan.conditions)) or tuple(linspace(1300, 1700, len(plan.conditions)).tolist())
        population = Population(known, taste, spread, lapse, careless)
        found = coverage(
            plan,
            population,
            studies=studies,
            raters=raters,
            seed=seed,
            resamples=resamples,
            progress=lambda r: tqdm(r, desc="studies", unit="study", leave=False, disable=None),
        )
        if save:
            _save(rule, save, plan, population, raters, seed)
    if as_json:
        echo(json.dumps(found, allow_nan=False))
    else:
        _say(found)


def _made_up(
    conditions: int, images: int, design: Any, trials: int, checks: int | None, task: Any, ties: bool
) -> Study:
    """A plan without images."""
    from ..checks import enough
    from ..plan import Design
    from .simulate import synthetic

    if task != "pairs" and (ties or design == "active"):
        raise click.UsageError("--design active and --ties are for --task pairs")
    full = {"pairs": conditions * (conditions - 1) // 2, "dsis": conditions, "acr": conditions + 1}[task] * images
    asked = full if design == "full" else min(trials, full)
    checks = enough(task) if checks is None else checks
    return synthetic(conditions, images, Design(design, asked, checks, 0, 0, 0), ties, task)


def _say(found: dict[str, Any]) -> None:
    task, error = found["task"], found["coverage_se"]
    digits, unit = (".0f", "Elo") if task == "pairs" else (".2f", "grades")
    echo(
        f"{found['studies']} studies of {found['raters']} raters, {found['trials']} trials each, task {task}, "
        f"design {found['design']}"
    )
    echo(
        f"95 % intervals hold the truth in {100 * found['coverage']:.1f} % of cases"
        + (f" (standard error {100 * error:.1f} %)" if error is not None else "")
    )
    echo(
        f"half width of an interval ±{found['median_half_width']:{digits}} {unit} (median), "
        f"all conditions in the right order in {100 * found['ranked_rightly']:.0f} % of studies"
    )
    echo(
        f"left out: {100 * (found['careful_left_out'] or 0):.1f} % of the raters who look"
        + (f", {100 * (found['careless_left_out'] or 0):.0f} % of the careless ones" if found["careless"] else "")
    )


def _scale(text: str | None, count: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(-10_000 < value < 10_000 for value in values):
        raise click.BadParameter(f"give {count} Elo scores with commas between", param_hint="--scale")
    return values


def _save(rule: Any, path: Path, plan: Any, population: Any, raters: int, seed: int) -> None:
    import numpy as np

    from ..votes import to_csv
    from .simulate import offsets, votes

    rng = np.random.default_rng([seed, 0])
    rule.write(path, to_csv(plan, votes(plan, population, raters, offsets(plan, population, rng), rng)).encode())
