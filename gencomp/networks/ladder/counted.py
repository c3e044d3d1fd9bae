"""Codecs that were trained without a rate: a uniform grid and static tables by counting, once training is over.

The quality chooses the step D(q) of the grid. A channel's symbols k are counted on calibration images, and what was
never seen there must stay possible:

    p(k) = (n_k + W q(k)) / (n + W)

n_k of n symbols were k; q is the Laplacian with the mean and the mean absolute deviation of all n, on unit bins. This
is the mean of p under a Dirichlet prior of weight W around q (additive smoothing, with q for the flat distribution).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...bitstream import STEPS
from ...entropy.contract import EntropyModel
from ..contract import Calibration, Halo, Network
from ..freeze import MAX_LATENT, freeze_sets
from ..layers import lower_bound
from .strided import Kernel, analysis_reach, synthesis_reach, to_pixels, to_signal

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


class Grid(NamedTuple):
    """Steps D(q) at quality steps 0 and STEPS, evenly spaced in their logarithm between."""

    coarsest: float
    finest: float

    def step(self, quality_step: Tensor) -> Tensor:
        """quality_step int [N] -> D [N, 1, 1, 1]."""
        fall = math.log(self.finest / self.coarsest) / STEPS
        return (self.coarsest * torch.exp(quality_step.float() * fall))[:, None, None, None]


class CountedCodec(Network):
    """A family is a configuration, `kernels`, `grid`, two transforms and how it trains; see the contract for shapes.

    analysis: signal -> f(x); synthesis: f(x) -> signal (strided.py); y is f(x) / D(q).
    """

    kernels: Sequence[Kernel]
    grid: Grid
    analysis: nn.Module
    synthesis: nn.Module

    @property
    def halo(self) -> Halo:
        return Halo(analysis_reach(self.kernels), synthesis_reach(self.kernels))

    def latents(self, x: Tensor) -> Tensor:
        """f(x): x [N, 3, H, W] in 0..1 -> [N, M, h, w] float32."""
        return self.analysis(to_signal(x)).float()

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return self.latents(x) / self.grid.step(quality_step)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        return y_hat * self.grid.step(quality_step)

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        return to_pixels(self.synthesis(self.condition(y_hat, quality_step)))

    def entropy_modules(self) -> Sequence[nn.Module]:
        """f, whose latents were counted."""
        return [self.analysis]

    @torch.no_grad()
    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """Tables by counting latents that were divided by D(q): every image serves every quality that has a set."""
        latents = [image.y * self.grid.step(torch.tensor([image.quality_step])) for image in calibration]
        together = torch.cat([y[0].flatten(1) for y in latents], 1)

        def masses_at(quality_step: int) -> np.ndarray:
            step = self.grid.step(torch.tensor([quality_step]))[0, 0]
            return counted_masses(torch.round(together / step), MAX_LATENT)

        return freeze_sets(masses_at)
