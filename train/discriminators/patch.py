"""HiFiC's discriminator of patches (Mentzer et al. 2020, figure A6)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from .contract import Discriminator, DiscriminatorOutput


@dataclass(frozen=True)
class Patch(Discriminator):
    def build(self, latent_channels: int, weights: str | None = None) -> nn.Module:
        return PatchDiscriminator(self, latent_channels)


class PatchDiscriminator(nn.Module):
    """Four 4x4 convolutions, width 64 to 512, then 1x1 to a logit per patch, under spectral normalisation (Miyato et
    al. 2018); the latents are brought to a few channels and to the image's size."""

    def __init__(self, config: Patch, latent_channels: int) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
            return parametrizations.spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))

        extra, width = config.condition_channels, config.width
        self.condition = nn.ModuleDict({"reduce": conv(latent_channels, extra, 3, 1, 1)}) if extra else None
        widths = pairwise((3 + extra, width, 2 * width, 4 * width, 8 * width))
        self.layers = nn.ModuleList(conv(i, o, 4, *form) for (i, o), form in zip(widths, [(2, 1)] * 3 + [(1, 0)]))
        self.head = conv(8 * width, 1, 1)

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        x = 2 * images - 1
        if self.condition is not None:
            condition = F.leaky_relu(self.condition["reduce"](latents), 0.2)
            condition = F.interpolate(condition, x.shape[2:], mode="nearest")
            x = torch.cat([x.to(condition.dtype), condition], 1)
        features = []
        for index, layer in enumerate(self.layers):
            x = F.pad(x, (1, 2, 1, 2)) if index == 3 else x  # "SAME" padding of an even kernel
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return DiscriminatorOutput([self.head(x).float()], features)
