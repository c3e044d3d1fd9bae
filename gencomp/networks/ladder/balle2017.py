"""The family `balle2017`: Balle, Laparra and Simoncelli 2017, "End-to-end optimized image compression".

    min  E [-log2 p(y~)] + lambda E |x - g_s(y~)|^2,   y~ = g_a(x) + noise, uniform in -1/2..1/2          (eq. 9, 10)

Rounding has no gradient. The paper adds noise of the same spread instead, in training alone: the density of y~ is then
that of y convolved with a unit box, which passes through the probabilities of the rounded y (figure 3), and the loss is
that of a variational autoencoder whose posterior is the box. Divisive normalisation makes the channels nearly
independent, as the factorised density supposes.

Kept: g_a of convolutions 9 x 9 with stride 4, 5 x 5 with stride 2 and 5 x 5 with stride 2, each followed by GDN, g_s
its mirror image with IGDN before each convolution; noise for the rate and for the synthesis; R + lambda D with the
mean squared error; one density for each channel, learned with the rest.
Differs: narrower (the paper has 128 or 256 channels); gains for all rates in one model (factorized.py); p(u) is a
mixture of three logistics where the paper has splines; gamma of GDN need not be symmetric; one learning rate for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contract import Halo, NetworkConfig, Quantized, TrainingInputs
from ..layers import lower_bound
from ..priors import FactorisedPrior
from ..transforms import LatentGains, quality_condition
from .factorized import FactorizedCodec
from .strided import Kernel, analysis_reach, down, synthesis_reach, up

KERNELS = (Kernel(9, 4), Kernel(5, 2), Kernel(5, 2))
PEDESTAL = 2.0**-18  # squared: added before the root and taken off after the square
BETA_MIN = 1e-6


@dataclass(frozen=True)
class Balle2017Config(NetworkConfig):
    """Channels of every layer and of the latents: the paper has one number for both, too."""

    family: ClassVar[str] = "balle2017"
    latent_channels: int = 96


class Gdn(nn.Module):
    """Generalised divisive normalisation (Balle, Laparra and Simoncelli 2016, "Density modeling of images using a
    generalized normalization transformation"), in the form of the paper (eq. 1): x [N, C, H, W] -> the same shape.

        GDN    y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)
        IGDN   y_i = x_i * sqrt(beta_i + sum_j gamma_ij x_j^2)        its approximate inverse, for the synthesis

    at each position alone. beta > 0 and gamma >= 0 are squares of what is trained, minus a small pedestal, so that a
    gradient step near zero is small, and a value at zero can leave it again (Balle 2018, "Efficient nonlinear
    transforms", section 3). Starts at beta = 1, gamma = 0.1 on the diagonal.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter((0.1 * torch.eye(channels) + PEDESTAL**2).sqrt()[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """In the weights' precision within, as squares of half-precision activations lose what the root needs."""
        beta = lower_bound(self.beta, (BETA_MIN + PEDESTAL**2) ** 0.5).square() - PEDESTAL**2
        gamma = lower_bound(self.gamma, PEDESTAL).square() - PEDESTAL**2
        device = "cpu" if x.is_meta else x.device.type  # where networks are only counted there is no autocast
        with torch.autocast(device, enabled=False):
            wide = x.to(gamma.dtype)
            norm = F.conv2d(wide.square(), gamma, beta)
            return (wide * (norm.sqrt() if self.inverse else norm.rsqrt())).to(x.dtype)


def gdn_analysis(channels: Sequence[int], kernels: Sequence[Kernel]) -> list[nn.Module]:
    """Strided convolutions through all numbers of channels, GDN after each."""
    steps = zip(pairwise(channels), kernels)
    return [layer for (i, o), kernel in steps for layer in (down(i, o, kernel, rectified=False), Gdn(o))]


def gdn_synthesis(channels: Sequence[int], kernels: Sequence[Kernel]) -> list[nn.Module]:
    """The reverse: IGDN before each transposed convolution."""
    steps = zip(pairwise(channels), kernels)
    return [layer for (i, o), kernel in steps for layer in (Gdn(i, inverse=True), up(i, o, kernel, rectified=False))]


class Balle2017Network(FactorizedCodec):
    def __init__(self, config: Balle2017Config) -> None:
        width = config.latent_channels
        channels = (3, width, width, width)
        analysis, synthesis = gdn_analysis(channels, KERNELS), gdn_synthesis(channels[::-1], KERNELS[::-1])
        super().__init__(config, nn.Sequential(*analysis), nn.Sequential(*synthesis))
        self.gains, self.prior = LatentGains(width), FactorisedPrior(width)
        with torch.no_grad():  # as wide as what GDN gives: a wider density would charge empty channels for long
            self.prior.mean.mul_(0.5)
            self.prior.log_scale.fill_(-1.0)

    @property
    def halo(self) -> Halo:
        """GDN sees its own position alone."""
        return Halo(analysis_reach(KERNELS), synthesis_reach(KERNELS[::-1]))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Noise for both the rate and the synthesis; without noise, rounding."""
        y, gain = self.analyze(inputs.x, inputs.quality_step), self.encode_gain(inputs.quality_step)
        rounded = self.bits(torch.round(y), gain).sum((1, 2, 3))
        if not inputs.noise:
            return Quantized(torch.round(y), {"y": rounded})
        noisy = y + inputs.noise["y"]
        return Quantized(noisy, {"y": self.bits(noisy, gain).sum((1, 2, 3))}, {"y": rounded.detach()})

    def encode_gain(self, quality_step: Tensor) -> Tensor:
        return self.gains.encode(self.gains.log_encode.new_ones(1, 1, 1, 1), quality_condition(quality_step))

    def decode_gain(self, quality_step: Tensor) -> Tensor:
        return self.gains.decode(self.gains.log_encode.new_ones(1, 1, 1, 1), quality_condition(quality_step))

    def mass(self, y: Tensor, gain: Tensor) -> Tensor:
        return self.prior.mass(y, gain)

    def entropy_modules(self) -> Sequence[nn.Module]:
        """The prior and the gains, of which bits take those of the encoder."""
        return [self.prior, self.gains]
