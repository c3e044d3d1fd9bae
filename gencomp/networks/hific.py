"""The networks of HiFiC (Mentzer, Toderici, Tschannen, Agustsson 2020, "High-fidelity generative image compression").

Encoder 7.4 M, generator 156.7 M and hyperprior 17.3 M parameters, one rate a model.

    x [N, 3, 16 h, 16 w] --E--> y [N, 220, h, w] --hyperprior--> y_hat --G--> x_hat

Every normalisation is ChannelNorm: over channels at each position, so that images of any size behave alike.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.contract import EntropyModel
from .contract import Calibration, Halo, Network, Quantized, TrainingInputs
from .convert import side_by_side
from .freeze import freeze_mean_scale
from .layers import relaxed_bits, round_straight_through
from .priors import FactorisedPrior, scaled_bits

STRIDE = 16  # pixels per latent


@dataclass(frozen=True)
class HificConfig:
    """Widths and depth; the defaults are the paper's."""

    family: ClassVar[str] = "hific"
    latent_channels: int = 220
    widths: tuple[int, int, int, int, int] = (60, 120, 240, 480, 960)  # at 1/1, 1/2, 1/4, 1/8 and 1/16
    residual_blocks: int = 9
    hyper_channels: int = 320

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the quantisation noise of y and z for a crop of crop x crop pixels."""
        side = crop // STRIDE
        hyper_side = -(-side // 4)
        return {"y": (self.latent_channels, side, side), "z": (self.hyper_channels, hyper_side, hyper_side)}

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "HificConfig":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return HificConfig(**plain)


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

    def hyper_latents(self, y: Tensor) -> Tensor:
        """y [N, M, h, w] -> z [N, Z, ceil(h / 4), ceil(w / 4)]; latents beyond the edges count as zero."""
        height, width = y.shape[2:]
        return self.hyper_analysis(F.pad(y, (0, -width % 4, 0, -height % 4))).float()

    def mean_and_scale(self, z_hat: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """z_hat [N, Z, h', w'] -> mean and scale, each [N, M, height, width] float32, the scale not yet bounded."""
        mean, scale = (net(z_hat)[:, :, :height, :width].float() for net in (self.mean, self.scale))
        return mean, scale

    def forward(self, y: Tensor, noise: Mapping[str, Tensor]) -> Quantized:
        """Training pass: y [N, M, h, w]; noise of "y" and "z", or {} (see the contract).

        Rates see additive noise, everything downstream sees straight-through rounding.
        """
        z = self.hyper_latents(y)
        z_bits, z_rounded = relaxed_bits(self.factorised.bits, z, noise.get("z"))
        mean, scale = self.mean_and_scale(round_straight_through(z), *y.shape[2:])
        residual = y.float() - mean
        y_bits, y_rounded = relaxed_bits(functools.partial(scaled_bits, scale=scale), residual, noise.get("y"))
        bits, rounded = {"y": y_bits, "z": z_bits}, {"y": y_rounded, "z": z_rounded}
        return Quantized(mean + round_straight_through(residual), bits, rounded)

    @torch.no_grad()
    def bits(self, y: Tensor, z_hat: Tensor) -> float:
        """Bits of rounded latents, both streams."""
        mean, scale = self.mean_and_scale(z_hat, *y.shape[2:])
        residual = torch.round(y - mean)
        return float(scaled_bits(residual, scale).sum() + self.factorised.bits(z_hat).sum())


class HificNetwork(Network):
    """Encoder, hyperprior and generator; quality and realism are accepted and have no effect, as in the paper."""

    stride = STRIDE
    knows_realism = False

    def __init__(self, config: HificConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis, self.prior, self.synthesis = Encoder(config), Hyperprior(config), Generator(config)

    @property
    def halo(self) -> Halo:
        """From the kernels: see `_encoder_reach` and `_generator_reach`."""
        return Halo(_encoder_reach(), _generator_reach(self.config))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Encoder, hyperprior and rounding in one differentiable pass."""
        y = self.analyze(inputs.x, inputs.quality_step)
        return self.prior(y, inputs.noise)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] in 0..1 -> y [N, M, H / 16, W / 16]."""
        return self.analysis(x - 0.5).float()

    def hyper_analyze(self, y: Tensor) -> Tensor:
        """y [N, M, h, w] -> z [N, Z, ceil(h / 4), ceil(w / 4)]."""
        return self.prior.hyper_latents(y)

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w]."""
        return self.synthesis(y_hat).float()

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        """The generator."""
        yield self.synthesis

    def entropy_modules(self) -> Iterator[nn.Module]:
        """The prior."""
        yield self.prior

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """Mean and scale networks in integers."""
        both = side_by_side(self.prior.mean, self.prior.scale)
        return freeze_mean_scale(both, self.prior.factorised, calibration)

    def bits_of(self, calibration: Calibration) -> float:
        """Bits under the float hyperprior."""
        assert calibration.z_hat is not None
        return self.prior.bits(calibration.y, calibration.z_hat)


def _encoder_reach() -> int:
    """Latents beyond its own 16 x 16 pixels that a latent sees, on one side at most, rounded up.

    The first kernel reaches 3 pixels, the strided ones 1, 2, 4 and 8 more, the last one a latent: 34 pixels.
    """
    return 3


def _generator_reach(config: HificConfig) -> int:
    """Latents: one of the head, two of each residual block, 1 + 1/2 + 1/4 + 1/8 of the transposed convolutions and
    3/16 of the last kernel, rounded up."""
    return 1 + 2 * config.residual_blocks + 3
