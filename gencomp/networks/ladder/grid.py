"""A uniform grid for latents that were trained without rounding: the quality chooses its step afterwards."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...bitstream import STEPS
from ...entropy.contract import EntropyModel
from ..contract import Calibration
from ..freeze import freeze_counts


class Grid(NamedTuple):
    """Steps D(q) at quality steps 0 and STEPS, evenly spaced in their logarithm between."""

    coarsest: float
    finest: float

    def step(self, quality_step: Tensor) -> Tensor:
        """quality_step int [N] -> D [N, 1, 1, 1]."""
        fall = math.log(self.finest / self.coarsest) / STEPS
        return (self.coarsest * torch.exp(quality_step.float() * fall))[:, None, None, None]

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """Tables by counting latents that were divided by D(q): every image serves every quality that has a set."""
        latents = [image.y * self.step(torch.tensor([image.quality_step])) for image in calibration]
        together = torch.cat([y[0].flatten(1) for y in latents], 1)
        return freeze_counts(lambda quality_step: torch.round(together / self.step(torch.tensor([quality_step]))[0, 0]))
