"""Images restored by the inference that refines latents: the rate is a prior of images, the decoder draws from it.

    inpainting   the distortion is not counted under a mask: there the prior and the decoder fill in
    denoising    the distortion is the noise's likelihood: -log2 p(x | x_hat) = |x - x_hat|^2 / (2 sigma^2 ln 2) bits

so that R + lambda D is the logarithm of a posterior (a MAP estimate over quantised latents), and the quality is the one
whose lambda fits. What inpainting shows is then fitted to its surroundings: their error, spread smoothly over the hole,
is taken away (Perez et al. 2003, "Poisson image editing"). Works on images in memory, uint8 [H, W, 3].
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from gencomp.alpha import spread
from gencomp.bitstream import DEFAULT_QUALITY, STEPS, quality_to_step
from gencomp.codec import Codec
from gencomp.entropy.constants import MEAN_UNIT
from gencomp.refine.objective import Aim, Price, price_of
from gencomp.refine.refine import Progress, refine
from gencomp.runtime.torch import torch_runtime

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Report = Progress | None
RELAXATIONS = 60
ROUNDS = 2  # of inpainting: each begins with what the one before filled in
NOISE_PRICE = 1.0  # lambda over that of the likelihood


def inpaint(
    codec: Codec,
    pixels: Pixels,
    mask: Mask,
    *,
    quality: float = DEFAULT_QUALITY,
    realism: float = 1.0,
    effort: int = 3,
    progress: Report = None,
) -> Pixels:
    """pixels with what lies under the mask [H, W] (true: unknown) filled in; the rest is returned as it was.

    A higher quality follows the surroundings more closely, a lower one trusts the prior more. It suits holes of up to
    about 30 pixels: nothing is invented that the surroundings do not suggest. Thin scratches across many sharp edges
    may fare better by biharmonic inpainting (scikit-image's `inpaint_biharmonic`).
    """
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"the mask has {mask.shape[1]}x{mask.shape[0]} pixels, the image another size")
    if mask.all():
        raise ValueError("the mask covers the whole image: no pixel is left to restore it from")
    known, step = ~mask, quality_to_step(quality)
    x = pixels.astype(np.float32)
    filled = _pixels(_membrane(x, known))
    price = price_of(codec.model.facts, step)
    for number in range(ROUNDS):
        how: dict[str, Any] = {"price": price, "counted": known, "progress": progress and _shifted(progress, number)}
        shown = _restored(codec, filled, step, realism, effort, **how)
        fitted = _pixels(shown + _membrane(x - shown, known))
        filled = np.where(known[..., None], pixels, fitted)
    return filled


def denoise(
    codec: Codec, pixels: Pixels, sigma: float, *, realism: float = 0.0, effort: int = 3, progress: Report = None
) -> Pixels:
    """pixels without white Gaussian noise of standard deviation sigma, in grey levels."""
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma is a positive number of grey levels, not {sigma:g}")
    lam = NOISE_PRICE * pixels.shape[2] / (2 * sigma**2 * math.log(2))  # bits per pixel, D being a mean over samples
    lowest, highest = price_of(codec.model.facts, 0).lam, price_of(codec.model.facts, STEPS).lam
    step = round(STEPS * math.log(lam / lowest) / math.log(highest / lowest))
    how: dict[str, Any] = {"price": Price(lam, 0.0), "counted": None, "progress": progress}
    return _restored(codec, pixels, min(max(step, 0), STEPS), realism, effort, **how)


def _membrane(values: npt.NDArray[np.float32], known: Mask) -> npt.NDArray[np.float32]:
    """[H, W, 3] with what is not known, [H, W], as smooth as its rim allows: Laplace's equation, by relaxation from a
    start that is right in the large."""
    filled = spread(values, known)
    for _ in range(RELAXATIONS):
        padded = np.pad(filled, ((1, 1), (1, 1), (0, 0)), "edge")
        sides = padded[1:-1, :-2] + padded[1:-1, 2:] + padded[:-2, 1:-1] + padded[2:, 1:-1]
        filled = np.where(known[..., None], values, sides / 4)
    return filled


def _pixels(image: npt.NDArray[np.float32]) -> Pixels:
    return np.rint(image).clip(0, 255).astype(np.uint8)


def _restored(codec: Codec, pixels: Pixels, quality_step: int, realism: float, effort: int, **how: Any) -> Pixels:
    """The image that the refined latents decode to, by the ordinary path of integers. how: as of `refine`."""
    runtime = torch_runtime(codec.runtime, codec.model)
    latents = runtime.analyze(pixels, quality_step)
    strength = codec.strength(realism)
    latents = refine(codec.model, runtime.network, pixels, latents, quality_step, effort, aim=Aim(strength), **how)
    coded = codec.model.entropy.encode(latents, quality_step)
    y_hat = coded.y_int.astype(np.float32) / np.float32(MEAN_UNIT)
    return runtime.synthesize(y_hat, (pixels.shape[0], pixels.shape[1]), quality_step, strength)


def _shifted(progress: Progress, number: int) -> Progress:
    return lambda done, total: progress(number * total + done, ROUNDS * total)
