"""What a discriminator is.

Spectral norms are brought forward by `advance_spectral_norms`, once a step, and by nothing else: the networks stay in
evaluation mode, so that the number of processes, of accumulated parts and of forward passes changes nothing.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class DiscriminatorOutput(NamedTuple):
    """logits: one map [N, K, h, w] per scale (see losses.py); features: the maps of the layers before, all scales."""

    logits: list[Tensor]
    features: list[Tensor]


@dataclass(frozen=True)
class Discriminator(ABC):
    """Settings of every discriminator; a kind adds its own, and `build`. The two weights count times the realism."""

    weight: float = 0.0  # of the generator's loss against it
    feature_matching: float = 0.0
    spares_text: float = 0.0  # share of its gradient that text is not shown, see losses.py
    r1: float = 0.0  # gradient penalty on real images, every 16th step
    width: int = 64  # channels of the first layer
    condition_channels: int = 12  # the latents are brought to so many channels; 0: unconditional
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.9

    @abstractmethod
    def build(self, latent_channels: int, weights: str | None = None) -> nn.Module:
        """Of images and latents, see the package; WeightsError for a network that is not in the folder `weights`."""


@torch.no_grad()
def advance_spectral_norms(network: nn.Module) -> None:
    """One power iteration of every spectral norm in the network."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            norm = cast(nn.Module, module.parametrizations.weight)  # type: ignore[union-attr]
            norm.train()
            _ = module.weight
            norm.eval()
