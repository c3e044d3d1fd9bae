"""The verbs of `gencomp study` that come after the votes, or need none: analyse, simulate, export, import."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options
from gencomp.cli.batch import echo

from ..console import DESIGN, TASK, bar, check_task, own_files, seed, store_of, study_folder

if TYPE_CHECKING:
    from ..plan import Study

ELO = click.FloatRange(0)


@click.command()
@study_folder
@click.option("--out", type=options.FOLDER, help="Default: DIR/analysis.")
@click.option(
    "--min-checks", type=click.FloatRange(0, 1), help="Share right at least. Default: 199 of 200 honest pass."
)
@click.option("--want", type=click.FloatRange(1), default=50.0, metavar="ELO", help="Half width of intervals you want.")
@click.option(
    "--outliers", type=click.Choice(["none", "bt500", "p910"]), default="none", help="Of ratings: a standard."
)
@click.option("--resamples", type=click.IntRange(100, 100_000), default=1000)
@seed
@options.overwrite
@options.one_json
def analyse(
    folder: Path, out: Path | None, want: float, outliers: Any, overwrite: bool, as_json: bool, **how: Any
) -> None:
    """Score the votes: a page (index.html), figures, CSV and JSON in DIR/analysis.

    Can run while the study is served. --outliers also leaves out raters of images by the rule of BT.500-15, or by
    P.910's correlations; --want says how many votes the widest interval would take to be so narrow.
    """
    from gencomp.files import write_atomically
    from gencomp.results import claim, rewriting

    from ..plan import StudyError, load
    from . import analyse as analysis
    from .report import FILES, ends, number, write

    plan = load(folder)
    store = store_of(folder, plan.id)
    votes, told = store.votes(), store.told()
    out = out or folder / "analysis"
    claim(out, "study analyse", FILES, own_files(folder), overwrite)
    if plan.task == "pairs" and outliers != "none":
        raise StudyError("--outliers is for ratings; pairs are screened by checks, times and patterns")
    with rewriting(out, FILES):
        whole = analysis.analyse(plan, votes, wanted=want, rule=outliers, **how)
        page = write(plan, whole, out, folder / "images")
        write_atomically(out / "answers.json", (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode())
    if as_json:
        echo(json.dumps(whole | {"told": told}, allow_nan=False))
        return
    key, digits = ("elo", 0) if plan.task == "pairs" else ("mos", 2)
    width = max(len(s["condition"]) for s in whole["scores"])
    for s in sorted(whole["scores"], key=lambda s: -s[key]):
        echo(f"{s['condition']:{width}}  {number(s[key], digits):>5}  {ends(s['interval'], digits)}")
    raters = whole["raters"]
    echo(f"{whole['votes']} votes of {raters['kept']} raters, {raters['all'] - raters['kept']} left out")
    for text in whole["warnings"]:
        echo(f"note: {text}")
    echo(f"page: {page}")


@click.command("export")
@study_folder
@click.option("-o", "output", type=options.FILE, required=True, help="FILE.csv or FILE.json.")
@options.overwrite
def export_votes(folder: Path, output: Path, overwrite: bool) -> None:
    """Write every vote to a file, to pool it with others or to analyse it elsewhere."""
    from gencomp.files import shown
    from gencomp.outputs import protecting

    from ..plan import load
    from ..votes import to_csv, to_json

    if output.suffix.lower() not in (".csv", ".json"):
        raise click.BadParameter("the name must end in .csv or .json", param_hint="-o")
    rule = protecting(own_files(folder), overwrite)
    rule.check(output)
    plan = load(folder)
    votes = store_of(folder, plan.id).votes()
    rule.write(output, (to_json if output.suffix.lower() == ".json" else to_csv)(plan, votes).encode())
    echo(f"{len(votes)} votes in {shown(output)}")


@click.command("import")
@study_folder
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=options.OLD_FILE)
def import_votes(folder: Path, files: tuple[Path, ...]) -> None:
    """Add votes that were exported elsewhere from a copy of the same study. Importing a file twice adds nothing.

    To run one study in several places: build it once, copy DIR (before any vote), serve each copy, export, import.
    """
    from ..plan import StudyError, load
    from ..votes import parse

    plan = load(folder)
    store = store_of(folder, plan.id)
    for file in files:
        try:
            new, known = store.add_votes(parse(plan, file.read_text("utf-8")))
        except (StudyError, UnicodeDecodeError) as error:
            raise StudyError(f"{file}: {error}; nothing of it was imported") from error
        echo(f"{file}: {new} votes added" + (f", {known} were here already" if known else ""))


@click.command()
@click.option("--studies", type=click.IntRange(1, 100_000), default=200)
@click.option("--raters", type=click.IntRange(2, 10_000), default=20, help="In each study.")
@seed
@click.option("--like", type=options.OLD_FOLDER, help="Take images, conditions and design of this study.")
@click.option("--scale", metavar="ELO,ELO,...", help="True scores. Default: evenly from 1300 to 1700.")
@click.option("--conditions", type=click.IntRange(2, 40), default=6)
@click.option("--images", type=click.IntRange(1, 500), default=12)
@click.option("--design", type=DESIGN, default="random")
@click.option("--trials", type=click.IntRange(1, 2000), default=40, help="Pairs for each rater.")
@click.option("--checks", type=click.IntRange(0, 100), help="For each rater. Default: as `study new` has it.")
@click.option("--task", type=TASK, default="pairs")
@click.option("--ties/--no-ties", default=False, show_default=False)
@click.option("--taste", "taste_sd", type=ELO, default=60.0, help="Spread of raters' tastes, Elo.")
@click.option("--spread", "image_sd", type=ELO, default=60.0, help="Spread of a condition's score over images, Elo.")
@click.option("--lapse", type=click.FloatRange(0, 1), default=0.02, help="Share of random votes.")
@click.option("--careless", type=click.FloatRange(0, 0.9), default=0.0, help="Share of raters who answer at random.")
@click.option("--resamples", type=click.IntRange(100, 100_000), default=500)
@click.option("--save", type=options.FILE, help="Also write the votes of one study like DIR as CSV; see `import`.")
@options.overwrite
@options.one_json
def simulate(like: Path | None, scale: str | None, save: Path | None, as_json: bool, **given: Any) -> None:
    """Simulate raters with known scores: do the 95 % intervals contain the truth, and how wide are they?

    \b
    gencomp study simulate                           the method itself, 200 studies
    gencomp study simulate --like DIR --raters 30    what your study can tell with 30 raters
    """
    import numpy as np

    from gencomp.outputs import protecting

    from ..plan import load
    from ..votes import to_csv
    from .simulate import Population, coverage, offsets, votes

    source = click.get_current_context().get_parameter_source
    rule = protecting(own_files(like) if like else [], given.pop("overwrite"))
    spreads = {name: given.pop(name) for name in ("taste_sd", "image_sd", "lapse", "careless")}
    how = {name: given.pop(name) for name in ("studies", "raters", "seed", "resamples")}
    if like and (clash := [n for n in given if source(n) is click.core.ParameterSource.COMMANDLINE]):
        raise click.UsageError(f"{', '.join(f'--{name}' for name in clash)}: --like takes these from the study")
    if save and not like:
        raise click.UsageError("--save needs --like: votes belong to a study")
    if save:
        rule.check(save)
    plan = load(like) if like else _made_up(**given)
    known = _scale(scale, len(plan.conditions)) or np.linspace(1300, 1700, len(plan.conditions)).tolist()
    people = Population(tuple(known), **spreads)
    found = coverage(plan, people, **how, progress=bar("studies", "study"))
    if save:
        rng = np.random.default_rng([how["seed"], 0])
        rule.write(save, to_csv(plan, votes(plan, people, how["raters"], offsets(plan, people, rng), rng)).encode())
    if as_json:
        echo(json.dumps(found, allow_nan=False))
    else:
        _say(found)


def _made_up(
    conditions: int, images: int, design: Any, trials: int, checks: int | None, task: Any, ties: bool
) -> "Study":
    from ..checks import enough
    from ..plan import Design, items
    from .simulate import synthetic

    check_task(task, design, ties)
    full = items(task, conditions) * images
    asked = full if design == "full" else min(trials, full)
    checks = enough(task) if checks is None else checks
    return synthetic(conditions, images, Design(design, asked, checks, 0, 0, 0), ties, task)


def _say(found: dict[str, Any]) -> None:
    task, error = found["task"], found["coverage_se"]
    digits, unit = (".0f", "Elo") if task == "pairs" else (".2f", "grades")
    echo(
        f"{found['studies']} studies of {found['raters']} raters, {found['trials']} trials each, task {task}, "
        f"design {found['design']}\n"
        f"95 % intervals hold the truth in {100 * found['coverage']:.1f} % of cases"
        + (f" (standard error {100 * error:.1f} %)" if error is not None else "")
        + f"\nhalf width of an interval ±{found['median_half_width']:{digits}} {unit} (median), "
        f"all conditions in the right order in {100 * found['ranked_rightly']:.0f} % of studies\n"
        f"left out: {100 * (found['careful_left_out'] or 0):.1f} % of the raters who look"
        + (f", {100 * (found['careless_left_out'] or 0):.0f} % of the careless ones" if found["careless"] else "")
    )


def _scale(text: str | None, count: int) -> list[float] | None:
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(-10_000 < value < 10_000 for value in values):
        raise click.BadParameter(f"give {count} Elo scores with commas between", param_hint="--scale")
    return values
