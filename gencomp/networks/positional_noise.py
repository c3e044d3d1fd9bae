"""Positional noise: what the synthesis draws texture from where the latents say that there is some, and not which.

Convolutions make of even latents a pattern as regular as their pixel shuffles; noise breaks it (Karras et al. 2019,
StyleGAN, section 3.2). The noise is a hash of the position, in whole numbers: the same on every machine, in every tile.
Model files and configurations store it under the name `grain`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 4  # of noise at each resolution where it enters
FACTORS = (2, 4)  # positions per latent, at 1/8 and at 1/4 of the image's sides
NOISE_CHANNELS = CHANNELS * sum(f**2 for f in FACTORS)  # at the latents' resolution

_MULTIPLIER = 0x2C1B3C6D  # odd, and below 2**30, so that no product leaves int64
_MASK = 2**32 - 1


def positional_noise(origin: Tensor, height: int, width: int) -> Tensor:
    """Noise of the latents at rows and columns from `origin` on: [N, 2] int -> [N, NOISE_CHANNELS, h, w].

    Even in -1/2..1/2; a value depends on its own row, column and channel alone. Coordinates are taken modulo 2**32.
    """
    device = origin.device
    rows = origin[:, 0, None].long() + torch.arange(height, device=device)
    columns = origin[:, 1, None].long() + torch.arange(width, device=device)
    channels = torch.arange(NOISE_CHANNELS, device=device)
    mixed = _mix(_mix(rows)[:, :, None] + columns[:, None])[:, None] + channels[:, None, None]
    return _mix(mixed).float() / 2**32 - 0.5


def _mix(x: Tensor) -> Tensor:
    """32-bit hash of each number, int64 0..2**32 - 1."""
    x = x & _MASK
    for _ in range(2):
        x = ((x ^ (x >> 16)) * _MULTIPLIER) & _MASK
        x = ((x ^ (x >> 13)) + 0x9E3779B9) & _MASK
    return x ^ (x >> 15)


class PositionalNoise(nn.Module):
    """x + realism * (P noise) * (1 + G x): 1x1 convolutions P, zero until stage 2, and G, which says where."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(CHANNELS, channels, 1, bias=False)
        self.gate = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.project.weight)

    def forward(self, x: Tensor, noise: Tensor, realism: Tensor) -> Tensor:
        """x [N, C, h f, w f], noise [N, CHANNELS f^2, h, w], realism [N] in 0..1 -> like x."""
        factor = x.shape[2] // noise.shape[2]
        drawn = self.project(F.pixel_shuffle(noise, factor))
        return x + realism[:, None, None, None].to(x.dtype) * drawn * (1 + self.gate(x))
