"""A vector quantiser of 8x8 patches: the labels of the non-binary discriminator (Muckley et al. 2023, MS-ILLM).

A small VQ-VAE (van den Oord et al. 2017, eq. 3) with codes and features of unit length (Yu et al. 2022, ViT-VQGAN),
which keeps more codes in use.
"""

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencomp.perceptual import WeightsError, find_weights, read_weights

CODE_CHANNELS = 16
COMMITMENT = 0.25


class Labelled(NamedTuple):
    """labels int64 [N, H / 8, W / 8]; loss [N]: reconstruction, codes towards features, features towards codes."""

    labels: Tensor
    loss: Tensor


class LabelNetwork(nn.Module):
    """Images [N, 3, H, W] in 0..1 to one of `labels` codes per patch of 8x8 pixels."""

    def __init__(self, labels: int, width: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, CODE_CHANNELS, 1),
        )
        self.codes = nn.Parameter(torch.randn(labels, CODE_CHANNELS))
        self.decoder = nn.Sequential(
            nn.Conv2d(CODE_CHANNELS, 2 * width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 192, 1),
            nn.PixelShuffle(8),
        )

    def forward(self, images: Tensor) -> Labelled:
        """Labels, and the loss that trains them."""
        features = F.normalize(self.encoder(2 * images - 1).float(), dim=1)
        codes = F.normalize(self.codes, dim=1)
        labels = torch.einsum("nchw,kc->nkhw", features, codes).argmax(1)
        chosen = F.embedding(labels, codes).movedim(3, 1)
        passed = features + (chosen - features).detach()  # straight through
        error = (self.decoder(passed).float() - (2 * images - 1)).square().mean((1, 2, 3))
        pull = (chosen - features.detach()).square().mean((1, 2, 3))
        commit = (features - chosen.detach()).square().mean((1, 2, 3))
        return Labelled(labels, error + pull + COMMITMENT * commit)


def load_label_network(labels: int, source: str, folder: str | Path | None = None) -> LabelNetwork:
    """A trained label network from a safetensors file, frozen; WeightsError if it is absent or does not fit."""
    path = Path(source) if Path(source).is_file() else find_weights(source, folder=folder)
    network = LabelNetwork(labels)
    try:
        network.load_state_dict(read_weights(path))
    except RuntimeError as error:
        raise WeightsError(source, f"needs {source}: it is no label network of {labels} labels") from error
    return network.eval().requires_grad_(False)
