"""The transforms between pixels and latents: g_a (analysis) and g_s (synthesis), both for every quality at once.

    image x [N, 3, 16 h, 16 w] --g_a--> y [N, M, h, w]        (latents, before quantisation)
    y_hat     [N, M, h, w]       --g_s--> x_hat [N, 3, 16 h, 16 w]

The quality enters twice: gains scale each latent channel before rounding and undo it after (Cui et al. 2021), and the
gains inside the blocks adapt the features. The synthesis also takes the realism, 0 to 1, and
positional noise (positional_noise.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencomp.entropy.constants import KNOTS, SEGMENT

from .layers import Block, BlockStack, downscale, upscale
from .positional_noise import CHANNELS, FACTORS, PositionalNoise, positional_noise

STRIDE = 16  # pixels per latent, both ways


@dataclass(frozen=True)
class TransformConfig:
    """Widths and depths. Positions are 1/2, 1/4, 1/8 and 1/16 of the image's sides."""

    latent_channels: int = 160
    encoder_widths: tuple[int, int] = (192, 256)  # at 1/8 and 1/16
    encoder_depths: tuple[int, int] = (4, 3)
    decoder_widths: tuple[int, int, int, int] = (256, 192, 64, 32)  # at 1/16, 1/8, 1/4 and 1/2
    decoder_depths: tuple[int, int, int] = (3, 4, 2)  # at 1/16, 1/8 and 1/4
    grain: bool = False  # noise in the synthesis, times the realism
    decoder_inner: tuple[int, ...] = ()  # inside each bottleneck of the decoder; empty: half of the channels; 0: none

    def __post_init__(self) -> None:
        for name, count in (("encoder_widths", 2), ("encoder_depths", 2), ("decoder_widths", 4), ("decoder_depths", 3)):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {count} numbers, one for each resolution")
        if self.decoder_inner and len(self.decoder_inner) != 2 * sum(self.decoder_depths):
            raise ValueError("decoder_inner has a width for each bottleneck of the decoder, two a block")

    def inner_by_stage(self) -> list[Sequence[int]]:
        """decoder_inner at 1/16, 1/8 and 1/4, with the defaults filled in."""
        stages: list[Sequence[int]] = []
        given = list(self.decoder_inner)
        for width, depth in zip(self.decoder_widths, self.decoder_depths):
            stages.append(given[: 2 * depth] if self.decoder_inner else [width // 2] * (2 * depth))
            given = given[2 * depth :]
        return stages


def transform_config(values: Mapping[str, Any]) -> TransformConfig:
    plain: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return TransformConfig(**plain)


def quality_knots(step: Tensor) -> Tensor:
    """Integer weights of the quality knots: step [N] int in 0..STEPS -> [N, KNOTS] int64, each row sums to SEGMENT.

    Piecewise linear (a hat function a knot) and exact, so that the integer networks may take it as an input.
    """
    knots = torch.arange(KNOTS, device=step.device) * SEGMENT
    return (SEGMENT - (step.long()[:, None] - knots).abs()).clamp(min=0)


def quality_condition(step: Tensor) -> Tensor:
    """step [N] int in 0..STEPS -> [N, KNOTS] float32 in 0..1, rows sum to 1."""
    return quality_knots(step).float() / SEGMENT


class Analysis(nn.Module):
    """g_a: x [N, 3, H, W] in 0..1, H and W multiples of 16 -> y [N, M, H / 16, W / 16]."""

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        fine, coarse = config.encoder_widths
        self.embed = downscale(3, fine, 8)
        self.stage8 = BlockStack(fine, config.encoder_depths[0], KNOTS)
        self.down16 = downscale(fine, coarse, 2)
        self.stage16 = BlockStack(coarse, config.encoder_depths[1], KNOTS)
        self.head = nn.Conv2d(coarse, config.latent_channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """condition [N, KNOTS]: `quality_condition`."""
        x = self.stage8(self.embed(x - 0.5), condition)
        return self.head(self.stage16(self.down16(x), condition))


class Synthesis(nn.Module):
    """g_s: y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w], about 0..1 and not clipped."""

    def __init__(self, config: TransformConfig) -> None:
        super().__init__()
        w16, w8, w4, w2 = config.decoder_widths
        inner16, inner8, inner4 = config.inner_by_stage()
        conditions = KNOTS + 1  # the last one is the realism
        self.stem = nn.Conv2d(config.latent_channels, w16, 1)
        self.stage16 = BlockStack(w16, config.decoder_depths[0], conditions, inner16)
        self.up8 = upscale(w16, w8, 2)
        self.stage8 = BlockStack(w8, config.decoder_depths[1], conditions, inner8)
        self.up4 = upscale(w8, w4, 2)
        self.stage4 = BlockStack(w4, config.decoder_depths[2], conditions, inner4)
        self.up2 = upscale(w4, w2, 2)
        self.refine = nn.Conv2d(w2, w2, 3, padding=1)
        self.head = nn.Sequential(nn.Conv2d(w2, 12, 3, padding=1), nn.PixelShuffle(2))
        self.grain = nn.ModuleList([PositionalNoise(w8), PositionalNoise(w4)] if config.grain else [])

    def forward(self, y_hat: Tensor, condition: Tensor, realism: Tensor, origin: Tensor) -> Tensor:
        """condition [N, KNOTS]: `quality_condition`; realism [N] in 0..1; origin [N, 2] int: row and column, in
        latents, of the upper left corner in the whole image, whose grain is that of the place."""
        condition = torch.cat([condition, realism[:, None].to(condition.dtype)], dim=1)
        noise: tuple[Tensor, ...] = ()
        if len(self.grain):
            drawn = positional_noise(origin, *y_hat.shape[2:]).to(y_hat.dtype)
            noise = drawn.split([CHANNELS * f**2 for f in FACTORS], dim=1)
        x = self.stage16(self.stem(y_hat), condition)
        x = self.up8(x)
        x = self.stage8(self.grain[0](x, noise[0], realism) if noise else x, condition)
        x = self.up4(x)
        x = self.stage4(self.grain[1](x, noise[1], realism) if noise else x, condition)
        x = self.up2(x)
        x = x + F.leaky_relu(self.refine(x), 0.01)
        return self.head(x) + 0.5

    @torch.no_grad()
    def rescale_realism(self, strongest: float) -> None:
        """Let realism 1 stand for what was `strongest` before; all that depends on it is linear in it."""
        for module in self.modules():
            if isinstance(module, Block):
                module.gains[-1] *= strongest
            elif isinstance(module, PositionalNoise):
                module.project.weight *= strongest


class LatentGains(nn.Module):
    """Gains per latent channel and quality: multiply y before rounding, and y_hat by the other set after.

    Log-linear between knots; the ends start a factor 3 below and above one, since the best step size falls about
    with the square root of lambda.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        ramp = torch.linspace(-1.1, 1.1, KNOTS)[:, None].repeat(1, channels)
        self.log_encode = nn.Parameter(ramp.clone())
        self.log_decode = nn.Parameter(torch.linspace(1.1, -1.1, KNOTS)[:, None].repeat(1, channels))

    def encode(self, y: Tensor, condition: Tensor) -> Tensor:
        """y [N, M, h, w], condition [N, KNOTS] -> scaled y."""
        return y * torch.exp(condition.to(self.log_encode.dtype) @ self.log_encode)[:, :, None, None]

    def decode(self, y_hat: Tensor, condition: Tensor) -> Tensor:
        """y_hat [N, M, h, w], condition [N, KNOTS] -> y_hat in the units of the analysis."""
        return y_hat * torch.exp(condition.to(self.log_decode.dtype) @ self.log_decode)[:, :, None, None]
