"""The family `balle2017`: Balle, Laparra and Simoncelli 2017, "End-to-end optimized image compression".

    min  E [-log2 p(y~)] + lambda E |x - g_s(y~)|^2,   y~ = g_a(x) + noise, uniform in -1/2..1/2          (eq. 9, 10)

Rounding has no gradient. The paper adds noise of the same spread instead, in training alone: the density of y~ is then
that of y convolved with a unit box, which passes through the probabilities of the rounded y (figure 3), and the loss is
that of a variational autoencoder whose posterior is the box. Divisive normalisation (gdn.py) makes the channels nearly
independent, as the factorised density supposes.

Kept: g_a of convolutions 9 x 9 with stride 4, 5 x 5 with stride 2 and 5 x 5 with stride 2, each followed by GDN, g_s
its mirror image with IGDN before each convolution; noise for the rate and for the synthesis; R + lambda D with the
mean squared error; one density for each channel, learned with the rest.
Differs: narrower (the paper has 128 or 256 channels); gains for all rates in one model (factorized.py); p(u) is a
mixture of three logistics where the paper has splines; gamma of GDN need not be symmetric; one learning rate for all.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..contract import Halo, Quantized, TrainingInputs
from ..priors import FactorisedPrior
from ..transforms import LatentGains, quality_condition
from .factorized import FactorizedCodec
from .gdn import Gdn
from .strided import STRIDE, Kernel, analysis_reach, down, synthesis_reach, up

KERNELS = (Kernel(9, 4), Kernel(5, 2), Kernel(5, 2))


@dataclass(frozen=True)
class Balle2017Config:
    """Channels of every layer and of the latents: the paper has one number for both, too."""

    family: ClassVar[str] = "balle2017"
    latent_channels: int = 96

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Shape of the noise that stands for rounding."""
        return {"y": (self.latent_channels, crop // STRIDE, crop // STRIDE)}

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Balle2017Config":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        return cls(**values)


def gdn_analysis(width: int) -> nn.Sequential:
    """g_a: [N, 3, 16 h, 16 w] -> [N, width, h, w]."""
    inputs = zip((3, width, width), KERNELS)
    stages = [(down(channels, width, kernel, rectified=False), Gdn(width)) for channels, kernel in inputs]
    return nn.Sequential(*(module for stage in stages for module in stage))


def gdn_synthesis(width: int) -> nn.Sequential:
    """g_s: [N, width, h, w] -> [N, 3, 16 h, 16 w]."""
    outputs = zip((width, width, 3), KERNELS[::-1])
    stages = [(Gdn(width, inverse=True), up(width, channels, kernel, rectified=False)) for channels, kernel in outputs]
    return nn.Sequential(*(module for stage in stages for module in stage))


class Balle2017Network(FactorizedCodec):
    """See the contract for shapes."""

    def __init__(self, config: Balle2017Config) -> None:
        width = config.latent_channels
        super().__init__(config, gdn_analysis(width), gdn_synthesis(width))
        self.gains, self.prior = LatentGains(width), FactorisedPrior(width)
        with torch.no_grad():  # as wide as what GDN gives: a wider density would charge empty channels for long
            self.prior.mean.mul_(0.5)
            self.prior.log_scale.fill_(-1.0)

    @property
    def halo(self) -> Halo:
        """From the kernels; GDN sees its own position alone."""
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
        """See `FactorizedCodec`."""
        return self.gains.encode(self.gains.log_encode.new_ones(1, 1, 1, 1), quality_condition(quality_step))

    def decode_gain(self, quality_step: Tensor) -> Tensor:
        """See `FactorizedCodec`."""
        return self.gains.decode(self.gains.log_encode.new_ones(1, 1, 1, 1), quality_condition(quality_step))

    def mass(self, y: Tensor, gain: Tensor) -> Tensor:
        """See `FactorizedCodec`."""
        return self.prior.mass(y, gain)

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        """g_s, and the gains before it."""
        yield self.synthesis
        yield self.gains.log_decode

    def entropy_modules(self) -> Iterator[nn.Module]:
        """The prior and the gains, of which bits take those of the encoder."""
        yield self.prior
        yield self.gains
