"""The networks of HiFiC (Mentzer, Toderici, Tschannen, Agustsson 2020, "High-fidelity generative image compression").

Encoder 7.4 M, generator 156.7 M and hyperprior 17.3 M parameters, one rate a model.

    x [N, 3, 16 h, 16 w] --E--> y [N, 220, h, w] --hyperprior--> y_hat --G--> x_hat

Every normalisation is ChannelNorm: over channels at each position, so that images of any size behave alike.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Halo, NetworkConfig
from .convert import side_by_side
from .one_pass import OnePassCodec, OnePassPrior
from .priors import FactorisedPrior


@dataclass(frozen=True)
class HificConfig(NetworkConfig):
    """Widths and depth; the defaults are the paper's."""

    family: ClassVar[str] = "hific"
    latent_channels: int = 220
    widths: tuple[int, int, int, int, int] = (60, 120, 240, 480, 960)  # at 1/1, 1/2, 1/4, 1/8 and 1/16
    residual_blocks: int = 9
    hyper_channels: int = 320


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(var + 1e-3) over the channels of each position, then gain and offset (paper, section 3.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, 1, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-3) * self.gain + self.offset


class HificEncoder(nn.Sequential):
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
        return x + self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))


class HificGenerator(nn.Module):
    """G: y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w], about 0..1 and not clipped."""

    def __init__(self, config: HificConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        conv = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.head = nn.Sequential(ChannelNorm(config.latent_channels), conv, ChannelNorm(widths[0]))
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


class HificPrior(OnePassPrior):
    """Mean and scale of every latent from hyper-latents by a network each (Minnen et al. 2018)."""

    def __init__(self, config: HificConfig) -> None:
        super().__init__()
        wide = config.hyper_channels
        self.hyper_analysis = nn.Sequential(
            *(nn.Conv2d(config.latent_channels, wide, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(wide, wide, 5, 2, padding=2), nn.ReLU()),
            nn.Conv2d(wide, wide, 5, 2, padding=2),
        )
        self.mean, self.scale = hyper_synthesis(config), hyper_synthesis(config)
        self.factorised = FactorisedPrior(wide)

    def h_a(self, y: Tensor) -> Tensor:
        return self.hyper_analysis(y)

    def h_s(self, z_hat: Tensor) -> Tensor:
        return torch.cat([self.mean(z_hat), self.scale(z_hat)], 1)

    def integer_form(self) -> nn.Sequential:
        return side_by_side(self.mean, self.scale)


def hyper_synthesis(config: HificConfig) -> nn.Sequential:
    """z_hat [N, Z, h / 4, w / 4] -> one parameter of each latent [N, M, h, w]."""
    wide = config.hyper_channels
    up = [nn.ConvTranspose2d(wide, wide, 5, 2, padding=2, output_padding=1) for _ in range(2)]
    return nn.Sequential(up[0], nn.ReLU(), up[1], nn.ReLU(), nn.Conv2d(wide, config.latent_channels, 3, padding=1))


class HificNetwork(OnePassCodec):
    """Encoder, hyperprior and generator; quality and realism are accepted and have no effect, as in the paper."""

    def __init__(self, config: HificConfig) -> None:
        super().__init__(config)
        self.analysis, self.prior, self.synthesis = HificEncoder(config), HificPrior(config), HificGenerator(config)

    @property
    def halo(self) -> Halo:
        """Of the encoder, the first kernel reaches 3 pixels, the strided ones 1, 2, 4 and 8, the last one a latent: 34
        pixels. Of the generator, the head reaches a latent, each residual block two, the transposed convolutions
        1 + 1/2 + 1/4 + 1/8 and the last kernel 3/16. Both rounded up."""
        return Halo(3, 1 + 2 * self.config.residual_blocks + 3)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return self.analysis(x - 0.5).float()

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        return self.synthesis(y_hat).float()
