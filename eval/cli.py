"""The command `gencomp eval`."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .codecs.ours import NAMES as CODECS
from .metrics.table import NAMES as METRICS

if TYPE_CHECKING:
    from .evaluation import Options
    from .run.records import Target

DEFAULT_CODECS = ("gencomp", "jpeg", "jpeg2000", "webp", "avif")
DEFAULT_BPP = (0.06, 0.12, 0.25, 0.5)


class CodecName(click.ParamType[str]):
    """A codec's name, or package.module:function."""

    name = "codec"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a usage error that lists the known ones."""
        if value not in CODECS and not re.fullmatch(r"[\w.]+:\w+", value):
            self.fail(f"{value!r} is none of {', '.join(CODECS)}, nor package.module:function", param, ctx)
        return str(value)


class Setting(click.ParamType["Target"]):
    """A setting of a codec's knob, with the codec's name and a colon before it where it is for one codec alone."""

    name = "q"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Target":
        """The target, or a usage error."""
        from .run.records import Target

        codec, _, number = str(value).rpartition(":")
        try:
            setting = float(number)
        except ValueError:
            setting = math.nan
        if not math.isfinite(setting):
            self.fail(f"{value!r} is no number, nor CODEC:NUMBER", param, ctx)
        return Target("setting", setting, codec or None)


def _finite(_: click.Context, parameter: click.Parameter, values: tuple[float, ...]) -> tuple[float, ...]:
    """The values, or a usage error: no range of click's keeps out what is not a number."""
    if not all(math.isfinite(value) for value in values or ()):
        raise click.BadParameter("not a number", param=parameter)
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
@click.option(
    "--codec",
    "codecs",
    multiple=True,
    type=CodecName(),
    metavar="NAME",
    help=f"Repeatable: {', '.join(CODECS)}, or package.module:function of your own adapter.  "
    f"[default: {', '.join(DEFAULT_CODECS)}]",
)
@click.option(
    "--bpp",
    "rates",
    multiple=True,
    type=click.FloatRange(0, 24, min_open=True),
    metavar="X",
    callback=_finite,
    help="Repeatable: bits a pixel that every picture is matched to.  [default: 0.06, 0.12, 0.25, 0.5]",
)
@click.option(
    "--quality",
    "settings",
    multiple=True,
    type=Setting(),
    metavar="[CODEC:]Q",
    help="Repeatable: one setting of the codec's own knob for all pictures instead (quality of gencomp, "
    "jpeg, webp, avif; bpp of jpeg2000; distance of jpegxl; crf of hevc; qp of vvc).",
)
@click.option(
    "--realism",
    "realisms",
    multiple=True,
    type=click.FloatRange(0, 1),
    metavar="R",
    callback=_finite,
    help="Repeatable: realism at which gencomp decodes.  [default: 1]",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=click.Choice(METRICS),
    metavar="NAME",
    help=f"Repeatable: {', '.join(METRICS)}.  [default: all]",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N photographs.")
@click.option("--model", "models", multiple=True, metavar="NAME|FILE", help="Repeatable: models for the embedded one.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with the weights of feature networks; else TORCH_HOME/hub/checkpoints.",
)
@click.option(
    "--features",
    multiple=True,
    metavar="NAME",
    default=("inception",),
    show_default=True,
    help="Repeatable: features behind fid and kid: inception, swav, dinov2, timm:MODEL.",
)
@click.option("--patch", type=click.IntRange(32), default=256, show_default=True, help="Side of fid's patches, pixels.")
@click.option("--anchor", default="avif", show_default=True, help="Codec that Bjontegaard deltas are measured against.")
@click.option(
    "--bd-range", type=(float, float), metavar="LOW HIGH", callback=_finite, help="Rates [bpp] that the deltas keep to."
)
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PREFIX",
    help="Also write the summary as PREFIX.csv and PREFIX.md and its figure as PREFIX.png and PREFIX.svg.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def evaluate(photos: tuple[str, ...], out: Path, limit: int | None, as_json: bool, device: str, figure: Path | None,
             **chosen: Any) -> None:  # fmt: skip
    """Code PHOTOS with every codec at every rate, decode from disk, measure, report.

    PHOTOS are folders, pictures, text files with one path a line, or names of the `datasets` library
    (datasets:NAME[:SPLIT]). DIR receives results.json, results.csv, summary.md, plots and index.html, which opens
    from disk. Many processes: accelerate launch -m gencomp.eval PHOTOS --out DIR ...

    \b
    gencomp eval photos/ --out seen/
    gencomp eval photos/ --out seen/ --codec gencomp --codec avif --bpp 0.1 --bpp 0.2
    gencomp eval photos/ --out seen/ --codec avif --quality avif:20 --quality avif:40
    """
    import json

    from .run import crashes
    from .run import photos as pictures

    crashes.outlive(out)
    from . import evaluation as run
    from .run.processes import join

    options = _options(photos, out, **chosen)
    found = pictures.find(photos, limit)
    processes = join(device)
    results = run.evaluate(options, found, processes, quiet=as_json)
    if results is None:
        return
    if figure is not None:
        run.write_figure(figure, results)
    if as_json:
        click.echo(json.dumps({k: results[k] for k in ("summary", "bd", "not_measured", "problems")}))
    else:
        _say(out, results)
    if results["problems"]:
        raise click.exceptions.Exit(1)


def _options(photos: tuple[str, ...], out: Path, **chosen: Any) -> "Options":
    from .evaluation import Options
    from .run.records import Target

    rates, settings, window = chosen["rates"], chosen["settings"], chosen["bd_range"]
    if window and not 0 <= window[0] < window[1]:
        raise click.BadParameter("the first rate is to be below the second", param_hint="--bd-range")
    if not rates and not settings:
        rates = DEFAULT_BPP
    return Options(
        photos, out, tuple(dict.fromkeys(chosen["codecs"] or DEFAULT_CODECS)),
        tuple(dict.fromkeys([Target("bpp", rate) for rate in rates] + list(settings))),
        tuple(dict.fromkeys(chosen["realisms"] or (1.0,))), tuple(dict.fromkeys(chosen["metrics"] or METRICS)),
        tuple(dict.fromkeys(chosen["features"])), chosen["models"], chosen["weights"], chosen["patch"],
        chosen["anchor"], window,
    )  # fmt: skip


def _say(out: Path, results: dict[str, Any]) -> None:
    """The summary on the screen, what was not measured, and what went wrong."""
    from .report.results import summary_text

    click.echo(summary_text(results))
    if not results["bd"] and len({row["codec"] for row in results["summary"]}) > 1:
        click.echo("No Bjontegaard deltas: the codec that --anchor names is not among these.")
    for name, why in results["not_measured"].items():
        click.echo(f"{name}: {why}")
    if any("needs" in why for why in results["not_measured"].values()):
        click.echo("Weights are taken from the folder of --weights and from TORCH_HOME/hub/checkpoints.")
    for problem in results["problems"]:
        where = ", ".join(part for part in (problem["codec"], problem["image"]) if part)
        click.echo(f"Problem: {where}: {problem['what']}", err=True)
    click.echo(f"\nReport: {out / 'index.html'}")
