"""The command `gencomp eval`."""

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options as shared
from gencomp.cli.batch import echo
from gencomp.files import shown
from gencomp.outputs import no_more_open_than
from gencomp.walk import Walk, merged

from .codecs.build import MODEL_SUFFIX, NAMES, is_model_file, split_effort
from .metrics.table import NAMES as METRICS

if TYPE_CHECKING:
    from .run.records import Target

DEFAULT_CODECS = ("gencomp", "jpeg", "jpeg2000", "webp", "avif")
DEFAULT_BPP = (0.06, 0.12, 0.25, 0.5)
repeatable = functools.partial(click.option, multiple=True)


def _codec_names(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Codecs' names, model files, or package.module:function."""
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


def _window(
    ctx: click.Context, parameter: click.Parameter, values: tuple[float, float] | None
) -> tuple[float, float] | None:
    if values and values[0] >= values[1]:
        raise click.BadParameter("the first rate is to be below the second", param=parameter)
    return values


@click.command("eval")
@click.argument("photos", nargs=-1, required=True, metavar="PHOTOS...")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the results; a run that was interrupted goes on where it was.",
)
@repeatable(
    "--codec",
    "codecs",
    callback=_codec_names,
    metavar="NAME",
    help=f"Repeatable: {', '.join(NAMES)}, FILE{MODEL_SUFFIX}, or package.module:function of your own "
    f"adapter.  [default: {', '.join(DEFAULT_CODECS)}]",
)
@repeatable(
    "--bpp",
    "rates",
    type=shared.Number(0, 24, min_open=True),
    metavar="X",
    help="Repeatable: bits per pixel that every image is matched to.  [default: 0.06, 0.12, 0.25, 0.5]",
)
@repeatable(
    "--quality",
    "settings",
    callback=_settings,
    metavar="[CODEC:]Q",
    help="Repeatable: one setting of the codec's own rate control for all images instead (quality of "
    "gencomp, jpeg, webp, avif; bpp of jpeg2000; distance of jpegxl; crf of hevc; qp of vvc).",
)
@repeatable(
    "--realism",
    "realisms",
    type=shared.Number(0, 1),
    metavar="R",
    help="Repeatable: realism at which gencomp decodes.  [default: 1]",
)
@repeatable(
    "--metric",
    "metrics",
    type=click.Choice(METRICS),
    metavar="NAME",
    help=f"Repeatable: {', '.join(METRICS)}.  [default: all]",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N photographs.")
@repeatable("--model", "models", metavar="NAME|FILE", help="Repeatable: models of gencomp.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--jobs",
    type=click.IntRange(0),
    metavar="N",
    help="Worker processes.  [default: one per core, as memory allows; 0: none, and no protection against a "
    "codec that crashes]",
)
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with the weights of feature networks; else TORCH_HOME/hub/checkpoints.",
)
@repeatable(
    "--features",
    metavar="NAME",
    default=("inception", "lite"),
    show_default=True,
    help="Repeatable: features whose sets are compared: inception (fid, kid), and by their names (frechet_lite, "
    "kernel_lite) lite, swav, dinov2, timm:MODEL.",
)
@click.option("--patch", type=click.IntRange(32), default=256, show_default=True, help="Side of fid's patches, pixels.")
@click.option("--anchor", default="avif", show_default=True, help="Codec that Bjontegaard deltas are measured against.")
@click.option(
    "--bd-range",
    "window",
    type=(shared.Number(0), shared.Number(0)),
    metavar="LOW HIGH",
    callback=_window,
    help="Rates [bpp] that the deltas keep to.",
)
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    metavar="N",
    help="Keep the reconstructions of the first N photographs for the report; others are measured only.",
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PREFIX",
    help="Also write the summary as PREFIX.csv and PREFIX.md, and its figure as PREFIX.png, .svg and .pdf, "
    "and the same for dark pages as PREFIX-dark.",
)
@shared.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.option("--quiet", is_flag=True, help="Print problems alone.")
def evaluate(
    photos: tuple[str, ...],
    limit: int | None,
    rates: tuple[float, ...],
    settings: "list[Target]",
    jobs: int | None,
    figure: Path | None,
    as_json: bool,
    quiet: bool,
    **chosen: Any,
) -> None:
    """Code PHOTOS with every codec at every rate, decode from disk, measure, report.

    PHOTOS are folders, images, text files with one path per line, or names of the `datasets` library
    (datasets:NAME[:SPLIT]). DIR receives results.json, results.csv, tables, plots and index.html, which opens
    from disk. Many processes: accelerate launch -m gencomp.eval PHOTOS --out DIR ...

    \b
    gencomp eval photos/ --out seen/
    gencomp eval photos/ --out seen/ --codec gencomp --codec avif-444-psnr --bpp 0.1 --bpp 0.2
    gencomp eval photos/ --out seen/ --codec mine.safetensors --quality 20 --quality 40
    """
    import json

    from . import evaluation
    from .run import photos as finding
    from .run.records import EvaluationOptions, Target

    targets = [Target("bpp", rate) for rate in rates or (() if settings else DEFAULT_BPP)] + settings
    repeated = {"codecs": DEFAULT_CODECS, "realisms": (1.0,), "metrics": METRICS, "features": ()}
    chosen |= {name: tuple(dict.fromkeys(chosen[name] or default)) for name, default in repeated.items()}
    chosen["jobs"] = evaluation.default_jobs(int(os.environ.get("WORLD_SIZE", "1"))) if jobs is None else jobs
    walks: list[Walk] = []
    found = finding.find(photos, limit, walks)
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
