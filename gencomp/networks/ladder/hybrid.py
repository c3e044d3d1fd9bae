"""The family `hybrid`: the low frequencies by JPEG, the rest learned.

    x --mean of 8 x 8, YCbCr--> thumbnail --JPEG--> t_hat
    x - up(thumbnail) --g_a--> y --gains--> round against the prior --> y_hat
    x_hat = up(t_hat) + g_s(y_hat, t_hat)

A base layer by one kind of coder and a second layer for what it leaves out, as in layered codecs that put a network
beside a standard (Akbari, Liang and Han 2019, "DSSLIC", whose networks give the base and whose standard codes the
residual; here it is the other way round). The DCT is good at what is smooth: few large coefficients; texture and edges
are left to the network.

The thumbnail has one place for each 8 x 8 pixels and three planes, each a JPEG image of one component whose bytes
stand in the file (entropy/hybrid.py). Its quantiser has one step for all frequencies, which is best for squared error
at high rates, and falls geometrically with the quality: minimising R + lambda D with D = step^2 / 12 and a rate of one
place in 64 pixels gives step^2 = 12 / (128 ln 2 lambda), 16 at lambda = 0.0005 and 1.6 at 0.05.

Transforms and prior are those of `minnen2018`, so that what differs is the idea. g_a sees what the thumbnail before its
coding leaves out; g_s sees the decoded one, and may mend it. The learned latents and their bits do not depend on the
thumbnail's bytes. The thumbnail is not trained, and its bits have no gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...entropy.constants import KNOTS, MEAN_UNIT, SEGMENT
from ...entropy.contract import EntropyModel
from ...entropy.hybrid import CENTRE, CHANNELS, Hybrid, to_planes, write_planes
from ...entropy.hyperprior import Hyperprior
from ..contract import Calibration, Halo, NetworkConfig, Quantized, TrainingInputs
from ..one_pass import OnePassCodec
from ..transforms import LatentGains, quality_condition, quality_knots
from .balle2018 import KERNELS, g_a, g_s
from .jpeg import jpeg_planes
from .minnen2018 import mean_scale_prior
from .strided import SIGNAL, analysis_reach, synthesis_reach

REDUCED = 8  # pixels a side for one place of the thumbnail
RED, GREEN, BLUE = 0.299, 0.587, 0.114  # of luma (ITU-T T.871, JFIF)


@dataclass(frozen=True)
class HybridConfig(NetworkConfig):
    """width, learned_channels: N and M of the learned part; coarsest, finest: JPEG's step at quality 1 and 100."""

    family: ClassVar[str] = "hybrid"
    width: int = 64
    learned_channels: int = 96
    coarsest: int = 16
    finest: int = 2

    @property
    def latent_channels(self) -> int:
        """Those of the thumbnail, then the learned ones."""
        return CHANNELS + self.learned_channels

    @property
    def hyper_channels(self) -> int:
        return self.width

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Of the learned y and z."""
        shapes = super().noise_shapes(crop)
        return shapes | {"y": (self.learned_channels, *shapes["y"][1:])}


class HybridNetwork(OnePassCodec):
    """See the contract for shapes. Channels 0..11 of y are the thumbnail's bytes, minus 128, over 64."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        self.analysis = g_a(config.width, config.learned_channels)
        self.gains = LatentGains(config.learned_channels)
        self.prior = mean_scale_prior(config.width, config.learned_channels)
        self.synthesis = g_s(config.width, config.latent_channels)

    @property
    def halo(self) -> Halo:
        """What is taken off before g_a looks beyond its own place of 8 pixels by another."""
        return Halo(analysis_reach(KERNELS, REDUCED), synthesis_reach(KERNELS))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """The learned part differentiably, the thumbnail as it will be decoded."""
        y = self.analyze(inputs.x, inputs.quality_step)
        learned = self.prior(y[:, CHANNELS:], inputs.noise)
        levels = torch.round(MEAN_UNIT * F.pixel_shuffle(y[:, :CHANNELS].detach(), 2))
        decoded, bits = jpeg_planes(levels, self.steps_at(inputs.quality_step))
        thumbnail = F.pixel_unshuffle(decoded, 2) / MEAN_UNIT
        rounded = learned.rounded_bits or {k: v.detach() for k, v in learned.bits.items()}
        both = torch.cat([thumbnail, learned.y_hat], 1)
        return Quantized(both, learned.bits | {"jpeg": bits}, rounded | {"jpeg": bits})

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        thumbnail = reduced(x)
        y = self.analysis((x - enlarged(thumbnail)) * SIGNAL).float()
        learned = self.gains.encode(y, quality_condition(quality_step))
        return torch.cat([F.pixel_unshuffle(thumbnail, 2).float(), learned], 1)

    def hyper_analyze(self, y: Tensor) -> Tensor:
        return self.prior.hyper_latents(y[:, CHANNELS:])

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """The thumbnail as it is, the learned part in the units of the analysis."""
        learned = self.gains.decode(y_hat[:, CHANNELS:], quality_condition(quality_step))
        return torch.cat([y_hat[:, :CHANNELS], learned], 1)

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        base = enlarged(F.pixel_shuffle(y_hat[:, :CHANNELS], 2))
        return base.float() + self.synthesis(self.condition(y_hat, quality_step)).float() / SIGNAL

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """The integer prior, and the quantiser's steps."""
        inner = self.prior.freeze([image._replace(y=image.y[:, CHANNELS:]) for image in calibration])
        assert isinstance(inner, Hyperprior)
        return Hybrid(jpeg_steps(self.config).numpy(), inner)

    def bits_of(self, calibration: Calibration) -> float:
        """Bits under the float prior, and of the scans as they are written."""
        learned = self.prior.bits_of(calibration.y[:, CHANNELS:], calibration.z_hat)
        step = int(self.steps_at(torch.tensor([calibration.quality_step])))
        return learned + 8 * len(write_planes(to_planes(calibration.y[0, :CHANNELS].numpy()), step))

    def steps_at(self, quality_step: Tensor) -> Tensor:
        """`Hybrid.step_at`, int [N]."""
        steps = jpeg_steps(self.config).to(quality_step.device)
        return torch.div((quality_knots(quality_step) * steps).sum(1) + SEGMENT // 2, SEGMENT, rounding_mode="floor")


def jpeg_steps(config: HybridConfig) -> Tensor:
    """Steps at the quality knots, int [KNOTS], geometric."""
    steps = np.geomspace(config.coarsest, config.finest, KNOTS)
    return torch.from_numpy(np.rint(steps).astype(np.int64))


def reduced(x: Tensor) -> Tensor:
    """Means of 8 x 8 pixels as luma and colour differences: [N, 3, H, W] in 0..1 -> [N, 3, H / 8, W / 8], a byte minus
    128 over 64 where an image of JFIF has that byte."""
    red, green, blue = F.avg_pool2d(x, REDUCED).unbind(1)
    luma = RED * red + GREEN * green + BLUE * blue
    planes = [luma - CENTRE / 255, (blue - luma) / (2 - 2 * BLUE), (red - luma) / (2 - 2 * RED)]
    return torch.stack(planes, 1) * (255 / MEAN_UNIT)


def enlarged(thumbnail: Tensor) -> Tensor:
    """The reverse, bilinear between the middles of places: [N, 3, h, w] -> [N, 3, 8 h, 8 w] in 0..1."""
    luma, blue_difference, red_difference = (thumbnail * (MEAN_UNIT / 255)).unbind(1)
    luma = luma + CENTRE / 255
    red = luma + (2 - 2 * RED) * red_difference
    blue = luma + (2 - 2 * BLUE) * blue_difference
    green = (luma - RED * red - BLUE * blue) / GREEN
    image = torch.stack([red, green, blue], 1)
    return F.interpolate(image, scale_factor=REDUCED, mode="bilinear", align_corners=False)
