"""The family `theis2017`: Theis, Shi, Cunningham and Huszar 2017, "Lossy image compression with compressive
autoencoders".

    y = f(x) * a,   y_hat = round(y),   x_hat = g(y_hat / a)
    min  E [-log2 q(y_hat + noise)] + lambda E |x - x_hat|^2,   q(y_k) = sum_s pi_ks N(y_k; 0, sigma_ks^2)

Rounding stays in the training: its gradient is taken to be 1, and the decoder learns to live with true rounding. The
rate is a density at y_hat + noise, uniform in -1/2..1/2, whose mean is at least the bits of y_hat (Jensen's inequality
on the integral of q over the bin). The density of each channel is a mixture of six Gaussians of mean zero, a Gaussian
scale mixture, as latents have heavy tails. One network has several rates: scale parameters a, one a channel for each
rate, before rounding and undone after it.

Kept: all of that; an encoder of two strided 5 x 5 convolutions, three residual blocks at 1/4 of the sides and a third
strided convolution, leaky rectifiers; a decoder that mirrors it with sub-pixel convolutions of 3 x 3 (Shi et al. 2016).
Differs: narrower (the paper has 64, 128 and 96 channels); zeros where the paper mirrors the image beyond its edges; no
clipping in training; scales of all rates are trained from the start, interpolated between knots of the quality, where
the paper fine-tunes them for each rate after training at one; no coefficients are masked in the beginning. Latents lie
at 1/8 of the sides as in the paper; the file has them at 1/16, each channel as the four of its phases, which share
density and scale.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...entropy.constants import KNOTS
from ..contract import Halo, NetworkConfig, Quantized, TrainingInputs
from ..layers import lower_bound, round_straight_through
from ..transforms import quality_condition
from .factorized import FactorizedCodec
from .strided import Kernel, analysis_reach, down, scale_kept, synthesis_reach

HALVE, FLAT, SHUFFLE = Kernel(5, 2), Kernel(3, 1), Kernel(1, 2)
BLOCKS = 3
PHASES = 4  # latents at 1/8 for each at 1/16
SCALES = 6  # Gaussians of a mixture
LEAST_LOG_SCALE = -5.0


@dataclass(frozen=True)
class Theis2017Config(NetworkConfig):
    """Channels at 1/2 and 1/4 of the image's sides, and of the latents: at 1/16, four times those at 1/8."""

    family: ClassVar[str] = "theis2017"
    latent_channels: int = 96
    widths: tuple[int, int] = (32, 48)


class Residual(nn.Module):
    """x + conv(lrelu(conv(x))), 3 x 3; begins as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        scale_kept(self.first, 9 * channels)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(x), 0.01))


def sub_pixel(inputs: int, outputs: int) -> nn.Sequential:
    """[N, I, h, w] -> [N, O, 2 h, 2 w]: the convolution is at the small size."""
    conv = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)
    scale_kept(conv, 9 * inputs)
    return nn.Sequential(conv, nn.PixelShuffle(2))


def encoder(config: Theis2017Config) -> nn.Sequential:
    """f: [N, 3, 16 h, 16 w] -> [N, M, h, w]."""
    fine, coarse = config.widths
    first = [down(3, fine, HALVE), nn.LeakyReLU(0.01), down(fine, coarse, HALVE), nn.LeakyReLU(0.01)]
    blocks = [Residual(coarse) for _ in range(BLOCKS)]
    return nn.Sequential(*first, *blocks, down(coarse, config.latent_channels // PHASES, HALVE), nn.PixelUnshuffle(2))


def decoder(config: Theis2017Config) -> nn.Sequential:
    """g: [N, M, h, w] -> [N, 3, 16 h, 16 w]."""
    fine, coarse = config.widths
    first = [nn.PixelShuffle(2), sub_pixel(config.latent_channels // PHASES, coarse)]
    blocks = [Residual(coarse) for _ in range(BLOCKS)]
    return nn.Sequential(*first, *blocks, sub_pixel(coarse, fine), nn.LeakyReLU(0.01), sub_pixel(fine, 3))


def for_phases(values: Tensor) -> Tensor:
    """Values of channels at 1/8 [K, C] for their phases at 1/16 [K, PHASES C], in the order of a pixel unshuffle."""
    return values[:, :, None].expand(-1, -1, PHASES).flatten(1)


class ScaleParameters(nn.Module):
    """a: a scale for each channel and quality, log-linear between knots."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.linspace(-1.1, 1.1, KNOTS)[:, None].repeat(1, channels))

    def forward(self, quality_step: Tensor) -> Tensor:
        """quality_step int [N] -> [N, PHASES C, 1, 1]."""
        log_scale = quality_condition(quality_step).to(self.log_scale.dtype) @ self.log_scale
        return torch.exp(for_phases(log_scale))[:, :, None, None]


class GaussianScaleMixture(nn.Module):
    """q(u) of each channel: SCALES Gaussians of mean zero, alike in all phases. y and gain have the phases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SCALES, channels))
        spread = torch.linspace(math.log(0.05), math.log(3), SCALES)[:, None]
        self.log_scale = nn.Parameter(spread.repeat(1, channels))

    def density(self, y: Tensor, gain: Tensor) -> Tensor:
        """Of y = gain u, at y [N, C, H, W]; gain [N, C, 1, 1]."""
        sigma = self._sigma(gain)
        normal = torch.exp(-0.5 * (y[:, None] / sigma).square()) / (sigma * math.sqrt(2 * math.pi))
        return (self._weights() * normal).sum(1)

    def mass(self, y: Tensor, gain: Tensor) -> Tensor:
        """Of [y - 1/2, y + 1/2], at the mirrored side for accuracy."""
        inverse, distance = 1 / (self._sigma(gain) * math.sqrt(2)), y.abs()[:, None]
        inside = torch.erfc((distance - 0.5) * inverse) - torch.erfc((distance + 0.5) * inverse)
        return (self._weights() * 0.5 * inside).sum(1)

    def _sigma(self, gain: Tensor) -> Tensor:
        """[N, SCALES, C, 1, 1]."""
        log_scale = for_phases(lower_bound(self.log_scale, LEAST_LOG_SCALE))
        return torch.exp(log_scale)[:, :, None, None] * gain[:, None]

    def _weights(self) -> Tensor:
        """[SCALES, C, 1, 1], of sum 1."""
        return for_phases(torch.softmax(self.weight, 0))[:, :, None, None]


class Theis2017Network(FactorizedCodec):
    def __init__(self, config: Theis2017Config) -> None:
        if config.latent_channels % PHASES:
            raise ValueError(f"{config.latent_channels} latent channels are no multiple of {PHASES}")
        super().__init__(config, encoder(config), decoder(config))
        own = config.latent_channels // PHASES
        self.scales, self.prior = ScaleParameters(own), GaussianScaleMixture(own)

    @property
    def halo(self) -> Halo:
        residual = [FLAT] * (2 * BLOCKS)
        upwards = [SHUFFLE, FLAT, SHUFFLE, *residual, FLAT, SHUFFLE, FLAT, SHUFFLE]
        return Halo(analysis_reach([HALVE, HALVE, *residual, HALVE, SHUFFLE]), synthesis_reach(upwards))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """True rounding for the synthesis, the density at noise for the rate; without noise, bits of rounding."""
        y, gain = self.analyze(inputs.x, inputs.quality_step), self.encode_gain(inputs.quality_step)
        y_hat = round_straight_through(y)
        if not inputs.noise:
            return Quantized(y_hat, {"y": self.bits(y_hat, gain).sum((1, 2, 3))})
        with torch.no_grad():
            rounded = self.bits(y_hat, gain).sum((1, 2, 3))
        density = self.prior.density(y_hat + inputs.noise["y"], gain)
        return Quantized(y_hat, {"y": -torch.log2(lower_bound(density, 1e-9)).sum((1, 2, 3))}, {"y": rounded})

    def encode_gain(self, quality_step: Tensor) -> Tensor:
        return self.scales(quality_step)

    def decode_gain(self, quality_step: Tensor) -> Tensor:
        return 1 / self.encode_gain(quality_step)

    def mass(self, y: Tensor, gain: Tensor) -> Tensor:
        return self.prior.mass(y, gain)

    def entropy_modules(self) -> Sequence[nn.Module]:
        """The prior, and the scales that widen it."""
        return [self.prior, self.scales]
