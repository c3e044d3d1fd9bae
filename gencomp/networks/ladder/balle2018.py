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

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, ClassVar

from torch import Tensor, nn

from ..contract import Halo
from .gdn import Gdn
from .hyperprior import GainedCodec, OnePassPrior, noise_shapes
from .strided import Kernel, analysis_reach, down, synthesis_reach, up

HALVE = Kernel(5, 2)  # of every strided convolution here


@dataclass(frozen=True)
class Balle2018Config:
    """The paper's N and M."""

    family: ClassVar[str] = "balle2018"
    width: int = 64  # N, of the transforms and of z
    latent_channels: int = 96  # M

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the quantisation noise of y and z for a crop of crop x crop pixels."""
        return noise_shapes(crop, self.latent_channels, self.width)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Balle2018Config":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        return cls(**values)


class Magnitude(nn.Module):
    """|x|: scales do not depend on signs."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.abs()


def gdn_analysis(width: int, latents: int) -> nn.Sequential:
    """g_a: [N, 3, 16 h, 16 w] -> [N, M, h, w]."""
    stages = [(down(inputs, width, HALVE, rectified=False), Gdn(width)) for inputs in (3, width, width)]
    return nn.Sequential(*chain(*stages), down(width, latents, HALVE, rectified=False))


def gdn_synthesis(width: int, latents: int) -> nn.Sequential:
    """g_s: [N, M, h, w] -> [N, 3, 16 h, 16 w]."""
    channels = (latents, width, width)
    stages = [(up(inputs, width, HALVE, rectified=False), Gdn(width, inverse=True)) for inputs in channels]
    return nn.Sequential(*chain(*stages), up(width, 3, HALVE, rectified=False))


class GdnCodec(GainedCodec):
    """The paper's transforms with one prior or another."""

    def __init__(self, config: Any, prior: OnePassPrior) -> None:
        transforms = [make(config.width, config.latent_channels) for make in (gdn_analysis, gdn_synthesis)]
        super().__init__(config, transforms[0], prior, transforms[1])

    @property
    def halo(self) -> Halo:
        """From the kernels."""
        return Halo(analysis_reach([HALVE] * 4), synthesis_reach([HALVE] * 4))


class Balle2018Network(GdnCodec):
    """The transforms with a scale hyperprior."""

    def __init__(self, config: Balle2018Config) -> None:
        width, latents = config.width, config.latent_channels
        h_a = [nn.Conv2d(latents, width, 3, padding=1), nn.ReLU()]
        h_a += [down(width, width, HALVE), nn.ReLU(), down(width, width, HALVE)]
        h_s = [up(width, width, HALVE), nn.ReLU(), up(width, width, HALVE), nn.ReLU()]
        h_s += [nn.Conv2d(width, latents, 3, padding=1)]
        prior = OnePassPrior(nn.Sequential(Magnitude(), *h_a), nn.Sequential(*h_s), width, zero_mean=True)
        super().__init__(config, prior)
