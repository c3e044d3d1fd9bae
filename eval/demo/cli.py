"""`gencomp demo`: one photograph through the codec and its file, beside JPEG, WebP and AVIF at the same size."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.files import shown as printable
from gencomp.outputs import protecting

if TYPE_CHECKING:
    from PIL import Image

    from ..codecs.baseline import Baseline
    from ..run.coding import RoundTrip

BASELINES = ("avif", "webp", "jpeg")
BPP = 0.12
DETAIL = 200  # side of the enlarged piece, pixels


class Shown(NamedTuple):
    """One codec's part of the demonstration. `note` says why its size is not that of the .gnc file."""

    name: str
    coded: "RoundTrip"
    psnr: float
    ms_ssim: float | None  # None for images too small for it
    note: str


@click.command()
@click.argument("photo", required=False, type=options.OLD_FILE)
@click.option("-o", "--output", default="demo.png", metavar="PNG", help="The side-by-side image.")
@options.overwrite
@click.option("--bpp", type=click.FloatRange(0.001, 24), help="Bits per pixel of the files.  [default: 0.12]")
@options.quality("Instead: quality of the .gnc file.", default=None)
@options.realism("0: least distortion.")
@options.model
@options.device
@options.one_json
def demo(photo: Path | None, output: str, bpp: float | None, quality: float | None, as_json: bool, **how: Any) -> None:
    """Compress PHOTO to about a tenth of a bit per pixel, decode it from its file, and compare.

    JPEG, WebP and AVIF (speed 4) code the same photograph as near to the size of the .gnc file as they can. The table
    goes to the screen, the images side by side into demo.png. Without PHOTO one of scikit-image's is taken.
    """
    from gencomp.image import encoded_image

    from ..codecs.build import of_model
    from .sheet import side_by_side

    place = Path(output)
    if place.suffix.lower() != ".png":
        raise click.UsageError(f"-o {output}: the image is a PNG, so its name ends in .png")
    if bpp is not None and quality is not None:
        raise click.UsageError("give --bpp or --quality, not both")
    outputs = protecting([photo, how["model"]], how["overwrite"])
    outputs.check(place)
    image, name = _photograph(photo)
    wanted = (bpp or BPP) * image.width * image.height / 8
    codec = of_model(how["model"], device=how["device"])
    shown = _compare(image, codec, quality, wanted, how["realism"], quiet=as_json)
    captions = [f"{s.coded.size:,} bytes, {s.coded.bpp:.3f} bpp, {s.psnr:.2f} dB" for s in shown]
    sheet = side_by_side(image, [(s.name, caption, s.coded.image) for s, caption in zip(shown, captions)], DETAIL)
    outputs.write(place, encoded_image(sheet, place), like=photo)
    if as_json:
        codecs = [{"codec": s.name, "bytes": s.coded.size, "bpp": s.coded.bpp, "psnr": s.psnr, "ms_ssim": s.ms_ssim,
                   "encode_s": s.coded.encode_s, "decode_s": s.coded.decode_s, "note": s.note}
                  for s in shown]  # fmt: skip
        echo(json.dumps({"photo": name, "output": output, "codecs": codecs}))
    else:
        echo(_table(name, image, shown) + f"\n\nSide by side: {printable(output)}")


def _photograph(path: Path | None) -> "tuple[Image.Image, str]":
    from PIL import Image

    from gencomp.image import read_image

    if path is not None:
        return read_image(path), str(path)
    from skimage import data

    return Image.fromarray(data.chelsea()), 'scikit-image\'s photograph "chelsea"'


def _compare(
    image: "Image.Image", coder: "Baseline", quality: float | None, wanted: float, realism: float, quiet: bool
) -> list[Shown]:
    """The photograph through gencomp at a quality, else in `wanted` bytes, then each baseline at the same size."""
    import numpy as np
    from tqdm import tqdm

    from gencomp.image import to_tensor

    from ..codecs.baseline import BaselineError
    from ..codecs.build import build
    from ..metrics import fidelity
    from ..run.coding import code_aside, nearest

    shown: list[Shown] = []
    x = to_tensor(np.asarray(image))
    with tqdm(total=1 + len(BASELINES), leave=False, disable=True if quiet else None) as bar:
        for name in ("gencomp", *BASELINES):
            bar.set_description(name)
            try:
                codec = build(name)[0] if shown else coder
            except BaselineError as error:
                echo(f"Left out: {name}: {error}", err=True)
                continue
            setting, note = quality, ""
            if setting is None or shown:
                match = nearest(codec, image, shown[0].coded.size if shown else wanted)
                setting, note = match.setting, match.note
            (coded,) = code_aside(codec, image, setting, realism)
            y = to_tensor(np.asarray(coded.image))
            ms_ssim = fidelity.ms_ssim(x, y) if min(image.size) >= fidelity.MS_SSIM_SIDE else None
            shown.append(Shown(name, coded, fidelity.psnr(x, y), ms_ssim, note))
            bar.update()
    return shown


def _table(name: str, image: "Image.Image", shown: list[Shown]) -> str:
    lines = [
        f"{printable(name)}, {image.width}x{image.height}, every image decoded from its file",
        "",
        f"{'codec':10}{'bytes':>9}{'bpp':>8}{'PSNR':>10}{'MS-SSIM':>9}{'encode':>9}{'decode':>9}",
    ]
    for s in shown:
        similarity = "-" if s.ms_ssim is None else f"{s.ms_ssim:.4f}"
        lines.append(
            f"{s.name:10}{s.coded.size:>9,}{s.coded.bpp:>8.3f}{s.psnr:>7.2f} dB{similarity:>9}"
            f"{s.coded.encode_s:>7.2f} s{s.coded.decode_s:>7.2f} s  {s.note}".rstrip()
        )
    return "\n".join(lines)
