"""The command `gencomp family`."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from gencomp import machine
from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.files import shown
from gencomp.results import claim, rewriting

from .rungs import ANCHOR, LADDER

FILES = ("plan.json", "runs", "models", "evaluation", "page", ".busy")
"""What a family writes in its folder."""


def _present(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """What is neither here nor a name on the hub (owner/name) is said before any rung begins."""
    for name in names:
        if not Path(name).exists() and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise click.BadParameter(f"there is no {name}")
    return names


def _names(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    given = list(LADDER) if value is None else value.split(",")
    names = tuple(dict.fromkeys(name.strip() for name in given if name.strip()))
    if not names or any(set(name) & set("/\\. ") for name in names):
        raise click.BadParameter("names of recipes with commas between them", param=parameter)
    return names


@click.command()
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="PHOTOS",
    callback=_present,
    help="Photographs to train on, as `gencomp train --data` takes them. Repeatable.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of runs, models and the page; what is in it is not done again.",
)
@click.option(
    "--budget",
    "minutes",
    required=True,
    type=options.POSITIVE,
    metavar="MINUTES",
    help="Training time of each rung, all its stages together; on a CPU that of the processor.",
)
@click.option(
    "--arithmetic", is_flag=True, help=f"Instead of equal time, equal arithmetic: what {ANCHOR} does in MINUTES here."
)
@click.option(
    "--rungs",
    "names",
    callback=_names,
    metavar="NAMES",
    help=f"With commas between them, in the order of the page.  [default: {','.join(LADDER)}]",
)
@click.option(
    "--eval", "photos", metavar="FOLDER", help="Photographs to measure on.  [default: five of scikit-image's]"
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Rungs trained, and images measured, at a time; each has its share of the cores.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PREFIX",
    help="Also write the curves as PREFIX.png, .svg and .pdf, and the same for dark pages as PREFIX-dark.",
)
@options.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print the page's numbers as one JSON object.")
@click.option("--quiet", is_flag=True, help="No progress.")
def family(
    data: tuple[str, ...],
    out: Path,
    minutes: float,
    arithmetic: bool,
    names: tuple[str, ...],
    photos: str | None,
    jobs: int,
    figure: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train the field's networks, from the autoencoder to the GAN, with one budget, and compare them.

    Each rung is a recipe of `gencomp train`, trained on the same photographs for the same time, exported, and measured
    through real files beside JPEG, WebP and AVIF. DIR/page is one page: curves, realism, arithmetic, BD-rates against
    balle2018 with intervals, crops, a sentence for each idea with its paper, and whether each rung beats the one that
    its paper improved on.

    \b
    gencomp family --data photos/ --out family/ --budget 5
    gencomp family --data photos/ --out family/ --budget 5 --eval kodak/ --jobs 4
    gencomp family --data photos/ --out few/ --budget 2 --rungs balle2017,balle2018,minnen2018
    gencomp family --data photos/ --out fair/ --budget 5 --arithmetic

    The speed of each rung is measured first and its number of steps written into DIR/plan.json. The same command goes
    on where it was stopped, or killed, bit for bit; another with more --rungs adds them.
    """
    import json
    import platform
    from importlib.metadata import version

    import torch

    from ..evaluation import check_figure
    from . import crops, measure, page, standings, training
    from .plan import FamilySettings

    inputs = [*data, *([photos] if photos else [])]
    check_figure(figure, inputs, overwrite)
    claim(out, "family", FILES, inputs, overwrite, tracked=False)
    claim(out / "page", "family", page.FILES, inputs, overwrite)
    threads, silent = machine.threads(jobs), quiet or as_json
    settings = FamilySettings(data, minutes, arithmetic)
    folder = training.FamilyFolder(out, data, threads, on_cpu=not torch.cuda.is_available())
    found = measure.photographs(photos)  # first, so that a wrong name costs no training
    done = training.trained(folder, names, settings, jobs, silent)
    rungs = list(done.models)
    anchor = ANCHOR if ANCHOR in rungs else rungs[0]
    source = photos or "scikit-image's photographs"
    seen = measure.measured(out / "evaluation", done.models, found, source, anchor, jobs, silent)
    bpp = measure.common_rate(seen.results["summary"], rungs)
    lines = standings.standings(seen, folder, rungs, done.plan, bpp)
    content = page.Content(
        settings,
        seen,
        lines,
        standings.history(seen, lines, minutes, arithmetic),
        crops.cut(out / "page", found, done.models, list(measure.CLASSICAL), bpp, silent),
        bpp,
        done.skipped,
        shlex.join(["gencomp", *sys.argv[1:]]),
        f"gencomp {version('gencomp')}, torch {version('torch')}, {platform.system()} {platform.machine()}, "
        f"{threads} {'thread' if threads == 1 else 'threads'} a rung",
        folder.on_cpu,
    )
    with rewriting(out / "page", page.FILES):
        path = page.write(out / "page", content)
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        page.figure(figure, content)
    if as_json:
        echo(json.dumps(page.summary(content)))
    else:
        _say(path, content, quiet)
    if done.failed:
        raise click.exceptions.Exit(1)


def _say(path: Path, content: Any, quiet: bool) -> None:
    from .page import number, percent

    for name, why in content.skipped.items():
        echo(f"Left out: {name}: {why}", err=True)
    if quiet:
        return
    echo(f"{'rung':24}{'steps':>8}{'kMAC/pixel':>12}  bits for equal PSNR, against {content.found.anchor}")
    for line in content.lines:
        both = sum(line.facts.get(key, 0) for key in ("encoder_kmac", "decoder_kmac"))
        delta = "the measure" if line.rung.name == content.found.anchor else percent(line.values.psnr_delta)
        echo(f"{line.label:24}{number(line.spent.steps):>8}{number(both, 1):>12}  {delta}")
    for one in content.history:
        echo(f"* {one.text}")
    echo(f"\nPage: {shown(path)}")
