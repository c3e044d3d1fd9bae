"""The family `balle2018`: a scale hyperprior (Balle, Minnen, Singh, Hwang and Johnston 2018, "Variational image
compression with a scale hyperprior").

    x --g_a--> y --gains--> y' --h_a, |.|--> z --round--> z_hat --h_s--> sigma;  y'_hat = round(y') ~ N(0, sigma^2)

Kept: g_a and g_s of four 5x5 convolutions of stride 2 with GDN and IGDN between them (figure 4), h_a of |y| with one
3x3 and two 5x5 convolutions of stride 2, h_s its mirror image, Gaussians of mean zero convolved with a unit uniform
(eq. 7 and appendix 6.2), R + lambda D (eq. 10).
Differs: narrower (the paper has N = 128, M = 192 or N = 192, M = 320); gains for all rates in one model, and rounded
latents for the synthesis in training (see hyperprior.py); p(z) is a mixture of logistics, not the paper's chain of
small layers (6.1); the last ReLU of h_s is the lower bound of the scale.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ..contract import Halo, NetworkConfig
from .balle2017 import gdn_analysis, gdn_synthesis
from .hyperprior import ConvolutionalPrior, GainedCodec
from .strided import Kernel, analysis_reach, down, synthesis_reach, up

HALVE = Kernel(5, 2)  # of every strided convolution here
KERNELS = (HALVE,) * 4


@dataclass(frozen=True)
class Balle2018Config(NetworkConfig):
    """The paper's N and M."""

    family: ClassVar[str] = "balle2018"
    width: int = 64  # N, of the transforms and of z
    latent_channels: int = 96  # M

    @property
    def hyper_channels(self) -> int:
        return self.width


class Magnitude(nn.Module):
    """|x|: scales do not depend on signs."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


def g_a(width: int, latents: int) -> nn.Sequential:
    """[N, 3, 16 h, 16 w] -> [N, M, h, w]."""
    return nn.Sequential(*gdn_analysis((3, width, width, width, latents), KERNELS)[:-1])


def g_s(width: int, latents: int) -> nn.Sequential:
    """[N, M, h, w] -> [N, 3, 16 h, 16 w]."""
    return nn.Sequential(*gdn_synthesis((latents, width, width, width, 3), KERNELS)[1:])


class GdnCodec(GainedCodec):
    """The paper's transforms with one prior or another."""

    def __init__(self, config: Any, prior: ConvolutionalPrior) -> None:
        width, latents = config.width, config.latent_channels
        super().__init__(config, g_a(width, latents), prior, g_s(width, latents))

    @property
    def halo(self) -> Halo:
        return Halo(analysis_reach(KERNELS), synthesis_reach(KERNELS))


class Balle2018Network(GdnCodec):
    def __init__(self, config: Balle2018Config) -> None:
        width, latents = config.width, config.latent_channels
        h_a = [nn.Conv2d(latents, width, 3, padding=1), nn.ReLU()]
        h_a += [down(width, width, HALVE), nn.ReLU(), down(width, width, HALVE)]
        h_s = [up(width, width, HALVE), nn.ReLU(), up(width, width, HALVE), nn.ReLU()]
        h_s += [nn.Conv2d(width, latents, 3, padding=1)]
        prior = ConvolutionalPrior(nn.Sequential(Magnitude(), *h_a), nn.Sequential(*h_s), width, zero_mean=True)
        super().__init__(config, prior)
