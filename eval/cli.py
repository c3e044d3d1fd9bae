"""The command `gencomp eval`."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp import machine
from gencomp.cli import options as shared
from gencomp.cli.batch import echo
from gencomp.cli.options import many
from gencomp.files import shown
from gencomp.outputs import no_more_open_than
from gencomp.walk import Walk, merged

from .codecs.build import MODEL_SUFFIX, NAMES, is_model_file, split_effort
from .metrics.table import NAMES as METRICS

if TYPE_CHECKING:
    from .run.records import Target

DEFAULT_CODECS = ("gencomp", "jpeg", "jpeg2000", "webp", "avif")
DEFAULT_BPP = (0.06, 0.12, 0.25, 0.5)


def _codec_names(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        base = split_effort(value)[0]
        if is_model_file(value) and not Path(base).is_file():
            raise click.BadParameter(f"{value}: no such model file", param=parameter)
        if not (is_model_file(value) or base in NAMES or re.fullmatch(r"[\w.]+:\w+", value)):
            known = f"{', '.join(NAMES)}, nor FILE{MODEL_SUFFIX}, nor package.module:function"
            raise click.BadParameter(f"{value!r} is none of {known}", param=parameter)
    return values


def _settings(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> "list[Target]":
    """Settings of a codec's rate control, after the codec's name and a colon where one is for one codec alone."""
    from .run.records import Target

    targets = []
    for value in values:
        codec, _, number = value.rpartition(":")
        targets.append(Target("setting", shared.Number().convert(number, parameter, ctx), codec or None))
    return targets


@click.command("eval")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option("--out", required=True, type=shared.FOLDER, metavar="DIR", help="Of the results; a run goes on there.")
@many(
    "--codec",
    "codecs",
    callback=_codec_names,
    metavar="NAME",
    help=f"{', '.join(NAMES)}, FILE{MODEL_SUFFIX}, or package.module:function of your own adapter.  "
    f"[default: {', '.join(DEFAULT_CODECS)}]",
)
@many(
    "--bpp", "rates", type=shared.Number(0, 24, min_open=True), help="Of every image.  [default: 0.06, 0.12, 0.25, 0.5]"
)
@many("--quality", "settings", callback=_settings, metavar="[CODEC:]Q", help="Instead: one setting for all images.")
@many("--realism", "realisms", type=shared.Number(0, 1), metavar="R", help="Of gencomp's decoder.  [default: 1]")
@many("--metric", "metrics", type=click.Choice(METRICS), metavar="NAME", help=f"{', '.join(METRICS)}.  [default: all]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N photographs.")
@many("--model", "models", metavar="NAME|FILE", help="Models of gencomp.")
@shared.device
@click.option(
    "--jobs",
    type=click.IntRange(0),
    metavar="N",
    help="Workers; 0: none, and codecs may crash all.  [default: by cores]",
)
@click.option(
    "--weights", type=shared.OLD_FOLDER, metavar="DIR", help="Of feature networks; else TORCH_HOME/hub/checkpoints."
)
@many("--features", metavar="NAME", default=("inception", "lite"), help="Whose distances are measured, see above.")
@click.option("--patch", type=click.IntRange(32), default=256, help="Side of fid's patches, pixels.")
@click.option("--anchor", default="avif", help="Codec that Bjontegaard deltas are measured against.")
@click.option(
    "--bd-range", "window", type=(shared.Number(0),) * 2, metavar="LOW HIGH", help="Rates of the deltas, bpp."
)
@click.option("--keep", type=click.IntRange(0), default=100, metavar="N", help="Keep the first N photographs' images.")
@shared.figure
@shared.overwrite
@shared.one_json
@shared.quiet
def evaluate(photos: tuple[str, ...], figure: Path | None, as_json: bool, quiet: bool, **chosen: Any) -> None:
    """Code PHOTOS with every codec at every rate, decode from disk, measure, report.

    PHOTOS are folders, images, text files with one path per line, or names of the `datasets` library
    (datasets:NAME[:SPLIT]). DIR receives results.json, results.csv, tables, plots and index.html, which opens
    from disk. Many processes: accelerate launch -m gencomp.eval PHOTOS --out DIR ... Options that name several
    things are given once for each. --figure also writes the summary as PREFIX.csv and PREFIX.md.

    Settings are those of a codec's own rate control: quality of gencomp, jpeg, webp, avif; bpp of jpeg2000; distance
    of jpegxl; crf of hevc; qp of vvc. Features are inception (fid, kid), and under their names (frechet_lite,
    kernel_lite) lite, swav, dinov2, timm:MODEL.

    \b
    gencomp eval photos/ --out seen/
    gencomp eval photos/ --out seen/ --codec gencomp --codec avif-444-psnr --bpp 0.1 --bpp 0.2
    gencomp eval photos/ --out seen/ --codec mine.safetensors --quality 20 --quality 40
    """
    import json

    from . import evaluation
    from .run import photos as finding
    from .run.records import EvaluationOptions, Target

    rates, settings, jobs = (chosen.pop(name) for name in ("rates", "settings", "jobs"))
    if chosen["window"] and chosen["window"][0] >= chosen["window"][1]:
        raise click.BadParameter("the first rate is to be below the second", param_hint="--bd-range")
    targets = [Target("bpp", rate) for rate in rates or (() if settings else DEFAULT_BPP)] + settings
    repeated = {"codecs": DEFAULT_CODECS, "realisms": (1.0,), "metrics": METRICS, "features": ()}
    chosen |= {name: tuple(dict.fromkeys(chosen[name] or default)) for name, default in repeated.items()}
    fitting = machine.processes_that_fit(evaluation.WORKER_BYTES) // int(os.environ.get("WORLD_SIZE", "1"))
    chosen["jobs"] = max(1, fitting) if jobs is None else jobs
    walks: list[Walk] = []
    found = finding.find(photos, chosen.pop("limit"), walks)
    options = EvaluationOptions(photos, targets=tuple(dict.fromkeys(targets)), left_out=merged(walks).told(), **chosen)
    evaluation.check_figure(figure, [options.out, *photos], options.overwrite)
    with no_more_open_than(photo.source for photo in found):
        results = evaluation.evaluate(options, found, quiet=quiet or as_json)
        if results is None:
            return
        if figure is not None:
            evaluation.write_figure(figure, results)
    if as_json:
        echo(json.dumps({k: results[k] for k in ("summary", "left_out", "bd", "answers", "not_measured", "problems")}))
    else:
        _say(options.out, results, quiet)
    if results["problems"]:
        raise click.exceptions.Exit(1)


def _say(out: Path, results: dict[str, Any], quiet: bool) -> None:
    from .report.tables import means_table, text

    for problem in results["problems"]:
        where = ", ".join(part for part in (problem["codec"], problem["image"]) if part)
        echo(f"Problem: {where}: {problem['what']}", err=True)
    if quiet:
        return
    echo(text(means_table(results)))
    for one in results["answers"]:
        echo(one["text"])
    if not results["bd"] and len({row["codec"] for row in results["summary"]}) > 1:
        echo("No Bjontegaard deltas: the codec that --anchor names is not among these.")
    wanted: dict[str, list[str]] = {}
    for name, why in results["not_measured"].items():
        if "needs " in why and why.endswith((".pth", ".safetensors", ".tar")):
            wanted.setdefault(why.partition("needs ")[2], []).append(name)
        else:
            echo(f"{name}: {why}")
    if wanted:
        files = "; ".join(f"{', '.join(names)} (needs {file})" for file, names in wanted.items())
        echo(f"Not measured: {files}. `gencomp weights --download` fetches published weights.")
    echo(f"\nReport: {shown(out / 'index.html')}")
    if results["photos"]["left_out"]:
        echo(f"Left out: {results['photos']['left_out']}")
