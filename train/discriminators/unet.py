"""A discriminator with a logit, or logits of labels, per position."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..recipe import DiscriminatorConfig
from .contract import Condition, DiscriminatorOutput, norm_of


class UNetDiscriminator(nn.Module):
    """An encoder and a decoder with skips, a logit (or 1 + labels of them) per position.

    After OASIS (Schoenfeld et al. 2021) and, with labels, MS-ILLM (Muckley et al. 2023): without labels a logit per
    pixel, with labels 1 + labels of them per 8x8 patch.
    """

    def __init__(self, config: DiscriminatorConfig, latent_channels: int, weights: str | None = None) -> None:
        super().__init__()
        norm = norm_of(config)
        extra, width = config.condition_channels, config.width
        self.condition = Condition(latent_channels, extra, norm) if extra else None
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]  # at 1/1, 1/2, 1/4, 1/8 and 1/16
        self.stem = norm(nn.Conv2d(3 + extra, width, 3, padding=1))
        self.down = nn.ModuleList(norm(nn.Conv2d(i, o, 4, 2, padding=1)) for i, o in pairwise(widths))
        steps = 1 if config.labels else 4
        sides = list(zip(widths[:0:-1], widths[-2::-1]))[:steps]
        self.up = nn.ModuleList(norm(nn.Conv2d(i + o, o, 3, padding=1)) for i, o in sides)
        self.head = norm(nn.Conv2d(sides[-1][1], 1 + config.labels, 1))

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        """Sides a multiple of 16."""
        x = 2 * images - 1
        if self.condition is not None:
            x = torch.cat([x, self.condition(latents, x.shape[2:]).to(x.dtype)], 1)
        maps = [F.leaky_relu(self.stem(x), 0.2)]
        for layer in self.down:
            maps.append(F.leaky_relu(layer(maps[-1]), 0.2))
        x, features = maps[-1], maps[1:]
        for layer, skip in zip(self.up, maps[-2::-1]):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.leaky_relu(layer(torch.cat([x, skip], 1)), 0.2)
            features = [*features, x]
        return DiscriminatorOutput([self.head(x).float()], features)
