"""The family `minnen2018`: mean and scale from the hyperprior (Minnen, Balle and Toderici 2018, "Joint autoregressive
and hierarchical priors for learned image compression").

    x --g_a--> y --gains--> y' --h_a--> z --round--> z_hat --h_s--> mu, sigma;  y'_hat = mu + round(y' - mu)

Kept: the transforms of Balle et al. 2018, an h_a that sees y with its signs, an h_s of widths M, 3 M / 2 and 2 M
(table 1), Gaussians of the mean and scale predicted (eq. 2 and 3, with phi alone).
Differs: without the context model, whose serial decoding the authors later gave up themselves (Minnen and Singh 2020);
ReLU for leaky ReLU in h_s, which integers decide bits with; narrower (the paper has N = 192); and as balle2018.py says.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from .balle2018 import HALVE, Balle2018Config, GdnCodec
from .hyperprior import ConvolutionalPrior
from .strided import down, up


@dataclass(frozen=True)
class Minnen2018Config(Balle2018Config):
    """The paper's N and M."""

    family: ClassVar[str] = "minnen2018"


def mean_scale_prior(width: int, latents: int) -> ConvolutionalPrior:
    """h_a and h_s for latents of M channels, N channels of z."""
    wide = 3 * latents // 2
    first = nn.Conv2d(latents, width, 3, padding=1)
    h_a = [first, nn.LeakyReLU(0.01), down(width, width, HALVE), nn.LeakyReLU(0.01), down(width, width, HALVE)]
    last = nn.Conv2d(wide, 2 * latents, 3, padding=1)
    h_s = [up(width, latents, HALVE), nn.ReLU(), up(latents, wide, HALVE), nn.ReLU(), last]
    return ConvolutionalPrior(nn.Sequential(*h_a), nn.Sequential(*h_s), width)


class Minnen2018Network(GdnCodec):
    def __init__(self, config: Minnen2018Config) -> None:
        super().__init__(config, mean_scale_prior(config.width, config.latent_channels))
