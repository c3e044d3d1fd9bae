"""Discriminators: is a picture real, given the latents of the real one?

All of them map pictures [N, 3, H, W] in 0..1 and latents [N, M, H / 16, W / 16] to a `Verdict`. Latent i belongs to
picture i: to judge real and fake in one pass, concatenate pictures and, in the same order, latents.

Spectral norms are brought forward by `advance_spectral_norms`, once a step, and by nothing else: the networks stay in
evaluation mode, so that the number of processes, of accumulated parts and of forward passes changes nothing.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from .recipes import DiscriminatorConfig

STRIDE = 16  # pixels a latent
LABEL_STRIDE = 8  # pixels a label


class Verdict(NamedTuple):
    """logits: one map [N, K, h, w] a scale (see losses.py); features: the maps of the layers before, all scales."""

    logits: list[Tensor]
    features: list[Tensor]


class Condition(nn.Module):
    """Latents brought to a few channels and to the picture's size (HiFiC, Mentzer et al. 2020, figure A6)."""

    def __init__(self, latent_channels: int, channels: int, norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.reduce = norm(nn.Conv2d(latent_channels, channels, 3, padding=1))

    def forward(self, latents: Tensor, size: tuple[int, int]) -> Tensor:
        """latents [N, M, h, w] -> [N, C, *size]."""
        return F.interpolate(F.leaky_relu(self.reduce(latents), 0.2), size, mode="nearest")


class PatchDiscriminator(nn.Module):
    """HiFiC's: four 4x4 convolutions, width 64 to 512, then 1x1 to a logit a patch."""

    def __init__(self, config: DiscriminatorConfig, latent_channels: int) -> None:
        super().__init__()
        norm = _norm(config)
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

    def forward(self, pictures: Tensor, latents: Tensor) -> Verdict:
        """See the module."""
        x = 2 * pictures - 1
        if self.condition is not None:
            x = torch.cat([x, self.condition(latents, x.shape[2:]).to(x.dtype)], 1)
        features = []
        for index, layer in enumerate(self.layers):
            x = F.pad(x, (1, 2, 1, 2)) if index == 3 else x  # "SAME" padding of an even kernel
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return Verdict([self.head(x).float()], features)


class UNetDiscriminator(nn.Module):
    """An encoder and a decoder with skips, a logit (or 1 + labels of them) a position.

    After OASIS (Schoenfeld et al. 2021) and, with labels, MS-ILLM (Muckley et al. 2023): without labels a verdict on
    each pixel, with labels one on each 8x8 patch.
    """

    def __init__(self, config: DiscriminatorConfig, latent_channels: int) -> None:
        super().__init__()
        norm = _norm(config)
        extra, width = config.condition_channels, config.width
        self.condition = Condition(latent_channels, extra, norm) if extra else None
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]  # at 1/1, 1/2, 1/4, 1/8 and 1/16
        self.stem = norm(nn.Conv2d(3 + extra, width, 3, padding=1))
        self.down = nn.ModuleList(norm(nn.Conv2d(i, o, 4, 2, padding=1)) for i, o in pairwise(widths))
        steps = 1 if config.labels else 4
        sides = list(zip(widths[:0:-1], widths[-2::-1]))[:steps]
        self.up = nn.ModuleList(norm(nn.Conv2d(i + o, o, 3, padding=1)) for i, o in sides)
        self.head = norm(nn.Conv2d(sides[-1][1], 1 + config.labels, 1))

    def forward(self, pictures: Tensor, latents: Tensor) -> Verdict:
        """Sides a multiple of 16."""
        x = 2 * pictures - 1
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
        return Verdict([self.head(x).float()], features)


class MultiScale(nn.Module):
    """The same kind of discriminator on the picture and on its halvings (Wang et al. 2018, pix2pixHD)."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pictures: Tensor, latents: Tensor) -> Verdict:
        """See the module."""
        logits, features = [], []
        for index, member in enumerate(self.members):
            verdict = member(F.avg_pool2d(pictures, 2**index) if index else pictures, latents)
            logits += verdict.logits
            features += verdict.features
        return Verdict(logits, features)


def build_discriminator(config: DiscriminatorConfig, latent_channels: int, weights: str | None = None) -> nn.Module:
    """The discriminator of a recipe, in evaluation mode (see the module). weights: folder of feature weights."""
    if config.kind == "projected":
        from .projected import ProjectedDiscriminator

        return ProjectedDiscriminator(config, latent_channels, weights).eval()
    kind = PatchDiscriminator if config.kind == "patch" else UNetDiscriminator
    members = [kind(config, latent_channels) for _ in range(config.scales)]
    return (members[0] if config.scales == 1 else MultiScale(list(members))).eval()


def _norm(config: DiscriminatorConfig) -> Callable[[nn.Module], nn.Module]:
    """Spectral normalisation (Miyato et al. 2018), or nothing."""
    return parametrizations.spectral_norm if config.spectral_norm else _unchanged


def _unchanged(module: nn.Module) -> nn.Module:
    return module


@torch.no_grad()
def advance_spectral_norms(network: nn.Module) -> None:
    """One power iteration of every spectral norm in the network."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            norm = cast(nn.Module, module.parametrizations.weight)  # type: ignore[union-attr]
            norm.train()
            _ = module.weight
            norm.eval()
