"""Latents without a hyperprior, multiplied by gains of the quality: what `theis2017` and `balle2017` share.

    x --g_a--> u --times gain(q)--> y --round--> y_hat --divided again--> g_s --> x_hat

u is spread alike at every quality, so that one density p(u) for each channel is enough. A unit bin of y is a bin of u
of width 1 / gain: with the parameters of p in units of u,

    P(y) = integral of p(u) over [(y - 1/2) / gain, (y + 1/2) / gain]

The papers train one model for a rate or two; here gains for every quality are trained together, interpolated between
knots (Cui et al. 2021, "Asymmetric gained deep image compression with continuous rate adaptation"). A model file holds
the integer tables of P(y) for a row of qualities (freeze.py).
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...entropy.contract import EntropyModel
from ..contract import Calibration, Network
from ..freeze import MAX_LATENT, freeze_sets
from ..layers import lower_bound
from .strided import to_pixels, to_signal


class FactorizedCodec(Network):
    """A family is a configuration, two transforms, gains with a prior, and how it trains; see the contract for shapes.

    analysis: signal -> u; synthesis: decoded u -> signal. The gains are the only part that heeds the quality.
    """

    def __init__(self, config: Any, analysis: nn.Module, synthesis: nn.Module) -> None:
        super().__init__(config)
        self.analysis, self.synthesis = analysis, synthesis

    @abstractmethod
    def encode_gain(self, quality_step: Tensor) -> Tensor:
        """quality_step int [N] -> what u is multiplied by, [N, M, 1, 1]."""

    @abstractmethod
    def decode_gain(self, quality_step: Tensor) -> Tensor:
        """quality_step int [N] -> what y_hat is multiplied by, [N, M, 1, 1]."""

    @abstractmethod
    def mass(self, y: Tensor, gain: Tensor) -> Tensor:
        """P(y) [N, M, h, w] of y [N, M, h, w] under the encoder's gain [N, M, 1, 1]."""

    def bits(self, y: Tensor, gain: Tensor) -> Tensor:
        return -torch.log2(lower_bound(self.mass(y, gain), 1e-9))

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return self.analysis(to_signal(x)).float() * self.encode_gain(quality_step)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        return y_hat * self.decode_gain(quality_step)

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        return to_pixels(self.synthesis(self.condition(y_hat, quality_step)))

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        return freeze_sets(self._masses_at)

    @torch.no_grad()
    def bits_of(self, calibration: Calibration) -> float:
        gain = self.encode_gain(torch.tensor([calibration.quality_step]))
        return float(self.bits(torch.round(calibration.y), gain).sum())

    @torch.no_grad()
    def _masses_at(self, quality_step: int) -> np.ndarray:
        gain = self.encode_gain(torch.tensor([quality_step]))
        symbols = torch.arange(-MAX_LATENT, MAX_LATENT + 1.0)[None, None, None].expand(1, gain.shape[1], 1, -1)
        return self.mass(symbols, gain)[0, :, 0].double().numpy()
