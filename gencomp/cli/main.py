"""The command `gencomp`: compress, decompress, info. Thin: it names files, calls the codec and says what was done.

torch and the codec are imported inside the verbs that need them, so that --help and info answer at once. Exit status:
0 done, 1 could not (one line on stderr says what, which file and the remedy), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp import bitstream
from gencomp.cli.batch import Outcome, each_file
from gencomp.cli.group import Verbs, WrongUsage
from gencomp.files import CODED_SUFFIX, IMAGE_SUFFIXES, NamingError, Plan, find_inputs, plan_outputs, write_atomically

if TYPE_CHECKING:
    from gencomp.codec import Codec

_CODED = frozenset([CODED_SUFFIX])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gencomp", message="%(prog)s %(version)s")
def main() -> None:
    """A generative image codec: photographs at about a tenth of a bit per pixel.

    \b
    gencomp compress photo.jpg                photo.gnc beside it
    gencomp decompress photo.gnc -o seen.png  and back
    gencomp info photo.gnc                    what a file holds
    gencomp demo                              see it on a photograph, beside JPEG, WebP and AVIF
    """


def _finite(_: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise click.BadParameter("not a number", param=parameter)
    return value


_output = click.option(
    "-o", "--output", metavar="FILE|DIR", help="Output file; with several inputs a folder, made if missing."
)
_model = click.option("--model", metavar="NAME|FILE", help="Model to use instead of the embedded one.")
_device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the networks run; files and their integers are the same everywhere.",
)
_max_pixels = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=bitstream.MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures; raise it for pictures that you trust.",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a file on standard output.")


def _paths(metavar: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.argument("paths", nargs=-1, required=True, metavar=metavar, type=click.Path(path_type=Path))


@main.command()
@_paths("PHOTO...")
@_output
@click.option(
    "--quality",
    type=click.FloatRange(bitstream.MIN_QUALITY, bitstream.MAX_QUALITY),
    callback=_finite,
    help=f"1 (smallest) to 100 (best), any number between.  [default: {bitstream.DEFAULT_QUALITY:g}]",
)
@click.option(
    "--bpp",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    help="Instead: the best quality of at most so many bits per pixel.",
)
@click.option(
    "--bytes",
    "size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instead: the best quality of at most N bytes, the whole file counted.",
)
@_model
@_device
@_max_pixels
@_json
def compress(
    paths: tuple[Path, ...],
    output: str | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    model: str | None,
    device: str,
    max_pixels: int,
    as_json: bool,
) -> None:
    """Code photographs as .gnc files.

    Takes what Pillow reads: grey, alpha (composited on white), palette, CMYK and 16-bit pictures, with their
    orientation and colour profile applied. A folder is walked. Without -o a .gnc file stands beside its picture.

    \b
    gencomp compress photo.jpg --quality 30
    gencomp compress photo.jpg -o small.gnc --bytes 10000
    gencomp compress holiday/ -o coded/ --bpp 0.12
    """
    if sum(value is not None for value in (quality, bpp, size)) > 1:
        raise WrongUsage("give one of --quality, --bpp and --bytes, not several")
    plan = _plan(paths, IMAGE_SUFFIXES, output, CODED_SUFFIX)
    for job in plan.jobs:
        if job.target.suffix.lower() != CODED_SUFFIX:
            raise WrongUsage(f"-o {output}: a coded file is named .gnc; for a folder, end the name in a slash")

    codec = _load(model, device)
    targets = dict(plan.jobs)

    def code(source: Path) -> Outcome:
        encoded = codec.encode(source, quality=quality, bpp=bpp, bytes=size, max_pixels=max_pixels)
        write_atomically(targets[source], encoded.data)
        record = {
            **_describe(targets[source], encoded.data),
            "source": str(source),
            "model_name": codec.model_name,
            "entropy_bits": encoded.entropy_bits,
        }
        return Outcome(f"{source} -> {targets[source]}: {_size(record)}, quality {record['quality']:.4g}", record)

    _make_folder(plan)
    each_file([job.source for job in plan.jobs], code, as_json)


@main.command()
@_paths("FILE...")
@_output
@click.option(
    "--realism",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    callback=_finite,
    help="0: least distortion; 1: most realistic. One file serves both.",
)
@click.option("--force", is_flag=True, help="Without -o, too, replace pictures that exist.")
@_model
@_device
@_max_pixels
@_json
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
    """Decode .gnc files to pictures.

    The output's suffix chooses the format: PNG, JPEG (quality 95), WebP (lossless) or TIFF. Without -o a PNG stands
    beside its file, unless a picture of that name, perhaps the original, is there already. A folder is walked.

    \b
    gencomp decompress photo.gnc -o photo.jpg
    gencomp decompress coded/ -o seen/
    """
    from gencomp.image import ImageError, image_format, write_image

    plan = _plan(paths, _CODED, output, ".png")
    try:
        for job in plan.jobs:
            image_format(job.target)
    except ImageError as error:
        raise WrongUsage(f"-o {output}: {error}; for a folder, end the name in a slash") from None
    codec = _load(model, device)
    if ctx.get_parameter_source("realism") is click.core.ParameterSource.COMMANDLINE and not codec.knows_realism:
        click.echo(f"Note: the model {codec.model_name} does not know realism: --realism has no effect", err=True)
    targets = dict(plan.jobs)

    def decode(source: Path) -> Outcome:
        if output is None and not force and targets[source].exists():
            raise FileExistsError(f"{targets[source]} exists and is kept: name the output with -o, or give --force")
        data = _read(source, max_pixels)
        picture = codec.decompress(data, realism=realism if codec.knows_realism else None, max_pixels=max_pixels)
        write_image(picture, targets[source])
        record = {**_describe(source, data), "output": str(targets[source]), "model_name": codec.model_name}
        return Outcome(f"{source} -> {targets[source]}: {record['width']}x{record['height']}", record)

    _make_folder(plan)
    each_file([job.source for job in plan.jobs], decode, as_json)


@main.command()
@_paths("FILE...")
@click.option("--verify", is_flag=True, help="Decode the integers, too, and compare them with the file's checksum.")
@_model
@_device
@_max_pixels
@_json
def info(paths: tuple[Path, ...], verify: bool, model: str | None, device: str, max_pixels: int, as_json: bool) -> None:
    """Say what .gnc files hold: size, rate, quality, model, and whether they are damaged.

    Reads header and checksum alone; status 1 if a checksum is wrong. --model, --device and --max-pixels serve
    --verify, which needs the model of the file.
    """
    if not verify and (model is not None or device != "auto"):
        click.echo("Note: --model and --device have no effect without --verify", err=True)
    codec = _load(model, device) if verify else None

    def describe(source: Path) -> Outcome:
        data = _read(source, max_pixels)
        record = _describe(source, data)
        problem = "" if record["checksum_ok"] else "damaged file: its checksum does not match"
        if codec is not None:
            verified = codec.verify(data, max_pixels=max_pixels) if not problem else None
            record["latents_ok"] = verified is not None and verified.latents_ok
            record["entropy_bits"] = verified.entropy_bits if verified else None
            record["model_name"] = codec.model_name
            if not record["latents_ok"]:
                problem = problem or "its latents do not decode to what was coded"
        return Outcome(_info_text(record), record, problem)

    each_file(find_inputs(paths, _CODED), describe, as_json)


def _plan(paths: Sequence[Path], suffixes: frozenset[str], output: str | None, suffix: str) -> Plan:
    try:
        return plan_outputs(paths, find_inputs(paths, suffixes), output, suffix)
    except NamingError as error:
        raise WrongUsage(str(error)) from error


def _make_folder(plan: Plan) -> None:
    if plan.folder is not None:
        plan.folder.mkdir(parents=True, exist_ok=True)


def _load(model: str | None, device: str) -> Codec:
    from gencomp import codec

    return codec.load(model, device=device)


def _read(path: Path, max_pixels: int) -> bytes:
    with path.open("rb") as file:
        return bitstream.read(file, max_pixels)


def _describe(path: Path, data: bytes) -> dict[str, Any]:
    """What the file says of itself, without the model."""
    header, sections, checksum_ok, _ = bitstream.inspect(data)
    return {
        "path": str(path),
        "width": header.width,
        "height": header.height,
        "bytes": len(data),
        "bpp": 8 * len(data) / (header.width * header.height),
        "quality": bitstream.step_to_quality(header.quality_step),
        "model": header.model_id.hex(),
        "format_version": header.version,
        "checksum_ok": checksum_ok,
        "sections": sections,
    }


def _size(record: dict[str, Any]) -> str:
    return f"{record['bytes']:,} bytes, {record['bpp']:.4g} bpp"


def _info_text(record: dict[str, Any]) -> str:
    sections = ", ".join(f"{name} {size:,}" for name, size in record["sections"].items())
    lines = [
        record["path"],
        f"  picture   {record['width']}x{record['height']}",
        f"  size      {_size(record)} ({sections})",
        f"  quality   {record['quality']:.4g}",
        f"  model     {record['model']}" + (f" ({record['model_name']})" if "model_name" in record else ""),
        f"  format    {record['format_version']}",
        f"  checksum  {'ok' if record['checksum_ok'] else 'WRONG'}",
    ]
    if record.get("entropy_bits") is not None:
        lines.append(f"  latents   {'ok' if record['latents_ok'] else 'WRONG'}, {record['entropy_bits']:,.1f} bits")
    return "\n".join(lines)
