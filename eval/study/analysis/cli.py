"""The verbs of `gencomp study` that come after the votes, or need none: analyse, simulate, export, import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import STUDY, one_line

if TYPE_CHECKING:
    from ..plan import Study
    from ..votes import Vote


@click.command()
@click.argument("folder", metavar="DIR", type=STUDY)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Default: DIR/analysis.")
@click.option(
    "--min-checks",
    type=click.FloatRange(0, 1),
    help="Leave out raters with a smaller share of attention checks right. "
    "Default: the share that all but one honest rater in 200 reaches.",
)
@click.option(
    "--want",
    type=click.FloatRange(min=1),
    default=50.0,
    show_default=True,
    metavar="ELO",
    help="Half width of the widest interval you would like; says how many votes that takes.",
)
@click.option(
    "--outliers",
    type=click.Choice(["none", "bt500", "p910"]),
    default="none",
    show_default=True,
    help="Of ratings: also leave out raters by the rule of BT.500-15, or by P.910's correlations.",
)
@click.option("--resamples", type=click.IntRange(100, 100_000), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the analysis as one JSON object.")
def analyse(
    folder: Path,
    out: Path | None,
    min_checks: float | None,
    want: float,
    outliers: Any,
    resamples: int,
    seed: int,
    as_json: bool,
) -> None:
    """Score the votes: a page (index.html), figures, CSV and JSON in DIR/analysis.

    Can run while the study is served.
    """
    from ..plan import StudyError, load
    from . import analyse as pairs
    from . import graded as grades
    from .report import write, write_graded

    with one_line():
        plan = load(folder)
        votes, told = _stored(folder, plan)
        how: dict[str, Any] = {"min_checks": min_checks, "resamples": resamples, "seed": seed}
        out = out or folder / "analysis"
        if plan.task != "pairs":
            graded = grades.graded(plan, votes, rule=outliers, **how)
            whole, page = grades.to_json(graded), write_graded(graded, out)
        elif outliers != "none":
            raise StudyError("--outliers is for ratings; pairs are screened by checks, times and patterns")
        else:
            found = pairs.analyse(plan, votes, wanted=want, **how)
            whole, page = pairs.to_json(found), write(found, out)
        write_told(out, told)
    if as_json:
        click.echo(json.dumps(whole | {"told": told}, allow_nan=False))
        return
    _say(whole, page)


def _stored(folder: Path, plan: Study) -> tuple[list[Vote], dict[str, dict[str, Any]]]:
    """The votes, and what raters told of themselves and their screens."""
    from ..web.store import Store

    store = Store(folder, plan.id)
    try:
        return store.votes(), store.told()
    finally:
        store.close()


def write_told(out: Path, told: dict[str, dict[str, Any]]) -> None:
    """answers.json: by rater, the answers to questions and the facts of screens."""
    from gencomp.files import write_atomically

    write_atomically(out / "answers.json", (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())


def _say(whole: dict[str, Any], page: Path) -> None:
    from .report import ends, number

    key, digits = ("elo", 0) if "elo" in whole["scores"][0] else ("mos", 2)
    width = max(len(s["condition"]) for s in whole["scores"])
    for s in sorted(whole["scores"], key=lambda s: -s[key]):
        click.echo(f"{s['condition']:{width}}  {number(s[key], digits):>5}  {ends(s['interval'], digits)}")
    raters = whole["raters"]
    click.echo(f"{whole['votes']} votes of {raters['kept']} raters, {raters['all'] - raters['kept']} left out")
    for text in whole["warnings"]:
        click.echo(f"note: {text}")
    click.echo(f"page: {page}")


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
@click.option("--lapse", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="Share of votes tossed.")
@click.option(
    "--careless",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    show_default=True,
    help="Share of raters who toss every vote, checks too.",
)
@click.option("--resamples", type=click.IntRange(100, 100_000), default=500, show_default=True)
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the votes of one such study as CSV, to rehearse: needs --like; see `import`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    studies: int,
    raters: int,
    seed: int,
    like: Path | None,
    scale: str | None,
    conditions: int,
    images: int,
    design: Any,
    trials: int,
    checks: int | None,
    task: Any,
    ties: bool,
    taste: float,
    spread: float,
    lapse: float,
    careless: float,
    resamples: int,
    save: Path | None,
    as_json: bool,
) -> None:
    """Raters drawn from a known scale: do the 95 % intervals hold the truth, and how narrow will they be?

    \b
    gencomp study simulate                           the method itself, 200 studies
    gencomp study simulate --like DIR --raters 30    what your study can tell with 30 raters
    """
    from numpy import linspace
    from tqdm import tqdm

    from ..checks import enough
    from ..plan import Design, load
    from .coverage import coverage
    from .simulate import Population, synthetic

    given = click.get_current_context().get_parameter_source
    if like and (
        clash := [
            f"--{name}"
            for name in ("conditions", "images", "design", "trials", "checks", "task", "ties")
            if given(name) is click.core.ParameterSource.COMMANDLINE
        ]
    ):
        raise click.UsageError(f"{', '.join(clash)}: --like takes these from the study")
    if task != "pairs" and (ties or design == "active"):
        raise click.UsageError("--design active and --ties are for --task pairs")
    if save and not like:
        raise click.UsageError("--save needs --like: votes belong to a study")
    with one_line():
        full = {"pairs": conditions * (conditions - 1) // 2, "dsis": conditions, "acr": conditions + 1}[task] * images
        asked = full if design == "full" else min(trials, full)
        made = Design(design, asked, enough(task) if checks is None else checks, 0, 0, 0)
        plan = load(like) if like else synthetic(conditions, images, made, ties, task)
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
            _save(save, plan, population, raters, seed)
    if as_json:
        click.echo(json.dumps(found, allow_nan=False))
        return
    task = found["task"]
    digits, unit = (".0f", "Elo") if task == "pairs" else (".2f", "grades")
    click.echo(
        f"{studies} studies of {raters} raters, {found['trials']} trials each, task {task}, design {found['design']}"
    )
    click.echo(
        f"95 % intervals hold the truth in {100 * found['coverage']:.1f} % of cases"
        + (f" (standard error {100 * found['coverage_se']:.1f} %)" if found["coverage_se"] is not None else "")
    )
    click.echo(
        f"half width of an interval ±{found['median_half_width']:{digits}} {unit} (median), "
        f"all conditions in the right order in {100 * found['ranked_rightly']:.0f} % of studies"
    )
    if careless:
        click.echo(
            f"left out: {100 * (found['careless_left_out'] or 0):.0f} % of the careless raters, "
            f"{100 * (found['careful_left_out'] or 0):.1f} % of the others"
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


def _save(path: Path, plan: Any, population: Any, raters: int, seed: int) -> None:
    import numpy as np

    from gencomp.files import write_atomically

    from ..votes import to_csv
    from .simulate import offsets, votes

    rng = np.random.default_rng([seed, 0])
    write_atomically(path, to_csv(plan, votes(plan, population, raters, offsets(plan, population, rng), rng)).encode())


@click.command("export")
@click.argument("folder", metavar="DIR", type=STUDY)
@click.option(
    "-o", "output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.csv or FILE.json."
)
def export_votes(folder: Path, output: Path) -> None:
    """Write every vote to a file, to pool it with others or to analyse it elsewhere."""
    from gencomp.files import write_atomically

    from ..plan import load
    from ..votes import to_csv, to_json

    if output.suffix.lower() not in (".csv", ".json"):
        raise click.BadParameter("the name must end in .csv or .json", param_hint="-o")
    with one_line():
        plan = load(folder)
        votes, _ = _stored(folder, plan)
        text = (to_json if output.suffix.lower() == ".json" else to_csv)(plan, votes)
        write_atomically(output, text.encode())
    click.echo(f"{len(votes)} votes in {output}")


@click.command("import")
@click.argument("folder", metavar="DIR", type=STUDY)
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def import_votes(folder: Path, files: tuple[Path, ...]) -> None:
    """Add votes that were exported elsewhere from a copy of the same study. Importing a file twice adds nothing.

    To run one study in several places: build it once, copy DIR (before any vote), serve each copy, export, import.
    """
    from ..plan import StudyError, load
    from ..votes import parse
    from ..web.store import Store

    with one_line():
        plan = load(folder)
        store = Store(folder, plan.id)
        try:
            for file in files:
                try:
                    new, known = store.add_votes(parse(plan, file.read_text("utf-8")))
                except (StudyError, UnicodeDecodeError) as error:
                    raise StudyError(f"{file}: {error}") from error
                click.echo(f"{file}: {new} votes added" + (f", {known} were here already" if known else ""))
        finally:
            store.close()
