"""What several verbs ask for in the same words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from gencomp import bitstream
from gencomp.cli.group import WrongUsage
from gencomp.cli.pipes import named
from gencomp.effort import AIMS, MAX_EFFORT

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """A callback for options: no NaN and no infinity, which pass through click's ranges."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter("not a finite number", param=parameter)
    return value


def filled(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A callback for names: an empty one is mostly a shell variable that was not set."""
    if value == "":
        raise click.BadParameter("an empty name", param=parameter)
    return value


def colour(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A colour that Pillow knows, by its name or as #rrggbb."""
    if value is not None:
        from PIL import ImageColor

        try:
            ImageColor.getcolor(value, "RGB")
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value


class _InputPath(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("an empty name", param, ctx)
        return named(str(super().convert(value, param, ctx)))


def paths(metavar: str) -> Decorator:
    """The files and folders that a verb works on."""
    return click.argument("paths", nargs=-1, required=True, metavar=metavar, type=_InputPath())


output = click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    callback=filled,
    help="Output file, - for standard output; with several inputs or a folder, a folder, made if missing.",
)
overwrite = click.option(
    "--overwrite", "--force", is_flag=True, help="Replace outputs that exist.  [default: keep them]"
)
background = click.option(
    "--background",
    metavar="COLOUR",
    callback=colour,
    help="Composite on this colour.  [default: keep alpha]",
)
model = click.option("--model", metavar="NAME|FILE", callback=filled, help="Model to use instead of the embedded one.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the networks run; files and their integers are the same everywhere.",
)
max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=bitstream.MAX_PIXELS,
    show_default=True,
    help="Refuse larger images; raise it for images that you trust.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")


def names(_: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """A callback for --keep: names with commas between them."""
    from gencomp.metadata import checked

    try:
        return tuple(sorted(checked([name.strip() for name in value.split(",")]))) if value is not None else ()
    except ValueError as error:
        raise click.BadParameter(str(error), param=parameter) from None


effort = click.option(
    "--effort",
    type=click.IntRange(0, MAX_EFFORT),
    default=0,
    show_default=True,
    help=f"0 is quick; each number up to {MAX_EFFORT} about doubles the time that refines the image's latents, for a "
    "better image in fewer bits. Decoding stays as it is.",
)
aim = click.option(
    "--aim",
    type=click.Choice(AIMS),
    default=AIMS[0],
    show_default=True,
    help="With an effort: what people see at realism 1, or PSNR and MS-SSIM at realism 0.",
)


def aim_notes(effort: int, aim: str) -> list[str]:
    """What is worth saying of an aim before it is used; WrongUsage for one that would do nothing."""
    source = click.get_current_context().get_parameter_source("aim")
    if not effort and source == click.core.ParameterSource.COMMANDLINE:
        raise WrongUsage("--aim needs an --effort of 1 to 9")
    if not effort or aim != "realism":
        return []
    from gencomp.perceptual import networks_present

    if {"alex", "lite"} <= networks_present().keys():
        return []
    return ["refined without feature networks: `gencomp weights --download` fetches them, for about twice the gain"]


keep = click.option(
    "--keep",
    metavar="NAMES",
    callback=names,
    help="Metadata to keep: exif,xmp,icc,dpi,comment or all; the GPS position only with gps.  [default: none]",
)

jobs = click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes for several files.  [default: over the cores, one where there are few files]",
)
