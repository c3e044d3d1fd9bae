"""LPIPS as a metric and as a loss (Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual
metric", equation 1), and its trunk as a stack of features."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .pyramids import FeatureStack, blur
from .weights import LPIPS_TRUNKS, WeightsError, find_weights, read_weights

if TYPE_CHECKING:
    import lpips


def build_lpips(net: str, trunk: Mapping[str, Tensor]) -> "lpips.LPIPS":
    """The LPIPS network of the `lpips` package (version 0.1, its own linear heads) on a torchvision trunk's state dict.

    net is "alex", "vgg" or "squeeze". The package's slices keep torchvision's layer numbers, so that entry
    `features.3.weight` is found in whichever slice holds a layer named 3.
    """
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision by deprecated names
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    with torch.no_grad():
        for name, parameter in network.net.named_parameters():
            parameter.copy_(trunk["features." + name.partition(".")[2]])
    return network.requires_grad_(False)


def load_lpips(net: str, weights: str | Path | None = None) -> "lpips.LPIPS":
    """The published LPIPS network `net`; its trunk's weights come from `find_weights`. Raises WeightsError."""
    path = find_weights(LPIPS_TRUNKS[net], weights)
    try:
        return build_lpips(net, read_weights(path))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(path.name, f"needs {path.name}, but {path} does not fit the network: {error}") from error


def lpips_loss(network: "lpips.LPIPS", x: Tensor, y: Tensor, *, eps: float = 1e-8) -> Tensor:
    """LPIPS of images in [0, 1] as a loss, (N,): finite gradients where a feature vector is all zero.

    The package divides by sqrt(sum of squares) + eps, whose gradient at zero is infinite; here eps stands inside the
    root (Muckley et al. 2023, MS-ILLM). The metric itself is the network called on the two images.
    """
    total = torch.zeros(x.shape[0], device=x.device)
    maps = (network.net(network.scaling_layer(2 * image - 1)) for image in (x, y))
    for a, b, head in zip(*maps, network.lins):
        unit_a, unit_b = (f * torch.rsqrt((f.square() + eps).sum(1, keepdim=True)) for f in (a.float(), b.float()))
        total = total + head((unit_a - unit_b).square()).mean((1, 2, 3))
    return total


def network_features(network: "lpips.LPIPS", *, scales: int = 3) -> FeatureStack:
    """The feature stack of Balle et al. 2024: the image, then the trunk's maps of the image at `scales` octaves."""

    def features(image: Tensor) -> list[Tensor]:
        stack = [image]
        for _ in range(scales):
            stack += list(network.net(network.scaling_layer(2 * image - 1)))
            image = blur(image, stride=2)
        return stack

    return features
