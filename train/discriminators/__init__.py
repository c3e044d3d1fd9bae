"""Discriminators: is an image real, given the latents of the real one?

All of them map images [N, 3, H, W] in 0..1 and latents [N, M, H / 16, W / 16] to a `DiscriminatorOutput`. Latent i
belongs to image i: to judge real and fake in one pass, concatenate images and, in the same order, latents. A new one is
a file with its settings, which build it, and a row of `KINDS`.
"""

from .contract import Discriminator, DiscriminatorOutput, advance_spectral_norms
from .patch import Patch

__all__ = ["KINDS", "Discriminator", "DiscriminatorOutput", "advance_spectral_norms"]

KINDS: dict[str, Discriminator] = {"patch": Patch()}
"""By the name that recipes use: the settings that hold where a recipe does not say otherwise."""
