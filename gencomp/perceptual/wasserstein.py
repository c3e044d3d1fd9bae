"""Wasserstein distortion between two stacks of features.

Qiu, Wagner, Balle and Theis 2023, "Wasserstein distortion: unifying fidelity and realism"; pooled over dyadic levels
as in Balle et al. 2024, "Good, cheap, and fast: overfitted image compression with Wasserstein distortion", but with
replicated borders, where zeros would let the outside of the image into its statistics.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .pyramids import blur


def _one_map(x: Tensor, y: Tensor, log2_sigma: Tensor, lowest: float, highest: float) -> Tensor:
    """Wasserstein distortion of one pair of feature maps (N, C, h, w): (N,).

    log2_sigma is (1 or N, 1, h, w) with values from lowest to highest. Level k compares means and deviations over
    windows of about 2**k pixels, level 0 the features themselves.
    """
    total = x.new_zeros(x.shape[0])
    moments: tuple[Tensor, ...] = (x, x.square(), y, y.square())
    for level in range(math.ceil(highest) + 1):
        wanted = lowest - 1 < level  # levels that no location asks for are only passed through
        if level:
            moments = tuple(blur(m, stride=1 if wanted else 2) for m in moments)
        if wanted:
            mean_x, square_x, mean_y, square_y = moments
            distance = (mean_x - mean_y).square()
            if level:
                std_x, std_y = _deviation(mean_x, square_x), _deviation(mean_y, square_y)
                distance = distance + (std_x - std_y).square()
            # Between two levels the weights are linear in log sigma.
            weight = (1 - (log2_sigma - level).abs()).clamp_min(0)
            total = total + (weight * distance).mean((1, 2, 3))
        if level:
            log2_sigma = blur(log2_sigma, stride=2)
            if wanted:
                moments = tuple(m[..., ::2, ::2] for m in moments)
    return total


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    """Standard deviation from first and second moment; the small constant bounds its gradient."""
    return torch.sqrt((square - mean.square()).clamp_min(0) + 1e-8)


def wasserstein_distortion(
    x: Sequence[Tensor], y: Sequence[Tensor], log2_sigma: Tensor | float, *, levels: int = 5
) -> Tensor:
    """Wasserstein distortion between two images' feature stacks, (N,), the sum over their maps.

    log2_sigma is the base-2 logarithm of the pooling width in pixels of the image, 0 to `levels`: one number, or a
    map (1 or N, 1, H, W) at the image's resolution. At 0 it is the squared error of the features; where it is larger,
    only the mean and deviation of the features over about 2**log2_sigma pixels count. Maps at a lower resolution than
    the first get a sigma that is smaller in proportion. Raises ValueError when sigma does not fit `levels`.
    """
    if isinstance(log2_sigma, Tensor):
        lowest, highest = (float(bound) for bound in torch.aminmax(log2_sigma))
    else:  # as a loss: nothing is read back from the device
        lowest = highest = float(log2_sigma)
        log2_sigma = torch.full((1, 1, *x[0].shape[2:]), lowest, device=x[0].device)
    if lowest < 0 or highest > levels:
        raise ValueError(f"log2_sigma must lie in 0 to {levels}")
    total = x[0].new_zeros(x[0].shape[0], dtype=torch.float32)
    height, width = log2_sigma.shape[2:]
    with torch.autocast(x[0].device.type, enabled=False):
        for a, b in zip(x, y, strict=True):
            octaves = math.log2(height * width / (a.shape[2] * a.shape[3])) / 2
            sigma = F.interpolate(log2_sigma.float(), a.shape[2:], mode="bilinear", antialias=True) - octaves
            bounds = max(0.0, lowest - octaves), max(0.0, highest - octaves)
            total = total + _one_map(a.float(), b.float(), sigma.clamp_min(0), *bounds)
    return total
