"""A discriminator on the features of a frozen network (Sauer et al. 2021, "Projected GANs converge faster").

Features of several depths of a timm network, mixed by fixed random 1x1 projections, each given to a small trained
head that also sees the latents. The network's weights come from a file, from the hub, or are random when asked for by
name ("random": for trials; a random network discriminates poorly).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencomp.perceptual import WeightsError, find_weights, read_weights
from gencomp.perceptual.weights import load_network

from .contract import Condition, Discriminator, DiscriminatorOutput, norm_of

PROJECTED = 64  # channels after the fixed projection


@dataclass(frozen=True)
class Projected(Discriminator):
    """See `Discriminator`."""

    backbone: str = "tf_efficientnet_lite0"  # name of a timm network
    backbone_weights: str = "lite"  # as `gencomp weights` fetches them, a file, "hub", or "random" (for trials only)

    def build(self, latent_channels: int, weights: str | None = None) -> nn.Module:
        """See `Discriminator`."""
        return ProjectedDiscriminator(self, latent_channels, weights)


class ProjectedDiscriminator(nn.Module):
    """Frozen backbone, fixed projections, one trained head per depth."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: Projected, latent_channels: int, weights: str | None = None) -> None:
        super().__init__()
        norm = norm_of(config)
        self.backbone = load_backbone(config.backbone, config.backbone_weights, weights)
        channels = self.backbone.feature_info.channels()  # type: ignore[operator,union-attr]
        generator = torch.Generator().manual_seed(0)
        for index, width in enumerate(channels):
            self.register_buffer(
                f"projection{index}", torch.randn(PROJECTED, width, 1, 1, generator=generator) / width**0.5
            )
        data = self.backbone.default_cfg
        self.register_buffer("mean", torch.tensor(data["mean"])[:, None, None])  # type: ignore[index]
        self.register_buffer("std", torch.tensor(data["std"])[:, None, None])  # type: ignore[index]
        extra = config.condition_channels
        self.condition = Condition(latent_channels, extra, norm) if extra else None
        self.heads = nn.ModuleList(
            nn.ModuleList(
                [norm(nn.Conv2d(PROJECTED + extra, config.width, 3, padding=1)), norm(nn.Conv2d(config.width, 1, 1))]
            )
            for _ in channels
        )

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        """images [N, 3, H, W] in 0..1, latents [N, M, h, w]; one logit map per depth."""
        maps = self.backbone((images - self.mean) / self.std)
        logits, features = [], []
        for index, (level, (layer, head)) in enumerate(zip(maps, self.heads)):  # type: ignore[misc]
            x = F.conv2d(level, getattr(self, f"projection{index}").to(level.dtype))
            if self.condition is not None:
                x = torch.cat([x, self.condition(latents, x.shape[2:]).to(x.dtype)], 1)
            x = F.leaky_relu(layer(x), 0.2)  # type: ignore[has-type]
            features.append(x)
            logits.append(head(x).float())  # type: ignore[has-type]
        return DiscriminatorOutput(logits, features)


def load_backbone(name: str, source: str, folder: str | None) -> nn.Module:
    """The frozen feature extractor `name` of timm; source: "lite", a file's name, "hub" or "random".

    WeightsError where the weights cannot be had; never random unless asked for.
    """
    import timm

    try:
        network = timm.create_model(name, pretrained=source == "hub", features_only=True)
    except Exception as error:  # an unknown name, or a hub that cannot be reached
        raise WeightsError(name, f"needs the timm network {name}: {str(error).splitlines()[0]}") from error
    if source not in ("hub", "random"):
        state = load_network("lite", folder) if source == "lite" else read_weights(find_weights(source, folder=folder))
        missing = network.load_state_dict({k: v for k, v in state.items() if k in network.state_dict()}, strict=False)
        if missing.missing_keys:
            raise WeightsError(source, f"needs {source}: it lacks {missing.missing_keys[0]} of {name}")
    return network.eval().requires_grad_(False)
