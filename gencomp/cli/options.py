"""What several verbs ask for in the same words."""

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gencomp.bitstream import DEFAULT_QUALITY, MAX_PIXELS, MAX_QUALITY, MIN_QUALITY
from gencomp.cli.group import WrongUsage
from gencomp.cli.planning import named
from gencomp.effort import AIMS, MAX_EFFORT

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Number(click.FloatRange):
    """A finite number: NaN and infinity pass through click's ranges."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail("not a finite number", param, ctx)
        return number


class ImageSize(click.ParamType[tuple[int, int]]):
    """Width and height in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two numbers, or a usage error."""
        if isinstance(value, tuple):  # a default that click has converted before
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,5})(?:x([1-9][0-9]{0,5}))?", str(value))
        if not found:
            self.fail(f"{value!r} is no size such as 256x192, or 256", param, ctx)
        size = int(found[1]), int(found[2] or found[1])
        if size[0] * size[1] > MAX_PIXELS:
            self.fail(f"{value} has more than {MAX_PIXELS} pixels", param, ctx)
        return size


POSITIVE = Number(min=0, min_open=True)
FOLDER, FILE = click.Path(file_okay=False, path_type=Path), click.Path(dir_okay=False, path_type=Path)
OLD_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
OLD_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
many = functools.partial(click.option, multiple=True)


class _InputPath(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("an empty name", param, ctx)
        return named(str(super().convert(value, param, ctx)))


def filled(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A callback for names: an empty one is mostly a shell variable that was not set."""
    if value == "":
        raise click.BadParameter("an empty name", param=parameter)
    return value


def paths(metavar: str) -> Decorator:
    """The files and folders that a verb works on."""
    return click.argument("paths", nargs=-1, required=True, metavar=metavar, type=_InputPath())


def into(metavar: str, help: str, **more: Any) -> Decorator:
    """`-o`, a name that is not empty."""
    return click.option("-o", "--output", metavar=metavar, callback=filled, help=help, **more)


def quality(help: str, default: float | None = DEFAULT_QUALITY) -> Decorator:
    """`--quality`, a number of 1 to 100."""
    return click.option("--quality", type=Number(MIN_QUALITY, MAX_QUALITY), default=default, help=help)


def realism(help: str, default: float | None = 1.0) -> Decorator:
    """`--realism`, a number of 0 to 1."""
    return click.option("--realism", type=Number(0, 1), default=default, help=help)


def _colour(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from PIL import ImageColor

        try:
            ImageColor.getcolor(value, "RGB")
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


def _kept(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    from gencomp.metadata import checked

    try:
        return tuple(sorted(checked([name.strip() for name in value.split(",")]))) if value is not None else ()
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


output = into(
    "FILE|DIR", "Output file, - for standard output; with several inputs or a folder, a folder, made if missing."
)
overwrite = click.option("--overwrite", "--force", is_flag=True, help="Replace existing outputs.  [default: keep them]")
background = click.option(
    "--background", metavar="COLOUR", callback=_colour, help="Composite on this colour.  [default: keep alpha]"
)
figure = click.option(
    "--figure", type=FILE, metavar="PREFIX", help="Also write PREFIX.png, .svg and .pdf, and dark ones as PREFIX-dark."
)
model = click.option("--model", metavar="NAME|FILE", callback=filled, help="Model to use instead of the embedded one.")
device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where the networks run."
)
max_pixels = click.option("--max-pixels", type=click.IntRange(1), default=MAX_PIXELS, help="Refuse larger images.")
effort = click.option(
    "--effort", type=click.IntRange(0, MAX_EFFORT), default=0, help="Refine latents; each number doubles the time."
)
aim = click.option(
    "--aim", type=click.Choice(AIMS), default=AIMS[0], help="What people see at realism 1, or PSNR and MS-SSIM at 0."
)
keep = click.option(
    "--keep",
    metavar="NAMES",
    callback=_kept,
    help="exif,xmp,icc,dpi,comment or all; place with gps.  [default: none]",
)
jobs = click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: over the cores; one for few files]"
)
quiet = click.option("--quiet", is_flag=True, help="Print problems alone (and with --json the records).")
one_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")


def aim_notes(effort: int, aim: str) -> list[str]:
    """What is worth saying of an aim before it is used; WrongUsage for one that would do nothing."""
    source = click.get_current_context().get_parameter_source("aim")
    if not effort and source == click.core.ParameterSource.COMMANDLINE:
        raise WrongUsage("--aim needs an --effort of 1 to 9")
    if not effort or aim != "realism":
        return []
    from gencomp.perceptual.weights import networks_present

    if {"alex", "lite"} <= networks_present().keys():
        return []
    return ["refined without feature networks: `gencomp weights --download` fetches them, for about twice the gain"]
