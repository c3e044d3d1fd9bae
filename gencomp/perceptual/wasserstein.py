"""Wasserstein distortion between two stacks of features.

Qiu, Wagner, Balle and Theis 2023, "Wasserstein distortion: unifying fidelity and realism"; pooled over dyadic levels
as in Balle et al. 2024, "Good, cheap, and fast: overfitted image compression with Wasserstein distortion", but with
replicated borders, where zeros would let the outside of the image into its statistics.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .pyramids import blur


class Moments(NamedTuple):
    """A feature map's means over windows of about 2**level pixels; from level 1 on deviations too; (N, C, h, w)."""

    mean: Tensor
    deviation: Tensor | None


class Pooled(NamedTuple):
    """The local statistics of an image: by map, by level that any location asks for, its moments, (lowest level first).

    weights: in the same order, how much each location asks for the level, (1 or N, 1, h, w).
    """

    moments: list[list[Moments]]
    weights: list[list[Tensor]]


def wasserstein_distortion(
    x: Sequence[Tensor], y: Sequence[Tensor], log2_sigma: Tensor | float, *, levels: int = 5
) -> Tensor:
    """Wasserstein distortion between two images' feature stacks, (N,), the sum over their maps.

    log2_sigma is the base-2 logarithm of the pooling width in pixels of the image, 0 to `levels`: one number, or a
    map (1 or N, 1, H, W) at the image's resolution. At 0 it is the squared error of the features; where it is larger,
    only the mean and deviation of the features over about 2**log2_sigma pixels count. Maps at a lower resolution than
    the first get a sigma that is smaller in proportion. Raises ValueError when sigma does not fit `levels`.
    """
    return pooled_distance(pooled(x, log2_sigma, levels=levels), pooled(y, log2_sigma, levels=levels))


def pooled(stack: Sequence[Tensor], log2_sigma: Tensor | float, *, levels: int = 5) -> Pooled:
    """The statistics of one image's feature stack that `wasserstein_distortion` compares, for images with many others
    to be compared with. Arguments and errors as there."""
    if isinstance(log2_sigma, Tensor):
        lowest, highest = (float(bound) for bound in torch.aminmax(log2_sigma))
    else:  # as a loss: nothing is read back from the device
        lowest = highest = float(log2_sigma)
        log2_sigma = torch.full((1, 1, *stack[0].shape[2:]), lowest, device=stack[0].device)
    if lowest < 0 or highest > levels:
        raise ValueError(f"log2_sigma must lie in 0 to {levels}")
    height, width = log2_sigma.shape[2:]
    found = Pooled([], [])
    with torch.autocast(stack[0].device.type, enabled=False):
        for features in stack:
            octaves = math.log2(height * width / (features.shape[2] * features.shape[3])) / 2
            sigma = F.interpolate(log2_sigma.float(), features.shape[2:], mode="bilinear", antialias=True) - octaves
            bounds = max(0.0, lowest - octaves), max(0.0, highest - octaves)
            moments, weights = _pooled_map(features.float(), sigma.clamp_min(0), *bounds)
            found.moments.append(moments)
            found.weights.append(weights)
    return found


def pooled_distance(x: Pooled, y: Pooled) -> Tensor:
    """Wasserstein distortion from the statistics of two images, (N,)."""
    total = x.weights[0][0].new_zeros(x.moments[0][0].mean.shape[0])
    for of_map in zip(x.moments, y.moments, x.weights, strict=True):
        total = total + _distance_of_maps(*of_map)
    return total


def _distance_of_maps(x: list[Moments], y: list[Moments], weights: list[Tensor]) -> Tensor:
    total = weights[0].new_zeros(x[0].mean.shape[0])
    for a, b, weight in zip(x, y, weights, strict=True):
        distance = (a.mean - b.mean).square()
        if a.deviation is not None and b.deviation is not None:
            distance = distance + (a.deviation - b.deviation).square()
        total = total + (weight * distance).mean((1, 2, 3))
    return total


def _pooled_map(x: Tensor, log2_sigma: Tensor, lowest: float, highest: float) -> tuple[list[Moments], list[Tensor]]:
    """Moments and weights of one feature map (N, C, h, w); log2_sigma (1 or N, 1, h, w) has values from lowest to
    highest. Level 0 is the features themselves; levels that no location asks for are only passed through."""
    if lowest == highest >= 1 and highest.is_integer():  # the one level by products of matrices: a quarter of the time
        rows, columns = (_window(length, int(highest), x.device) for length in x.shape[2:])
        mean, square = (rows @ (m @ columns.T) for m in (x, x.square()))
        return [Moments(mean, _deviation(mean, square))], [mean.new_ones(1, 1, *mean.shape[2:])]
    moments, weights = [], []
    mean, square = x, x.square()
    for level in range(math.ceil(highest) + 1):
        wanted = lowest - 1 < level
        if level:
            mean, square = (blur(m, stride=1 if wanted else 2) for m in (mean, square))
        if wanted:
            moments.append(Moments(mean, _deviation(mean, square) if level else None))
            # Between two levels the weights are linear in log sigma.
            weights.append((1 - (log2_sigma - level).abs()).clamp_min(0))
        if level:
            log2_sigma = blur(log2_sigma, stride=2)
            if wanted:
                mean, square = mean[..., ::2, ::2], square[..., ::2, ::2]
    return moments, weights


@lru_cache(maxsize=64)
def _window(length: int, level: int, device: torch.device) -> Tensor:
    """The blurs from the features up to a level along an axis as a matrix, [about length / 2**(level - 1), length]."""
    with torch.inference_mode(False):  # kept, and wanted where gradients are
        basis = torch.eye(length, dtype=torch.float32, device=device)[None, :, :, None]
        for above in range(1, level + 1):
            basis = blur(basis, stride=1 if above == level else 2)
    return basis[0, ..., 0].T.contiguous()


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    """Standard deviation from first and second moment; the small constant bounds its gradient."""
    return torch.sqrt((square - mean.square()).clamp_min(0) + 1e-8)
