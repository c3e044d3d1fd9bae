"""Static tables by counting, for latents that were trained without a rate.

A channel's symbols k are counted on calibration images, and what was never seen there must stay possible:

    p(k) = (n_k + W q(k)) / (n + W)

n_k of n symbols were k; q is the Laplacian with the mean and the mean absolute deviation of all n, on unit bins. This
is the mean of p under a Dirichlet prior of weight W around q (additive smoothing, with q for the flat distribution).
"""

import math

import numpy as np
import torch
from torch import Tensor

from .layers import lower_bound

PRIOR_WEIGHT = 32.0  # symbols that q counts for
LEAST_DEVIATION = 0.05  # of symbols: a channel that is always 0 must not forbid all else


@torch.no_grad()
def counted_masses(symbols: Tensor, half_width: int) -> np.ndarray:
    """symbols [M, n], whole numbers -> probabilities of -half_width..half_width, float64 [M, 2 half_width + 1]."""
    grid = torch.arange(-half_width, half_width + 1.0, dtype=torch.float64)
    symbols = symbols.double()
    mean = symbols.mean(1, keepdim=True)
    deviation = (symbols - mean).abs().mean(1, keepdim=True)
    expected = laplacian_mass(grid - mean, deviation)
    inside = (symbols.abs() <= half_width).double()
    places = (symbols.clamp(-half_width, half_width) + half_width).long()
    counts = torch.zeros_like(expected).scatter_add_(1, places, inside)
    return ((counts + PRIOR_WEIGHT * expected) / (symbols.shape[1] + PRIOR_WEIGHT)).numpy()


def laplacian_mass(offset: Tensor, deviation: Tensor) -> Tensor:
    """Mass of a Laplacian of mean absolute deviation b on [offset - 1/2, offset + 1/2], element-wise."""
    scale = deviation.clamp(min=LEAST_DEVIATION)
    near, far = offset.abs() - 0.5, offset.abs() + 0.5
    beyond = 0.5 * torch.exp(-far / scale)
    # The bin that holds the mean reaches to its other side.
    return torch.where(near > 0, 0.5 * torch.exp(-near / scale) - beyond, 1 - 0.5 * torch.exp(near / scale) - beyond)


@torch.no_grad()
def estimated_bits(latents: Tensor, step: Tensor) -> Tensor:
    """About what files of latents [N, M, h, w], rounded to multiples of step [N, 1, 1, 1], would take, [N].

    By a Laplacian for each channel, fitted to the batch: for the log of a training that knows no rate.
    """
    mean = latents.mean((0, 2, 3), keepdim=True)
    deviation = (latents - mean).abs().mean((0, 2, 3), keepdim=True)
    mass = laplacian_mass(torch.round(latents / step) - mean / step, deviation / step)
    return (-torch.log(lower_bound(mass, 1e-9)) / math.log(2)).sum((1, 2, 3))
