"""The probability model of the latents: hyperprior (Balle et al. 2018, Minnen et al. 2018) and four-pass context.

    y --h_a--> z --round--> z_hat --h_s--> features --+--> mean, level of the first quarter of y
                                                      +--> with the quarters known so far: mean, level of the next

The latents are coded in four passes, a quarter of them each, mixed over space and channels (the quadtree partition of
DCVC-DC, Li et al. 2023): in pass p a position of parity class c codes the channel group c ^ ORDER[p], so every pass
touches every position and every group. Symbols are r = round(y - mean), and y_hat = r + mean. The scale is a level:
sigma = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** (level / (LEVELS - 1)).

What decides bits (`HyperSynthesis`, `ContextModel`) is built from convolutions, ReLU and pixel shuffles alone, so that
`networks.convert` can turn it into an integer network.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.constants import KNOTS, LEVELS, ORDER, PASSES, SIGMA_MAX, SIGMA_MIN
from .contract import Quantized
from .layers import lower_bound, relaxed_bits, round_straight_through
from .transforms import quality_condition

LEVEL_CENTRE, LEVEL_SPREAD = 20.0, 8.0  # head output 0 means level 20 (sigma 0.83); one unit is 8 levels


@dataclass(frozen=True)
class PriorConfig:
    """Widths of the hyperprior and context networks."""

    hyper_channels: int = 96  # channels of z, at 1/64 of the image's sides
    hyper_width: int = 256
    feature_width: int = 192


def pass_masks(
    channels: int, height: int, width: int, device: torch.device | None = None, passes: int = PASSES
) -> Tensor:
    """Which latents each pass of four, or the only one, codes: [passes, channels, height, width] bool, disjoint and
    together everything; channels a multiple of `passes`."""
    if passes == 1:
        return torch.ones(1, channels, height, width, dtype=torch.bool, device=device)
    row = torch.arange(height, device=device)[:, None] % 2
    column = torch.arange(width, device=device)[None] % 2
    parity = 2 * row + column  # [H, W] in 0..3
    group = torch.arange(channels, device=device) // (channels // PASSES)  # [C] in 0..3
    order = torch.tensor(ORDER, device=device)[:, None, None, None]
    return (parity[None, None] ^ order) == group[None, :, None, None]


def sigma_of(level: Tensor) -> Tensor:
    """Standard deviation of a (fractional) scale level in 0..LEVELS-1."""
    return SIGMA_MIN * torch.exp(level * (math.log(SIGMA_MAX / SIGMA_MIN) / (LEVELS - 1)))


def gaussian_bits(offset: Tensor, level: Tensor) -> Tensor:
    """-log2 of the mass of N(0, sigma(level)) on [offset - 1/2, offset + 1/2], element-wise, float32."""
    return _bits(offset, sigma_of(level))


def scaled_bits(offset: Tensor, scale: Tensor) -> Tensor:
    """The same of N(0, scale), the scale bounded below by SIGMA_MIN (Balle et al. 2018)."""
    return _bits(offset, lower_bound(scale, SIGMA_MIN))


def _bits(offset: Tensor, sigma: Tensor) -> Tensor:
    """Balle et al. 2018, eq. 7 (a Gaussian convolved with a unit uniform), at the mirrored side for accuracy."""
    inverse, distance = 1 / (sigma * math.sqrt(2)), offset.abs()
    mass = 0.5 * (torch.erfc((distance - 0.5) * inverse) - torch.erfc((distance + 0.5) * inverse))
    return -torch.log2(lower_bound(mass, 1e-9))


class FactorisedPrior(nn.Module):
    """p(z): three logistics per channel, mixed, the same at every position (the role of Balle et al. 2018, 6.1)."""

    def __init__(self, channels: int, components: int = 3) -> None:
        super().__init__()
        spread = torch.linspace(-2, 2, components)[:, None, None, None]
        self.weight = nn.Parameter(torch.zeros(components, channels, 1, 1))
        self.mean = nn.Parameter(spread.repeat(1, channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(components, channels, 1, 1))

    def mass(self, z: Tensor, gain: Tensor | None = None) -> Tensor:
        """Probability of [z - 1/2, z + 1/2]: z [N, C, H, W] -> the same shape. gain [N, C, 1, 1]: z is as many times
        the variable that has this density."""
        inverse, offset = torch.exp(-self.log_scale.clamp(min=-4)), z[:, None] - self.mean
        if gain is not None:
            inverse, offset = inverse / gain[:, None], z[:, None] - self.mean * gain[:, None]
        # sigmoid(a) - sigmoid(b) on the side where both are small, else the difference loses its digits.
        sign = torch.where(offset > 0, -1.0, 1.0)
        upper, lower = torch.sigmoid(sign * (offset + 0.5) * inverse), torch.sigmoid(sign * (offset - 0.5) * inverse)
        return (torch.softmax(self.weight, 0) * (upper - lower).abs()).sum(1)

    def bits(self, z: Tensor) -> Tensor:
        """-log2 of the mass: [N, C, H, W] -> the same shape."""
        return -torch.log2(lower_bound(self.mass(z), 1e-9))


class HyperAnalysis(nn.Module):
    """h_a: scaled latents y [N, M, h, w] -> z [N, Z, ceil(h / 4), ceil(w / 4)]."""

    def __init__(self, latent_channels: int, config: PriorConfig) -> None:
        super().__init__()
        width = config.feature_width
        self.layers = nn.Sequential(
            *(nn.Conv2d(latent_channels, width, 3, padding=1), nn.LeakyReLU(0.01)),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.LeakyReLU(0.01)),
            nn.Conv2d(width, config.hyper_channels, 3, stride=2, padding=1),
        )

    def forward(self, y: Tensor) -> Tensor:
        """Latents beyond the right and bottom edges count as zero."""
        height, width = y.shape[2:]
        return self.layers(F.pad(y, (0, -width % 4, 0, -height % 4)))


def _depthwise(channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


class HyperSynthesis(nn.Sequential):
    """h_s: [z_hat, quality knots] [N, Z + KNOTS, h / 4, w / 4] -> features [N, F, h, w], not negative."""

    def __init__(self, config: PriorConfig) -> None:
        wide, width = config.hyper_width, config.feature_width
        super().__init__(
            *(nn.Conv2d(config.hyper_channels + KNOTS, wide, 1), nn.ReLU()),
            *(nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(wide, 4 * width, 1), nn.PixelShuffle(2), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, 4 * width, 1), nn.PixelShuffle(2), nn.ReLU()),
            *(_depthwise(width, 3), nn.Conv2d(width, width, 1), nn.ReLU()),
        )


class ContextModel(nn.Sequential):
    """One pass: [features, y_hat known so far (else 0)] [N, F (+ M), h, w] -> raw mean and level [N, 2 M, h, w]."""

    def __init__(self, latent_channels: int, config: PriorConfig, *, first: bool) -> None:
        width = config.feature_width
        known = [nn.Conv2d(width + latent_channels, width, 1), nn.ReLU(), _depthwise(width, 5)]
        last = [nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, 2 * latent_channels, 1)]
        super().__init__(*([] if first else known), *last)


class Prior(nn.Module):
    """All that stands between the latents and their probabilities, in floating point for training: a `PassPrior`."""

    passes = PASSES

    def __init__(self, latent_channels: int, config: PriorConfig) -> None:
        super().__init__()
        self.hyper_analysis = HyperAnalysis(latent_channels, config)
        self.hyper_synthesis = HyperSynthesis(config)
        self.contexts = nn.ModuleList(ContextModel(latent_channels, config, first=p == 0) for p in range(PASSES))
        self.factorised = FactorisedPrior(config.hyper_channels)

    def features(self, z_hat: Tensor, condition: Tensor, height: int, width: int) -> Tensor:
        """z_hat [N, Z, ., .], condition [N, KNOTS] -> [N, F, height, width], the size of y."""
        planes = condition[:, :, None, None].expand(-1, -1, *z_hat.shape[2:])
        return self.hyper_synthesis(torch.cat([z_hat, planes.to(z_hat.dtype)], 1))[:, :, :height, :width]

    def hyper_features(self, z_hat: Tensor, quality_step: Tensor, height: int, width: int) -> Tensor:
        return self.features(z_hat, quality_condition(quality_step), height, width)

    def mean_and_level(self, index: int, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        inputs = [features] if index == 0 else [features, known.to(features.dtype)]
        mean, level = self.contexts[index](torch.cat(inputs, 1)).float().chunk(2, dim=1)
        level = LEVEL_CENTRE + LEVEL_SPREAD * level
        return mean, -lower_bound(-lower_bound(level, 0.0), -(LEVELS - 1.0))

    def z_bits(self, z: Tensor) -> Tensor:
        return self.factorised.bits(z)

    def forward(self, y: Tensor, condition: Tensor, noise: Mapping[str, Tensor]) -> Quantized:
        """Training pass: scaled latents y [N, M, h, w]; noise of "y" and "z" in -1/2..1/2, or {} (see the contract).

        Rates see additive noise, everything downstream sees straight-through rounding (the mixed quantisation of
        Minnen & Singh 2020).
        """
        z = self.hyper_analysis(y).float()
        z_bits, z_rounded = relaxed_bits(self.factorised.bits, z, noise.get("z"))
        features = self.features(round_straight_through(z), condition, *y.shape[2:])
        y = y.float()
        y_hat, y_bits, y_rounded = torch.zeros_like(y), torch.zeros_like(z_bits), torch.zeros_like(z_rounded)
        for index, mask in enumerate(pass_masks(y.shape[1], y.shape[2], y.shape[3], y.device)):
            mean, level = self.mean_and_level(index, features, y_hat)
            y_hat = y_hat + mask * (mean + round_straight_through(y - mean))
            bits = functools.partial(_masked_bits, level=level, mask=mask)
            relaxed, rounded = relaxed_bits(bits, y - mean, noise.get("y"))
            y_bits, y_rounded = y_bits + relaxed, y_rounded + rounded
        return Quantized(y_hat, {"y": y_bits, "z": z_bits}, {"y": y_rounded, "z": z_rounded})


def _masked_bits(residual: Tensor, level: Tensor, mask: Tensor) -> Tensor:
    return mask * gaussian_bits(residual, level)
