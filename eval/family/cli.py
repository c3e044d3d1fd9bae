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


def _names(_: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    if not names or any(set(name) & set("/\\. ") for name in names):
        raise click.BadParameter("names of recipes with commas between them", param=parameter)
    return names


@click.command()
@options.many(
    "--data", required=True, metavar="PHOTOS", callback=_present, help="To train on, as `gencomp train` has it."
)
@click.option("--out", required=True, type=options.FOLDER, metavar="DIR", help="What is in it is not done again.")
@click.option(
    "--budget", "minutes", required=True, type=options.POSITIVE, metavar="MINUTES", help="Of each rung's training."
)
@click.option("--arithmetic", is_flag=True, help=f"Instead, as much arithmetic as {ANCHOR} does in MINUTES here.")
@click.option(
    "--rungs", "names", callback=_names, default=",".join(LADDER), metavar="NAMES", help="In the order of the page."
)
@click.option(
    "--eval", "photos", metavar="FOLDER", help="To measure on.  [default: five of scikit-image's photographs]"
)
@click.option("--jobs", type=click.IntRange(1), default=1, metavar="N", help="Rungs and images at a time.")
@options.figure
@options.overwrite
@options.one_json
@options.quiet
def family(data: tuple[str, ...], out: Path, minutes: float, figure: Path | None, as_json: bool, **given: Any) -> None:
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
    on where it was stopped, or killed, bit for bit; another with more --rungs adds them. A budget is one of all stages
    of a rung together; on a CPU of the processor's time.
    """
    import json
    import platform
    from importlib.metadata import version

    import torch

    from ..evaluation import check_figure
    from . import crops, measure, page, standings, training
    from .plan import FamilySettings

    names, arithmetic, photos, jobs = (given[name] for name in ("names", "arithmetic", "photos", "jobs"))
    overwrite, quiet = given["overwrite"], given["quiet"]
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
    history = standings.history(seen, lines, minutes, arithmetic)
    cut = crops.cut(out / "page", found, done.models, list(measure.CLASSICAL), bpp, silent)
    command, versions = (
        shlex.join(["gencomp", *sys.argv[1:]]),
        f"gencomp {version('gencomp')}, torch {version('torch')}",
    )
    place = f"{versions}, {platform.system()} {platform.machine()}, {threads} thread{'s' * (threads > 1)} a rung"
    content = page.Content(settings, seen, lines, history, cut, bpp, done.skipped, command, place, folder.on_cpu)
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
