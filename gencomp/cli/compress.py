"""`gencomp compress`: images to .gnc files."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import FileOutcome, crew, default_jobs, describe, report, size_text, step_bar
from gencomp.cli.group import WrongUsage
from gencomp.cli.planning import STREAM, Plan, content, plan
from gencomp.files import CODED_SUFFIX, shown
from gencomp.walk import is_image

if TYPE_CHECKING:
    from gencomp.advice import Pixels
    from gencomp.codec import Codec, Encoded


@click.command()
@options.paths("PHOTO...")
@options.output
@options.overwrite
@options.quality(
    f"1 (smallest) to 100 (best), any number between.  [default: {bitstream.DEFAULT_QUALITY:g}]", default=None
)
@click.option("--bpp", type=options.POSITIVE, help="Instead: the best quality of at most so many bits per pixel.")
@click.option("--bytes", type=click.IntRange(1), metavar="N", help="Instead: the best quality of at most N bytes.")
@click.option("--psnr", type=options.POSITIVE, metavar="DB", help="Instead: the lowest quality of at least this PSNR.")
@click.option("--dists", type=options.POSITIVE, metavar="D", help="Instead: the lowest quality of at most this DISTS.")
@options.keep
@options.background
@options.effort
@options.aim
@options.model
@options.device
@options.max_pixels
@options.jobs
@click.option("--auto", is_flag=True, help="Write an .avif file of as many bytes where AVIF serves better.")
@options.quiet
@options.as_json
def compress(paths: tuple[Path, ...], output: str | None, quiet: bool, as_json: bool, **asked: Any) -> None:
    """Code photographs as .gnc files.

    Takes what Pillow reads: grey, alpha (kept without loss), palette, CMYK and 16-bit images, with their orientation
    and colour profile applied. Without -o a .gnc file is written beside its image. A folder's tree is mirrored under
    -o; a.jpg and a.png, which would share a name, become a.jpg.gnc and a.png.gnc. Existing files are kept, except a
    .gnc file that -o names. A message says where AVIF serves better, as it often does for print, charts and screens.
    - is standard input, and standard output with -o or without. Sizes count the whole file; PSNR and DISTS (which needs
    the weights of VGG: gencomp weights --download) are those at realism 1, before any refinement.

    \b
    gencomp compress photo.jpg --quality 30
    gencomp compress photo.jpg -o small.gnc --bytes 10000
    gencomp compress holiday/ -o coded/ --bpp 0.12
    gencomp compress photo.jpg --keep exif,icc
    convert scan.dng png:- | gencomp compress - -o scan.gnc
    gencomp compress photo.jpg --effort 3
    gencomp compress photo.jpg --effort 3 --aim pixels
    """
    model, device, jobs, auto = (asked.pop(name) for name in ("model", "device", "jobs", "auto"))
    psnr, dists = asked.pop("psnr"), asked.pop("dists")
    if sum(value is not None for value in (asked["quality"], asked["bpp"], asked["bytes"], psnr, dists)) > 1:
        raise WrongUsage("give one of --quality, --bpp, --bytes, --psnr and --dists, not several")
    if auto and asked["keep"]:
        raise WrongUsage("--auto keeps no metadata in an .avif file: leave out --keep")
    planned = plan(paths, is_image, output, CODED_SUFFIX, asked.pop("overwrite"), bitstream.MAGIC)
    if any(target != STREAM and target.suffix.lower() != CODED_SUFFIX for target in planned.targets.values()):
        raise WrongUsage(f"-o {output}: a coded file is named .gnc; for a folder, end the name in a slash")
    files, notes = list(planned.targets), planned.notes + options.aim_notes(asked["effort"], asked["aim"])
    shows_steps = asked["effort"] > 0 and len(files) == 1 and not quiet
    work = functools.partial(_code, planned, asked, Further(shows_steps, psnr, dists, auto or not quiet, auto))
    jobs = 1 if planned.piped else jobs or default_jobs(len(files), device)
    with crew(work, model, device, jobs) as (_, do):
        report(do(files), len(files), as_json, notes, planned.left_out, planned.said_on, quiet)


class Further(NamedTuple):
    """Beside coding. psnr, dists: the quality is to reach; looks, takes: for a better format, and at once that one."""

    shows_steps: bool = False
    psnr: float | None = None
    dists: float | None = None
    looks: bool = True
    takes: bool = False


def _code(planned: Plan, asked: dict[str, Any], further: Further, codec: Codec, source: Path) -> FileOutcome:
    import numpy as np

    from gencomp.alpha import read_with_alpha
    from gencomp.image import ImageWarning

    target, given = planned.place(source), content(source)
    pixels = np.asarray(read_with_alpha(given, (), asked["max_pixels"], asked["background"])[0])
    if not isinstance(given, Path):
        given.seek(0)
    if further.psnr is not None or further.dists is not None:
        from gencomp.target import at_least, at_most, least_quality

        good = at_least(further.psnr, pixels) if further.psnr is not None else at_most(further.dists or 0.0, pixels)
        asked = {**asked, "quality": least_quality(codec, pixels, good)}
    with step_bar(source, shows=further.shows_steps) as progress:
        encoded = codec.encode(given, **asked, progress=progress)
    inspection = bitstream.inspect(encoded.data)
    has_alpha = bitstream.SECTION_KINDS["alpha"] in inspection.extras
    better, avif = _better(codec, pixels, encoded, further.takes) if further.looks and not has_alpha else ("", None)
    if avif is not None:
        path = planned.write(source, avif, ".avif")
        record = {"source": str(source), "path": str(path), "bytes": len(avif), "format": "avif", "why": better}
        return FileOutcome(f"{shown(source)} -> {shown(path)}: {len(avif):,} bytes; {better}", record)
    planned.write(source, encoded.data)
    if better:
        warnings.warn(f"{better}: --auto writes that", ImageWarning, stacklevel=1)
    if asked["quality"] is None and encoded.quality == bitstream.MAX_QUALITY:
        warnings.warn("even quality 100 takes less than was asked for", ImageWarning, stacklevel=1)
    record = describe(target, inspection) | {"source": str(source), "model_name": codec.model_name}
    record |= {"runtime": codec.runtime.name, "entropy_bits": encoded.entropy_bits}
    text = f"{shown(source)} -> {shown(target)}: {size_text(record)}, quality {record['quality']:.1f}"
    if (gain := encoded.gain) is not None:
        record |= {"effort": asked["effort"], "aim": asked["aim"], "bits_change": gain.bits, "psnr_change": gain.psnr}
        record["distortion_change"] = gain.distortion
        changes = f"{100 * gain.bits:+.1f} % bits, {100 * gain.distortion:+.1f} % distortion"
        text += f", refined for {asked['aim']}: {changes}"
    return FileOutcome(text, record)


def _better(codec: Codec, pixels: Pixels, encoded: Encoded, takes: bool) -> tuple[str, bytes | None]:
    """Why AVIF serves better, "" where it does not; and such a file, where it is to be taken."""
    from gencomp.advice import advise, avif_within

    advice = advise(codec, pixels, encoded.quality, 8 * len(encoded.data) / (encoded.width * encoded.height))
    if advice is None or not advice.is_avif:
        return "", None
    figures = f"GMSD {advice.avif:.3f}, not {advice.gnc:.3f}"
    why = f"AVIF of as many bytes is {advice.times:.1f} times nearer at edges ({figures})"
    return why, avif_within(pixels, len(encoded.data)) if takes else None
