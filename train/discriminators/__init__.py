"""Discriminators: is a image real, given the latents of the real one?

All of them map images [N, 3, H, W] in 0..1 and latents [N, M, H / 16, W / 16] to a `DiscriminatorOutput`. Latent i
belongs to image i: to judge real and fake in one pass, concatenate images and, in the same order, latents.
"""

from collections.abc import Callable

from torch import nn

from ..recipe import DiscriminatorConfig
from .contract import DiscriminatorOutput, advance_spectral_norms
from .high_bands import HighBands
from .patch import PatchDiscriminator
from .projected import ProjectedDiscriminator
from .scales import MultiScale
from .unet import UNetDiscriminator

__all__ = ["KINDS", "DiscriminatorOutput", "advance_spectral_norms", "build_discriminator"]

KINDS: dict[str, Callable[[DiscriminatorConfig, int, str | None], nn.Module]] = {
    "patch": PatchDiscriminator,
    "unet": UNetDiscriminator,
    "projected": ProjectedDiscriminator,
}
"""By DiscriminatorConfig.kind: made of a configuration, the channels of y, and the folder of feature weights."""


def build_discriminator(config: DiscriminatorConfig, latent_channels: int, weights: str | None = None) -> nn.Module:
    """The discriminator of a recipe, in evaluation mode (see contract.py). weights: folder of feature weights."""
    members = [KINDS[config.kind](config, latent_channels, weights) for _ in range(config.scales)]
    judge = members[0] if config.scales == 1 else MultiScale(members)
    return (HighBands(judge) if config.high_bands else judge).eval()
