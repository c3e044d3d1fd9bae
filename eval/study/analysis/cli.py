"""The verbs of `gencomp study` that come after the votes, or need none: analyse, simulate, export, import."""

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
@options.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print the analysis as one JSON object.")
def analyse(
    folder: Path,
    out: Path | None,
    min_checks: float | None,
    want: float,
    outliers: Any,
    resamples: int,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Score the votes: a page (index.html), figures, CSV and JSON in DIR/analysis.

    Can run while the study is served.
    """
    from gencomp.results import claim, rewriting

    from ..plan import StudyError, load
    from . import analyse as pairs
    from . import graded as grades
    from .report import FILES, write, write_graded

    with one_line():
        plan = load(folder)
        votes, told = _stored(folder, plan)
        how: dict[str, Any] = {"min_checks": min_checks, "resamples": resamples, "seed": seed}
        out = out or folder / "analysis"
        claim(out, "study analyse", FILES, [*own_files(folder)], overwrite)
        if plan.task == "pairs" and outliers != "none":
            raise StudyError("--outliers is for ratings; pairs are screened by checks, times and patterns")
        with rewriting(out, FILES):
            if plan.task != "pairs":
                graded = grades.graded(plan, votes, rule=outliers, **how)
                whole, page = grades.to_json(graded), write_graded(graded, out, folder / "images")
            else:
                found = pairs.analyse(plan, votes, wanted=want, **how)
                whole, page = pairs.to_json(found), write(found, out, folder / "images")
            write_told(out, told)
    if as_json:
        echo(json.dumps(whole | {"told": told}, allow_nan=False))
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
        echo(f"{s['condition']:{width}}  {number(s[key], digits):>5}  {ends(s['interval'], digits)}")
    raters = whole["raters"]
    echo(f"{whole['votes']} votes of {raters['kept']} raters, {raters['all'] - raters['kept']} left out")
    for text in whole["warnings"]:
        echo(f"note: {text}")
    echo(f"page: {page}")


@click.command("export")
@click.argument("folder", metavar="DIR", type=STUDY)
@click.option(
    "-o", "output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.csv or FILE.json."
)
@options.overwrite
def export_votes(folder: Path, output: Path, overwrite: bool) -> None:
    """Write every vote to a file, to pool it with others or to analyse it elsewhere."""
    from gencomp.files import shown
    from gencomp.outputs import protecting

    from ..plan import load
    from ..votes import to_csv, to_json

    if output.suffix.lower() not in (".csv", ".json"):
        raise click.BadParameter("the name must end in .csv or .json", param_hint="-o")
    with one_line():
        rule = protecting(own_files(folder), overwrite)
        rule.check(output)
        plan = load(folder)
        votes, _ = _stored(folder, plan)
        text = (to_json if output.suffix.lower() == ".json" else to_csv)(plan, votes)
        rule.write(output, text.encode())
    echo(f"{len(votes)} votes in {shown(output)}")


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
                echo(f"{file}: {new} votes added" + (f", {known} were here already" if known else ""))
        finally:
            store.close()
