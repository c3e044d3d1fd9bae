"""The same kind of discriminator on several sizes of the image."""

import torch.nn.functional as F
from torch import Tensor, nn

from .contract import DiscriminatorOutput


class MultiScale(nn.Module):
    """The same kind of discriminator on the image and on its halvings (Wang et al. 2018, pix2pixHD)."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        """See the module."""
        logits, features = [], []
        for index, member in enumerate(self.members):
            output = member(F.avg_pool2d(images, 2**index) if index else images, latents)
            logits += output.logits
            features += output.features
        return DiscriminatorOutput(logits, features)
