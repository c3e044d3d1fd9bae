"""The least quality at which what a file shows is good enough by a measure, for those who ask for no size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from gencomp.bitstream import STEPS, step_to_quality

if TYPE_CHECKING:
    from gencomp.codec import Codec

Pixels = npt.NDArray[np.uint8]
FINE = 4  # quality steps, 0.4 of quality, to which the search goes


class TargetError(ValueError):
    """No quality is good enough."""


def psnr(x: Pixels, y: Pixels) -> float:
    """Peak signal-to-noise ratio of uint8 images [dB]; 138 for equal ones."""
    error = float(np.square(x.astype(np.float32) - y).mean(dtype=np.float64))
    return 10 * math.log10(255**2 / max(error, 1e-9))


def at_least(decibels: float, x: Pixels) -> Callable[[Pixels], bool]:
    """Whether an image shows x with so much PSNR."""
    return lambda y: psnr(x, y) >= decibels


def at_most(distance: float, x: Pixels) -> Callable[[Pixels], bool]:
    """Whether an image is so near to x by DISTS. WeightsError where VGG's weights are not on this disk."""
    from gencomp.image import to_tensor
    from gencomp.perceptual.dists import dists

    metric, original = dists(), to_tensor(x)
    return lambda y: metric(original, to_tensor(y)) <= distance


def least_quality(codec: Codec, pixels: Pixels, good: Callable[[Pixels], bool]) -> float:
    """The least quality, to 0.4, whose image at the default realism is good, if better qualities are as good. Nothing
    is written or range coded on the way: ten round trips. TargetError where quality 100 is not good."""
    image = Image.fromarray(pixels)

    def shown(step: int) -> Pixels:
        return np.asarray(codec.round_trip(image, quality=step_to_quality(step)))

    low, high = -1, STEPS
    if not good(shown(high)):
        raise TargetError("even quality 100 does not reach what was asked for")
    while high - low > FINE:
        middle = (low + high) // 2
        low, high = (low, middle) if good(shown(middle)) else (middle, high)
    return step_to_quality(high)
