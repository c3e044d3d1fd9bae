"""The networks of HiFiC (Mentzer, Toderici, Tschannen, Agustsson 2020, "High-fidelity generative image compression").

Encoder 7.4 M, generator 156.7 M and hyperprior 17.3 M parameters, one rate a model.

    x [N, 3, 16 h, 16 w] --E--> y [N, 220, h, w] --hyperprior--> y_hat --G--> x_hat

Every normalisation is ChannelNorm: over channels at each position, so that pictures of any size behave alike.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .hyperprior import CodecOutput
from .layers import lower_bound, round_straight_through
from .priors import SIGMA_MIN, FactorisedPrior


@dataclass(frozen=True)
class HificConfig:
    """Widths and depth; the defaults are the paper's."""

    latent_channels: int = 220
    widths: tuple[int, int, int, int, int] = (60, 120, 240, 480, 960)  # at 1/1, 1/2, 1/4, 1/8 and 1/16
    residual_blocks: int = 9
    hyper_channels: int = 320

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return {
            "latent_channels": self.latent_channels,
            "widths": list(self.widths),
            "residual_blocks": self.residual_blocks,
            "hyper_channels": self.hyper_channels,
        }


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(var + 1e-3) over the channels of each position, then gain and offset (paper, section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> the same shape."""
        variance, mean = torch.var_mean(x, 1, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-3) * self.gain + self.offset


class Encoder(nn.Sequential):
    """E: x [N, 3, H, W] in 0..1, sides multiples of 16 -> y [N, M, H / 16, W / 16]."""

    def __init__(self, config: HificConfig) -> None:
        first = config.widths[0]
        layers: list[nn.Module] = [nn.Conv2d(3, first, 7, padding=3), ChannelNorm(first), nn.ReLU()]
        for inputs, outputs in pairwise(config.widths):
            # zero padding after the rows and columns, as a strided convolution that is "SAME" on even sides has it
            layers += [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(inputs, outputs, 3, 2), ChannelNorm(outputs), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(config.widths[-1], config.latent_channels, 3, padding=1))


class ResidualBlock(nn.Module):
    """x + CN(conv(relu(CN(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.first_norm, self.second_norm = ChannelNorm(channels), ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> the same shape."""
        return x + self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))


class Generator(nn.Module):
    """G: y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w], about 0..1 and not clipped."""

    def __init__(self, config: HificConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.head = nn.Sequential(
            ChannelNorm(config.latent_channels),
            nn.Conv2d(config.latent_channels, widths[0], 3, padding=1),
            ChannelNorm(widths[0]),
        )
        self.blocks = nn.Sequential(*(ResidualBlock(widths[0]) for _ in range(config.residual_blocks)))
        ups: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            up = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1)
            ups += [up, ChannelNorm(outputs), nn.ReLU()]
        self.tail = nn.Sequential(*ups, nn.Conv2d(widths[-1], 3, 7, padding=3))

    def forward(self, y_hat: Tensor) -> Tensor:
        """A skip goes from the head over all residual blocks."""
        head = self.head(y_hat)
        return self.tail(head + self.blocks(head)) + 0.5


class HyperSynthesis(nn.Sequential):
    """z_hat [N, Z, h / 4, w / 4] -> one parameter of each latent [N, M, h, w]."""

    def __init__(self, config: HificConfig) -> None:
        wide = config.hyper_channels
        up = [nn.ConvTranspose2d(wide, wide, 5, 2, padding=2, output_padding=1) for _ in range(2)]
        last = nn.Conv2d(wide, config.latent_channels, 3, padding=1)
        super().__init__(up[0], nn.ReLU(), up[1], nn.ReLU(), last)


class Hyperprior(nn.Module):
    """Mean and scale of every latent from hyper-latents (Minnen et al. 2018), without a context model."""

    def __init__(self, config: HificConfig) -> None:
        super().__init__()
        wide = config.hyper_channels
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(config.latent_channels, wide, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 5, 2, padding=2),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 5, 2, padding=2),
        )
        self.mean, self.scale = HyperSynthesis(config), HyperSynthesis(config)
        self.factorised = FactorisedPrior(wide)

    def forward(self, y: Tensor, noise_y: Tensor, noise_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y [N, M, h, w] -> (y_hat, bits of y [N], bits of z [N]).

        Rates see additive noise, everything downstream sees straight-through rounding.
        """
        height, width = y.shape[2:]
        z = self.hyper_analysis(F.pad(y, (0, -width % 4, 0, -height % 4))).float()
        z_bits = self.factorised.bits(z + noise_z).sum((1, 2, 3))
        z_hat = round_straight_through(z)
        mean, scale = (net(z_hat)[:, :, :height, :width].float() for net in (self.mean, self.scale))
        y_hat = mean + round_straight_through(y.float() - mean)
        offset = (y.float() - mean + noise_y).abs()
        inverse = 1 / (lower_bound(scale, SIGMA_MIN) * 2**0.5)
        mass = 0.5 * (torch.erfc((offset - 0.5) * inverse) - torch.erfc((offset + 0.5) * inverse))
        return y_hat, -torch.log2(lower_bound(mass, 1e-9)).sum((1, 2, 3)), z_bits


class HificCodec(nn.Module):
    """Encoder, hyperprior and generator behind the interface of `model.HyperpriorCodec`; quality and realism are
    accepted and have no effect, as in the paper."""

    def __init__(self, config: HificConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis, self.prior, self.synthesis = Encoder(config), Hyperprior(config), Generator(config)

    def quantise(self, x: Tensor, step: Tensor, noise_y: Tensor, noise_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [N, 3, H, W] in 0..1 -> (y_hat, bits of y [N], bits of z [N])."""
        return self.prior(self.analysis(x - 0.5).float(), noise_y, noise_z)

    def pictures(self, y_hat: Tensor, step: Tensor, realism: Tensor) -> Tensor:
        """y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w]."""
        return self.synthesis(y_hat).float()

    def forward(self, x: Tensor, step: Tensor, realism: Tensor, noise_y: Tensor, noise_z: Tensor) -> CodecOutput:
        """One training pass, shapes as in `model.HyperpriorCodec.forward`."""
        y_hat, y_bits, z_bits = self.quantise(x, step, noise_y, noise_z)
        return CodecOutput(self.pictures(y_hat, step, realism), y_bits, z_bits)
