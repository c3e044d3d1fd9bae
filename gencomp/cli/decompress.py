"""`gencomp decompress`: .gnc files to images."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import FileOutcome, crew, default_jobs, describe, echo, report
from gencomp.cli.group import WrongUsage
from gencomp.cli.planning import STREAM, Plan, opened, plan
from gencomp.files import shown
from gencomp.walk import is_coded

if TYPE_CHECKING:
    from gencomp.codec import Codec

_PIPED = "a.png"  # the format of what goes to standard output


@click.command()
@options.paths("FILE...")
@options.output
@options.overwrite
@options.realism("0: least distortion; 1: most realistic. One file serves both.")
@options.model
@options.device
@options.max_pixels
@options.jobs
@options.as_json
def decompress(paths: tuple[Path, ...], output: str | None, overwrite: bool, as_json: bool, **how: Any) -> None:
    """Decode .gnc files to images.

    The output's suffix chooses the format: PNG, JPEG (quality 95), WebP (lossless) or TIFF. Without -o a PNG stands
    beside its file. An image of that name that exists, perhaps the original, is kept. A folder is walked and its
    tree mirrored under -o. Alpha and metadata that a file keeps go into its image; JPEG holds no alpha. - is standard
    input, and standard output, that of a PNG.

    \b
    gencomp decompress photo.gnc -o photo.jpg
    gencomp decompress coded/ -o seen/
    gencomp decompress photo.gnc -o - | display
    """
    from gencomp.image import ImageError, image_format

    planned = plan(paths, is_coded, output, ".png", overwrite)
    try:
        for target in planned.targets.values():
            image_format(_PIPED if target == STREAM else target)
    except ImageError as error:
        raise WrongUsage(f"-o {output}: {error}; for a folder, end the name in a slash") from None
    files, device = list(planned.targets), how["device"]
    work = functools.partial(_decode, planned, how["realism"], how["max_pixels"])
    jobs = 1 if planned.piped else how["jobs"] or default_jobs(len(files), device)
    with crew(work, how["model"], device, jobs) as ((model, knows_realism), do):
        source = click.get_current_context().get_parameter_source("realism")
        if source is click.core.ParameterSource.COMMANDLINE and not knows_realism:
            echo(f"Note: the model {model} does not know realism: --realism has no effect", err=True)
        report(do(files), len(files), as_json, planned.notes, planned.left_out, planned.said_on)


def _decode(planned: Plan, realism: float, max_pixels: int, codec: Codec, source: Path) -> FileOutcome:
    from gencomp.image import encoded_image

    target = planned.place(source)
    with opened(source) as file:
        data = bitstream.inspect_file(file, max_pixels, keep=True)
    image = codec.decompress(data, realism=realism if codec.knows_realism else None, max_pixels=max_pixels)
    planned.write(source, encoded_image(image, _PIPED if target == STREAM else target, image.info))
    record = describe(source, data) | {"output": str(target), "model_name": codec.model_name}
    record["runtime"] = codec.runtime.name
    return FileOutcome(f"{shown(source)} -> {shown(target)}: {record['width']}x{record['height']}", record)
