"""What restoration is worth, on small crops of scikit-image's photographs: a table in Markdown.

    python -m gencomp.refine.figures

Inpainting: PSNR [dB] under a mask of random strokes, against the mean of what is known and scikit-image's biharmonic
inpainting. Denoising: PSNR [dB] of the image, against scikit-image's non-local means with its true sigma.
"""

import argparse

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from skimage import data, restoration

from ..codec import load
from .restore import denoise, inpaint

SIDE = 128
SIGMAS = (15, 25)


def crops() -> dict[str, npt.NDArray[np.uint8]]:
    """Parts of photographs, uint8 [SIDE, SIDE, 3]."""
    places = {"astronaut": (60, 160), "chelsea": (80, 150), "coffee": (120, 200)}
    return {name: getattr(data, name)()[t : t + SIDE, l : l + SIDE] for name, (t, l) in places.items()}


def strokes(seed: int = 0, share: float = 0.1) -> npt.NDArray[np.bool_]:
    """A mask [SIDE, SIDE] of lines 5 pixels wide that covers at least a share of the image."""
    rng, image = np.random.default_rng(seed), Image.new("1", (SIDE, SIDE))
    while np.asarray(image).mean() < share:
        ImageDraw.Draw(image).line(rng.integers(8, SIDE - 8, 4).tolist(), fill=1, width=5)
    return np.array(image)


def psnr(x: npt.NDArray[np.generic], y: npt.NDArray[np.generic]) -> float:
    """dB, of values in 0..255."""
    return float(10 * np.log10(255**2 / np.square(x.astype(np.float64) - y.astype(np.float64)).mean()))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effort", type=int, default=3)
    effort = parser.parse_args().effort
    torch.set_num_threads(1)
    codec, mask = load(device="cpu"), strokes()
    print("| inpainting | mean | biharmonic | realism 0 | realism 1 |\n|---|---|---|---|---|")
    for name, x in crops().items():
        mean = np.broadcast_to(x[~mask].mean(0), x.shape)
        hole = np.where(mask[..., None], 0, x)
        biharmonic = 255 * restoration.inpaint_biharmonic(hole, mask, split_into_regions=True, channel_axis=-1)
        ours = [inpaint(codec, x, mask, realism=realism, effort=effort) for realism in (0.0, 1.0)]
        print(f"| {name} | " + " | ".join(f"{psnr(y[mask], x[mask]):.2f}" for y in (mean, biharmonic, *ours)) + " |")
    print("\n| denoising | sigma | noisy | non-local means | here |\n|---|---|---|---|---|")
    for name, x in crops().items():
        for sigma in SIGMAS:
            noise = np.random.default_rng(1).normal(0, sigma, x.shape)
            noisy = np.clip(np.rint(x + noise), 0, 255).astype(np.uint8)
            means = 255 * restoration.denoise_nl_means(
                noisy / 255.0, h=0.8 * sigma / 255, sigma=sigma / 255, fast_mode=True, channel_axis=-1
            )
            row = (noisy, means, denoise(codec, noisy, sigma, effort=effort))
            print(f"| {name} | {sigma} | " + " | ".join(f"{psnr(y, x):.2f}" for y in row) + " |")


if __name__ == "__main__":
    main()
