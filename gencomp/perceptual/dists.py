"""DISTS (Ding et al. 2020, "Image quality assessment: unifying structure and texture similarity"), as published."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from .weights import load_network

DISTS_SIDE = 256  # pixels


def dists(weights: str | Path | None = None, device: str = "cpu") -> Callable[[Tensor, Tensor], float]:
    """DISTS of images (1, 3, H, W) in [0, 1] as its authors' program takes them: the shorter side resized to 256 where
    longer. VGG16 comes from the folder `weights` or TORCH_HOME; raises WeightsError."""
    network = build_dists(load_network("vgg", weights)).to(device).to(memory_format=torch.channels_last)
    return lambda x, y: float(network(for_dists(x).to(device), for_dists(y).to(device)))


def build_dists(trunk: Mapping[str, Tensor]) -> nn.Module:
    """torchmetrics' DISTS network, with its own weights of the comparison, on a torchvision VGG16 state dict.

    Its class downloads its trunk by itself and takes no other, so that it is put together here.
    """
    from torchmetrics.functional.image import dists as module
    from torchvision.models import vgg16

    layers = vgg16(weights=None, init_weights=False).features
    layers.load_state_dict(
        {name.removeprefix("features."): value for name, value in trunk.items() if name.startswith("features.")}
    )
    network = module.DISTSNetwork.__new__(module.DISTSNetwork)
    nn.Module.__init__(network)
    pooled, start = 0, 0
    for stage, end in enumerate((4, 9, 16, 23, 30), 1):  # the published network's stages; all but the first pool first
        parts = nn.Sequential()
        if pooled:
            parts.add_module(str(start), module.L2pooling(channels=pooled))
            start += 1
        for k in range(start, end):
            parts.add_module(str(k), layers[k])
            pooled = getattr(layers[k], "out_channels", pooled)
        network.add_module(f"stage{stage}", parts)
        start = end
    network.chns = [3, 64, 128, 256, 512, 512]
    network.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, -1, 1, 1))
    network.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, -1, 1, 1))
    comparison = torch.load(module._PATH_WEIGHT_DISTS, map_location="cpu", weights_only=True)
    for name in ("alpha", "beta"):
        network.register_parameter(name, nn.Parameter(comparison[name].detach()))
    return network.eval().requires_grad_(False)


def for_dists(image: Tensor) -> Tensor:
    """An image (1, 3, H, W) in [0, 1] as DISTS's `prepare_image` makes it: 8 bits, Pillow's bilinear filter."""
    from torchvision.transforms.functional import resize, to_pil_image, to_tensor

    if min(image.shape[2:]) <= DISTS_SIDE:
        return image
    return to_tensor(resize(to_pil_image(image[0]), DISTS_SIDE))[None]
