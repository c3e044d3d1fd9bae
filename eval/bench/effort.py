"""What each effort of encoding costs and gives, on the photographs of a folder: a table in Markdown.

    python -m gencomp.eval.bench.effort kodak/ --quality 52 --effort 1 --effort 3 --aim realism

Every file is held against one pass of the same model at equal bytes, shown at the aim's realism. Values are means over
the images; behind each metric stands its change against one pass (of PSNR in dB); those that the aim minimises bear a
star. Seconds are of processor time on one thread, loading left out, for 768x512 pixels.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gencomp.codec import Codec, load
from gencomp.effort import AIMS, MAX_EFFORT
from gencomp.perceptual import WeightsError
from gencomp.refine.objective import minimised

from ..metrics.table import METRICS, Resources
from ..run.photos import find

PIXELS = 768 * 512
SHOWN = ("psnr", "ms_ssim", "lpips_alex", "lpips_vgg", "dists", "lite", "wasserstein_alex", "wasserstein")


class Row(NamedTuple):
    """One image at one effort, or its one pass at equal bytes: seconds for 768x512 pixels, bits per pixel, metrics."""

    seconds: float
    bpp: float
    values: list[float]


@click.command(help=__doc__)
@click.argument("photos", nargs=-1, required=True)
@click.option("--quality", type=click.FloatRange(1, 100), default=52, show_default=True)
@click.option("--effort", "efforts", type=click.IntRange(1, MAX_EFFORT), multiple=True, default=(3,))
@click.option("--aim", type=click.Choice(AIMS), default=AIMS[0], show_default=True)
@click.option("--crop", type=click.IntRange(min=161), help="Side of a square from the middle.  [default: whole images]")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, spread over all.")
@click.option("--model", metavar="NAME|FILE")
def main(
    photos: tuple[str, ...], quality: float, efforts: tuple[int, ...], aim: str, crop: int | None, limit: int | None,
    model: str | None,
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    codec, found = load(model, device="cpu"), find(photos)
    found = found[:: max(1, len(found) // (limit or len(found)))][:limit]
    images = [_middle(photo.read(), crop) for photo in found]
    metrics = _available()
    codec.compress(images[0][:64, :64], effort=max(efforts), aim=aim)
    click.echo(f"Quality {quality:g}, aim {aim}: {', '.join(photo.name for photo in found)}\n")
    click.echo("| effort | s | bpp | " + " | ".join(_heads(metrics, aim, max(efforts))) + " |")
    click.echo("|" + "---|" * (3 + len(metrics)))
    for effort in efforts:
        pairs = [_pair(codec, x, quality, effort, aim, metrics) for x in tqdm(images, desc=f"effort {effort}")]
        click.echo(_line(effort, [refined for refined, _ in pairs], [plain for _, plain in pairs], metrics))


def _pair(
    codec: Codec, pixels: npt.NDArray[np.uint8], quality: float, effort: int, aim: str, metrics: dict[str, Callable]
) -> tuple[Row, Row]:
    started = time.process_time()
    refined = codec.compress(pixels, quality=quality, effort=effort, aim=aim)
    seconds = (time.process_time() - started) * PIXELS / pixels[..., 0].size
    x, rows = _tensor(pixels), []
    for data in (refined, codec.compress(pixels, bytes=len(refined))):
        shown = np.asarray(codec.decompress(data, realism=0.0 if aim == "pixels" else None))
        values = [metric(x, _tensor(shown)) for metric in metrics.values()]
        rows.append(Row(seconds, 8 * len(data) / pixels[..., 0].size, values))
    return rows[0], rows[1]


def _available() -> dict[str, Callable]:
    found = {}
    for name in SHOWN:
        try:
            found[name] = METRICS[name].make(Resources())
        except (KeyError, WeightsError) as error:
            click.echo(f"{name} is left out: {error}", err=True)
    return found


def _heads(metrics: dict[str, Callable], aim: str, effort: int) -> list[str]:
    return [METRICS[name].label + ("*" if name in minimised(aim, effort) else "") for name in metrics]


def _line(effort: int, refined: list[Row], plain: list[Row], metrics: dict[str, Callable]) -> str:
    cells = [str(effort), f"{np.mean([row.seconds for row in refined]):.1f}"]
    cells.append(f"{np.mean([row.bpp for row in refined]):.4f}")
    after, before = (np.mean([row.values for row in rows], axis=0) for rows in (refined, plain))
    for name, new, old in zip(metrics, after, before):
        change = f"{new - old:+.2f} dB" if name == "psnr" else f"{100 * (new / old - 1):+.1f} %"
        cells.append(f"{new:.{METRICS[name].digits}f} ({change})")
    return f"| {' | '.join(cells)} |"


def _middle(image: Image.Image, side: int | None) -> npt.NDArray[np.uint8]:
    if side is not None:
        left, top = (max(0, length - side) // 2 for length in image.size)
        image = image.crop((left, top, min(left + side, image.width), min(top + side, image.height)))
    return np.asarray(image)


def _tensor(pixels: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    main()
