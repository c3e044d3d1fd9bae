"""The family `light`: separable convolutions throughout, for about a tenth of the arithmetic of `base`.

A 3x3 convolution of C channels costs 9 C^2 multiplications a position; one convolution over space for each channel and
one over channels, 9 C + C^2 (Howard et al. 2017, "MobileNets", section 3.1). The blocks are the inverted residuals of
MobileNetV2 (Sandler et al. 2018, figure 3 and table 1): a 1x1 convolution to twice the channels, a depthwise 3x3, and
a 1x1 convolution back without a nonlinearity, added to the input; 4 C^2 + 18 C multiplications.

    x --patches of 4--> 1/4 --blocks--> 1/8 --blocks--> 1/16 --blocks--> y      g_s is the mirror image

Kept of MobileNetV2: depthwise convolutions, linear bottlenecks, residuals, stride in the depthwise convolution.
Differs: no normalisation, ReLU without the limit at 6, twice the channels where the paper takes six times, patches of
4 x 4 pixels as the first layer, and in g_s 1x1 convolutions with a pixel shuffle (Shi et al. 2016) for the strides.
The prior is that of `minnen2018` (mean and scale in one pass), separable, too; gains for all rates: hyperprior.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..contract import Halo, NetworkConfig
from .hyperprior import ConvolutionalPrior, GainedCodec
from .strided import scale_kept

EXPANSION = 2  # channels of a block's depthwise convolution over its own


@dataclass(frozen=True)
class LightConfig(NetworkConfig):
    """Widths and depths at 1/4, 1/8 and 1/16 of the image's sides, the same in both transforms."""

    family: ClassVar[str] = "light"
    latent_channels: int = 96
    widths: tuple[int, int, int] = (32, 72, 144)
    depths: tuple[int, int, int] = (1, 3, 3)
    hyper_channels: int = 48
    hyper_width: int = 96


class InvertedResidual(nn.Module):
    """x + W2 relu(D relu(W1 x)), D depthwise 3x3; W2 starts small, so that a deep stack begins near the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.expand, self.spatial, self.project = pointwise(channels, wide), depthwise(wide), pointwise(wide, channels)
        with torch.no_grad():
            self.project.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.relu(self.spatial(F.relu(self.expand(x)))))


def depthwise(channels: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels)
    scale_kept(conv, 2 * conv.weight[0].numel())  # no rectifier follows
    return conv


def pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 1)
    scale_kept(conv, 2 * inputs)
    return conv


def blocks(channels: int, depth: int) -> list[nn.Module]:
    return [InvertedResidual(channels) for _ in range(depth)]


def light_analysis(config: LightConfig) -> nn.Sequential:
    """g_a: [N, 3, 16 h, 16 w] -> [N, M, h, w]."""
    (w4, w8, w16), (d4, d8, d16) = config.widths, config.depths
    return nn.Sequential(
        *(nn.PixelUnshuffle(4), pointwise(3 * 4**2, w4), *blocks(w4, d4)),
        *(depthwise(w4, 2), pointwise(w4, w8), *blocks(w8, d8)),
        *(depthwise(w8, 2), pointwise(w8, w16), *blocks(w16, d16)),
        pointwise(w16, config.latent_channels),
    )


def light_synthesis(config: LightConfig) -> nn.Sequential:
    """g_s: [N, M, h, w] -> [N, 3, 16 h, 16 w]."""
    (w4, w8, w16), (d4, d8, d16) = config.widths, config.depths
    return nn.Sequential(
        *(pointwise(config.latent_channels, w16), *blocks(w16, d16)),
        *(pointwise(w16, w8 * 2**2), nn.PixelShuffle(2), *blocks(w8, d8)),
        *(pointwise(w8, w4 * 2**2), nn.PixelShuffle(2), *blocks(w4, d4)),
        *(pointwise(w4, 3 * 4**2), nn.PixelShuffle(4)),
    )


def light_prior(config: LightConfig) -> ConvolutionalPrior:
    """h_a and h_s of separable convolutions; h_s of the layers that have an integer form."""
    latents, wide, hyper = config.latent_channels, config.hyper_width, config.hyper_channels
    h_a = [
        *(nn.Conv2d(latents, wide, 1), nn.ReLU()),
        *(depthwise(wide, 2), nn.Conv2d(wide, wide, 1), nn.ReLU()),
        *(depthwise(wide, 2), nn.Conv2d(wide, hyper, 1)),
    ]
    h_s = [
        *(nn.Conv2d(hyper, 4 * wide, 1), nn.PixelShuffle(2), nn.ReLU()),
        *(depthwise(wide), nn.Conv2d(wide, 4 * wide, 1), nn.PixelShuffle(2), nn.ReLU()),
        *(depthwise(wide), nn.Conv2d(wide, 2 * latents, 1)),
    ]
    return ConvolutionalPrior(nn.Sequential(*h_a), nn.Sequential(*h_s), hyper)


class LightNetwork(GainedCodec):
    def __init__(self, config: LightConfig) -> None:
        super().__init__(config, light_analysis(config), light_prior(config), light_synthesis(config))

    @property
    def halo(self) -> Halo:
        """A block sees one position around it; so does a stride, at the finer resolution."""
        d4, d8, d16 = self.config.depths
        return Halo(math.ceil((d4 + 1) / 4 + (d8 + 1) / 2 + d16), math.ceil(d16 + d8 / 2 + d4 / 4))
