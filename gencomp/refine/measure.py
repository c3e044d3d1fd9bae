"""What each effort costs and gives, on the photographs of a folder: a table in Markdown.

    python -m gencomp.refine.measure kodak/ --crop 256 --limit 3 --quality 45

Bits are those of files. The equivalent in bits: how many percent fewer bits effort 0 would take for the same PSNR or
MS-SSIM, from its curve around the quality. Seconds are of processor time, on a thread, for 768x512 pixels.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from ..bitstream import quality_to_step, step_to_quality
from ..codec import Codec, load
from ..files import IMAGE_SUFFIXES
from ..image import read_image
from ..perceptual.ms_ssim import ms_ssim
from .effort import MAX_EFFORT

CURVE = (-160, -80, 0, 80, 160)  # quality steps around the one asked for
PIXELS = 768 * 512


class Measured(NamedTuple):
    """One file: processor seconds of its encoding, bytes, PSNR [dB], MS-SSIM [dB, -10 log10 of 1 - MS-SSIM]."""

    seconds: float
    size: int
    psnr: float
    ms_ssim: float


class Change(NamedTuple):
    """Against effort 0: seconds for 768x512, size [share], PSNR [dB], MS-SSIM [dB], equivalents in bits [shares]."""

    seconds: float
    size: float
    psnr: float
    ms_ssim: float
    psnr_in_bits: float
    ms_ssim_in_bits: float


def measure(codec: Codec, pixels: npt.NDArray[np.uint8], quality: float, effort: int, realism: float) -> Measured:
    """Code and decode uint8 [H, W, 3]."""
    started = time.process_time()
    data = codec.compress(pixels, quality=quality, effort=effort)
    seconds = time.process_time() - started
    shown = np.asarray(codec.decompress(data, realism=realism if codec.knows_realism else None))
    mse = float(np.square(shown.astype(np.float64) - pixels).mean())
    x, y = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].double() / 255 for p in (pixels, shown))
    return Measured(seconds, len(data), 10 * math.log10(255**2 / mse), -10 * math.log10(1 - float(ms_ssim(x, y))))


def in_bits(curve: Sequence[Measured], of: str, found: Measured) -> float:
    """Size of `found` over that of effort 0 at an equal metric, minus 1; the curve's logarithm, extended linearly."""
    values, sizes = [getattr(m, of) for m in curve], [math.log(m.size) for m in curve]
    value = getattr(found, of)
    last = len(values) - 1
    left = min(max(int(np.searchsorted(values, value)) - 1, 0), last - 1)
    slope = (sizes[left + 1] - sizes[left]) / (values[left + 1] - values[left])
    return found.size / math.exp(sizes[left] + slope * (value - values[left])) - 1


def changes(
    codec: Codec, pixels: npt.NDArray[np.uint8], quality: float, efforts: Sequence[int], realism: float
) -> dict[int, Change]:
    """What each effort does to one image."""
    step = quality_to_step(quality)
    curve = [measure(codec, pixels, step_to_quality(step + d), 0, realism) for d in CURVE]
    plain, scale = curve[len(CURVE) // 2], PIXELS / pixels[..., 0].size
    result = {}
    for effort in efforts:
        m = measure(codec, pixels, quality, effort, realism) if effort else plain
        bits = in_bits(curve, "psnr", m), in_bits(curve, "ms_ssim", m)
        result[effort] = Change(
            m.seconds * scale, m.size / plain.size - 1, m.psnr - plain.psnr, m.ms_ssim - plain.ms_ssim, *bits
        )
    return result


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crop", type=int, help="side of a square from the middle of each image; default: all of it")
    parser.add_argument("--limit", type=int, help="only so many images, spread over the folder")
    parser.add_argument("--quality", type=float, default=45)
    parser.add_argument("--effort", type=int, nargs="+", default=list(range(MAX_EFFORT + 1)))
    parser.add_argument("--realism", type=float, default=0.0)
    parser.add_argument("--model")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    codec = load(asked.model, device=asked.device)
    paths = sorted(p for p in asked.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    paths = paths[:: max(1, len(paths) // asked.limit)][: asked.limit] if asked.limit else paths
    images = [_crop(read_image(path), asked.crop) for path in paths]
    found = [changes(codec, i, asked.quality, asked.effort, asked.realism) for i in tqdm(images, disable=None)]
    print(f"Quality {asked.quality:g}, realism {asked.realism:g}: {', '.join(path.stem for path in paths)}\n")
    print("| effort | seconds | bits | PSNR | MS-SSIM | worth, PSNR | worth, MS-SSIM |\n|---|---|---|---|---|---|---|")
    for effort in asked.effort:
        mean = Change(*np.mean([of_image[effort] for of_image in found], axis=0).tolist())
        print(
            f"| {effort} | {mean.seconds:.1f} | {100 * mean.size:+.1f} % | {mean.psnr:+.2f} dB "
            f"| {mean.ms_ssim:+.2f} dB | {100 * mean.psnr_in_bits:+.1f} % | {100 * mean.ms_ssim_in_bits:+.1f} % |"
        )


def _crop(image: Image.Image, side: int | None) -> npt.NDArray[np.uint8]:
    if side is None:
        return np.asarray(image)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


if __name__ == "__main__":
    main()
