"""HiFiC's discriminator of patches (Mentzer et al. 2020, figure A6)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import Condition, Discriminator, DiscriminatorOutput, norm_of


@dataclass(frozen=True)
class Patch(Discriminator):
    """See `Discriminator`."""

    def build(self, latent_channels: int, weights: str | None = None) -> nn.Module:
        """See `Discriminator`."""
        return PatchDiscriminator(self, latent_channels)


class PatchDiscriminator(nn.Module):
    """HiFiC's: four 4x4 convolutions, width 64 to 512, then 1x1 to a logit per patch."""

    def __init__(self, config: Patch, latent_channels: int) -> None:
        super().__init__()
        norm = norm_of(config)
        extra, width = config.condition_channels, config.width
        self.condition = Condition(latent_channels, extra, norm) if extra else None
        widths = (3 + extra, width, 2 * width, 4 * width, 8 * width)
        layers = []
        for index, (inputs, outputs) in enumerate(pairwise(widths)):
            last = index == 3
            conv = nn.Conv2d(inputs, outputs, 4, 1 if last else 2, 0 if last else 1)
            layers.append(norm(conv))
        self.layers = nn.ModuleList(layers)
        self.head = norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        """See the module."""
        x = 2 * images - 1
        if self.condition is not None:
            condition = self.condition(latents, x.shape[2:])
            x = torch.cat([x.to(condition.dtype), condition], 1)
        features = []
        for index, layer in enumerate(self.layers):
            x = F.pad(x, (1, 2, 1, 2)) if index == 3 else x  # "SAME" padding of an even kernel
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return DiscriminatorOutput([self.head(x).float()], features)
