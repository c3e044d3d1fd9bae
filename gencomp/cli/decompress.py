"""`gencomp decompress`: .gnc files to images."""

from __future__ import annotations

from pathlib import Path

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import Outcome, each_file
from gencomp.cli.group import WrongUsage
from gencomp.cli.output import describe
from gencomp.cli.planning import load_codec, plan
from gencomp.files import CODED_SUFFIX, shown


@click.command()
@options.paths("FILE...")
@options.output
@click.option(
    "--realism",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    callback=options.finite,
    help="0: least distortion; 1: most realistic. One file serves both.",
)
@click.option("--force", is_flag=True, help="Without -o, too, replace images that exist.")
@options.model
@options.device
@options.max_pixels
@options.as_json
@click.pass_context
def decompress(
    ctx: click.Context,
    paths: tuple[Path, ...],
    output: str | None,
    realism: float,
    force: bool,
    model: str | None,
    device: str,
    max_pixels: int,
    as_json: bool,
) -> None:
    """Decode .gnc files to images.

    The output's suffix chooses the format: PNG, JPEG (quality 95), WebP (lossless) or TIFF. Without -o a PNG stands
    beside its file, unless an image of that name, perhaps the original, is there already. A folder is walked
    and its tree mirrored under -o. Metadata that a file keeps go into its image.

    \b
    gencomp decompress photo.gnc -o photo.jpg
    gencomp decompress coded/ -o seen/
    """
    from gencomp.image import ImageError, image_format, write_image

    planned = plan(paths, frozenset([CODED_SUFFIX]), output, ".png")
    try:
        for target in planned.targets.values():
            image_format(target)
    except ImageError as error:
        raise WrongUsage(f"-o {output}: {error}; for a folder, end the name in a slash") from None
    codec = load_codec(model, device)
    if ctx.get_parameter_source("realism") is click.core.ParameterSource.COMMANDLINE and not codec.knows_realism:
        click.echo(f"Note: the model {codec.model_name} does not know realism: --realism has no effect", err=True)

    def decode(source: Path) -> Outcome:
        target = planned.place(source)
        if output is None and not force and target.exists():
            raise FileExistsError(f"{shown(target)} exists and is kept: name the output with -o, or give --force")
        with source.open("rb") as file:
            data = bitstream.read(file, max_pixels)
        image = codec.decompress(data, realism=realism if codec.knows_realism else None, max_pixels=max_pixels)
        write_image(image, target, like=source, info=image.info)
        record = {
            **describe(source, bitstream.inspect(data)),
            "output": str(target),
            "model_name": codec.model_name,
        }
        return Outcome(f"{shown(source)} -> {shown(target)}: {record['width']}x{record['height']}", record)

    each_file(list(planned.targets), decode, as_json, planned.notes)
