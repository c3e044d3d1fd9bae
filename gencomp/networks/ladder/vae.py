"""The family `vae`: a variational autoencoder (Kingma and Welling 2014, "Auto-encoding variational Bayes").

    q(u | x) = N(m(x), s(x)^2),  p(u) = N(0, 1),  u = m + s e with e ~ N(0, 1)               (reparameterisation)
    min  E_q [lambda |x - g(u)|^2] + KL(q | p),   KL = sum (m^2 + s^2 - 1 - log s^2) / 2      (eq. 10 there, in bits)

One lambda for each run, that is one beta = 1 / lambda of a beta-VAE (Higgins et al. 2017): `lambda_min` and
`lambda_max` of the recipe are equal. The networks are the autoencoder's; the encoder has a second output, the log of s.

The KL divergence is the rate that bits-back coding reaches over many images (Hinton and van Camp 1993). A single file
cannot have it: it holds rounded means instead, on a grid that the posterior's width sets, since digits of m far below s
are noise to g (Yang, Bamler and Mandt 2020, "Variational Bayesian quantization", who let the posterior's width choose
the digits and take every rate from one trained model, as here):

    D_c(q) = sqrt(12) w_c t(q),   r = round(m / D)

A rounding error on steps of sqrt(12) w has the standard deviation w of the noise in training, at t = 1; the quality
scales t, from 3 at quality 1 to 1/3 at quality 100. The decoder must know w, and so it belongs to a channel, not an
image: log s(x) = log w_c + d_c(x), where d is what the encoder says, less its mean over the batch, and w is a
parameter. (Yang et al. place digits by each latent's own s, which asks for another coder.) A channel that the KL term
has switched off has w near 1 and rounds to 0 for nothing. The tables are counted on calibration images (counted.py).

`draw_prior` draws u from N(0, 1): g then shows what the model takes for images. In the training log `psnr` is that of
noisy latents, `bpp` an estimate of what rounded means take at each sample's quality; the loss has the KL divergence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..contract import NetworkConfig, Quantized, TrainingInputs
from .counted import CountedCodec, Grid, estimated_bits
from .strided import Kernel, convolutions, to_signal, transposed_convolutions

FIRST_WIDTH = 0.2  # of the posterior, before training
NORMAL = 0.4999999  # uniform noise is cut to -NORMAL..NORMAL: 5.2 standard deviations


@dataclass(frozen=True)
class VaeConfig(NetworkConfig):
    """Channels at 1/2, 1/4 and 1/8 of the image's sides, and of the latents. The noise is the posterior's, uniform as
    all noise comes."""

    family: ClassVar[str] = "vae"
    latent_channels: int = 48
    widths: tuple[int, int, int] = (32, 64, 96)


class Posterior(nn.Module):
    """q(u | x): x [N, 3, H, W] -> mean and log of the standard deviation, each [N, M, H / 16, W / 16]."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.layers = convolutions((3, *config.widths, 2 * config.latent_channels), VaeNetwork.kernels)
        self.log_width = nn.Parameter(torch.full((config.latent_channels, 1, 1), math.log(FIRST_WIDTH)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The second is centred on `log_width` over the batch."""
        mean, deviation = self.layers(to_signal(x)).float().chunk(2, dim=1)
        return mean, self.log_width + deviation - deviation.mean((0, 2, 3), keepdim=True)


class VaeNetwork(CountedCodec):
    """y is m / D(q)."""

    has_prior = True
    kernels = (Kernel(5, 2),) * 4
    grid = Grid(3 * math.sqrt(12), math.sqrt(12) / 3)  # in widths of the posterior: beyond, g gets worse or no better

    def __init__(self, config: VaeConfig) -> None:
        super().__init__(config)
        self.posterior = Posterior(config)
        self.synthesis = transposed_convolutions((config.latent_channels, *config.widths[::-1], 3), self.kernels)

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """A sample of the posterior with its KL divergence; without noise, rounded means with their bits."""
        mean, log_deviation = self.posterior(inputs.x)
        width, step = torch.exp(self.posterior.log_width), self.grid.step(inputs.quality_step)
        file_bits = {"y": estimated_bits(mean / width, step)}
        if not inputs.noise:
            return Quantized(torch.round(mean / (width * step)), file_bits)
        sampled = mean + torch.exp(log_deviation) * to_normal(inputs.noise["y"])
        return Quantized(sampled / (width * step), {"y": kl_bits(mean, log_deviation)}, file_bits)

    def latents(self, x: Tensor) -> Tensor:
        """The mean in widths of its channel."""
        mean, _ = self.posterior.layers(to_signal(x)).float().chunk(2, dim=1)
        return mean * torch.exp(-self.posterior.log_width)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        return y_hat * (self.grid.step(quality_step) * torch.exp(self.posterior.log_width))

    def draw_prior(self, height: int, width: int, quality_step: Tensor, generator: torch.Generator) -> Tensor:
        """u of N(0, 1), in units of y."""
        u = torch.randn(1, self.config.latent_channels, height, width, generator=generator)
        return u.to(quality_step.device) / (self.grid.step(quality_step) * torch.exp(self.posterior.log_width.detach()))

    def entropy_modules(self) -> Sequence[nn.Module]:
        """The posterior, whose means were counted."""
        return [self.posterior]


def kl_bits(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """KL divergence of N(mean, deviation^2) from N(0, 1), each [N, M, h, w], summed over all but the batch, [N]."""
    nats = 0.5 * (mean.square() + torch.exp(2 * log_deviation) - 1) - log_deviation
    return nats.sum((1, 2, 3)) / math.log(2)


def to_normal(noise: Tensor) -> Tensor:
    """Uniform noise in -1/2..1/2 -> normal noise: the inverse of its distribution function, any shape."""
    return math.sqrt(2) * torch.erfinv(2 * noise.clamp(-NORMAL, NORMAL))
