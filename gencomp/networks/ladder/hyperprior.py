"""A codec with a hyperprior in one pass (one_pass.py), but for its transforms: what several families share.

    x --g_a--> y --gains--> --h_a--> z --round--> z_hat --h_s--> mean, scale --> y_hat --gains--> g_s --> x_hat

The papers train one model for each rate. Here one model has all rates: each latent channel is multiplied by a gain
before rounding and by another after it, interpolated between knots of the quality (Cui et al. 2021, "Asymmetric gained
deep image compression with continuous rate adaptation"). z sees the multiplied latents, and so the quality. The
synthesis sees rounded latents in training (Minnen and Singh 2020), where the papers give it noise.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..convert import with_zero_means
from ..one_pass import OnePassCodec, OnePassPrior
from ..priors import FactorisedPrior
from ..transforms import LatentGains, quality_condition
from .strided import to_pixels, to_signal


class ConvolutionalPrior(OnePassPrior):
    """analysis: h_a. synthesis: h_s, to M means and M scales, or with zero_mean M scales; of convolutions, ReLU and
    pixel shuffles alone, which `networks.convert` turns into integers."""

    def __init__(
        self, analysis: nn.Sequential, synthesis: nn.Sequential, hyper_channels: int, *, zero_mean: bool = False
    ) -> None:
        super().__init__()
        self.analysis, self.synthesis, self.zero_mean = analysis, synthesis, zero_mean
        self.factorised = FactorisedPrior(hyper_channels)
        bias = synthesis[-1].bias
        assert isinstance(bias, Tensor)
        nn.init.ones_(bias if zero_mean else bias[len(bias) // 2 :])  # scales start near 1

    def h_a(self, y: Tensor) -> Tensor:
        return self.analysis(y)

    def h_s(self, z_hat: Tensor) -> Tensor:
        both = self.synthesis(z_hat)
        return torch.cat([torch.zeros_like(both), both], 1) if self.zero_mean else both

    def integer_form(self) -> nn.Sequential:
        return with_zero_means(self.synthesis) if self.zero_mean else self.synthesis


class GainedCodec(OnePassCodec):
    """A family is a configuration, two transforms, a prior and the transforms' halo; see the contract for shapes.

    analysis: signal -> y; synthesis: y_hat -> signal (strided.py). The gains are the only part that heeds the quality.
    """

    def __init__(self, config: Any, analysis: nn.Module, prior: OnePassPrior, synthesis: nn.Module) -> None:
        super().__init__(config)
        self.analysis, self.prior, self.synthesis = analysis, prior, synthesis
        self.gains = LatentGains(config.latent_channels)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return self.gains.encode(self.analysis(to_signal(x)).float(), quality_condition(quality_step))

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        return self.gains.decode(y_hat, quality_condition(quality_step))

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        return to_pixels(self.synthesis(self.condition(y_hat, quality_step)))
