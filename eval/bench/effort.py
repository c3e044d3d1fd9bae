"""What each effort of encoding costs and gives, on the photographs of a folder: a table in Markdown.

    python -m gencomp.eval.bench.effort kodak/ --quality 52 --effort 1 --effort 3 --aim realism

Every file is held against one pass of the same model at equal bytes, shown at the aim's realism. Values are means over
the images; behind each metric stands its change against one pass (of PSNR in dB); those that the aim minimises bear a
star. Seconds are of processor time on one thread, loading left out, for 768x512 pixels.
"""

import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from gencomp.codec import Codec, load
from gencomp.effort import AIMS, MAX_EFFORT
from gencomp.image import to_tensor
from gencomp.perceptual.weights import WeightsError
from gencomp.refine.objective import minimised

from ..metrics.table import METRICS, Resources
from ..run.photos import find

PIXELS = 768 * 512
SHOWN = ("psnr", "ms_ssim", "lpips_alex", "lpips_vgg", "dists", "lite", "wasserstein_alex", "wasserstein")


@click.command(help=__doc__)
@click.argument("photos", nargs=-1, required=True)
@click.option("--quality", type=click.FloatRange(1, 100), default=52, show_default=True)
@click.option("--effort", "efforts", type=click.IntRange(1, MAX_EFFORT), multiple=True, default=(3,))
@click.option("--aim", type=click.Choice(AIMS), default=AIMS[0], show_default=True)
@click.option("--crop", type=click.IntRange(min=161), help="Side of a square from the middle.  [default: whole images]")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, spread over all.")
@click.option("--model", metavar="NAME|FILE")
def main(photos: tuple[str, ...], quality: float, efforts: tuple[int, ...], aim: str, **of: Any) -> None:
    torch.set_num_threads(1)
    codec, found, limit = load(of["model"], device="cpu"), find(photos), of["limit"]
    found = found[:: max(1, len(found) // (limit or len(found)))][:limit]
    images = [_middle(photo.read(), of["crop"]) for photo in found]
    metrics: dict[str, Callable[..., float]] = {}
    for name in SHOWN:
        try:
            metrics[name] = METRICS[name].make(Resources())
        except (KeyError, WeightsError) as error:
            click.echo(f"{name} is left out: {error}", err=True)
    codec.compress(images[0][:64, :64], effort=max(efforts), aim=aim)
    click.echo(f"Quality {quality:g}, aim {aim}: {', '.join(photo.name for photo in found)}\n")
    heads = [METRICS[name].label + "*" * (name in minimised(aim, max(efforts))) for name in metrics]
    click.echo("| effort | s | bpp | " + " | ".join(heads) + " |")
    click.echo("|" + "---|" * (3 + len(metrics)))
    for effort in efforts:
        rows = [_row(codec, x, quality, effort, aim, metrics) for x in tqdm(images, desc=f"effort {effort}")]
        (seconds, bpp), after, before = (np.mean(part, axis=0) for part in zip(*rows))
        cells = [str(effort), f"{seconds:.1f}", f"{bpp:.4f}"]
        for name, new, old in zip(metrics, after, before):
            change = f"{new - old:+.2f} dB" if name == "psnr" else f"{100 * (new / old - 1):+.1f} %"
            cells.append(f"{new:.{METRICS[name].digits}f} ({change})")
        click.echo(f"| {' | '.join(cells)} |")


def _row(
    codec: Codec, pixels: np.ndarray, quality: float, effort: int, aim: str, metrics: dict[str, Callable[..., float]]
) -> tuple[list[float], list[float], list[float]]:
    """Seconds for 768x512 pixels and bits per pixel of an image, its metrics, and those of one pass at equal bytes."""
    started, count = time.process_time(), pixels[..., 0].size
    refined = codec.compress(pixels, quality=quality, effort=effort, aim=aim)
    seconds = (time.process_time() - started) * PIXELS / count
    values: list[Any] = []
    for data in (refined, codec.compress(pixels, bytes=len(refined))):
        shown = to_tensor(np.asarray(codec.decompress(data, realism=0.0 if aim == "pixels" else None)))
        values.append([metric(to_tensor(pixels), shown) for metric in metrics.values()])
    return [seconds, 8 * len(refined) / count], values[0], values[1]


def _middle(image: Image.Image, side: int | None) -> np.ndarray:
    if side is not None:
        left, top = (max(0, length - side) // 2 for length in image.size)
        image = image.crop((left, top, min(left + side, image.width), min(top + side, image.height)))
    return np.asarray(image)


if __name__ == "__main__":
    main()
