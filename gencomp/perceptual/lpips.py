"""LPIPS as a metric and as a loss (Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual
metric", equation 1), its trunk as a stack of features, and the same distance over EfficientNet-Lite0."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .pyramids import FeatureStack, blur
from .weights import NETWORKS, WeightsError, load_network

if TYPE_CHECKING:
    import lpips


def build_lpips(net: str, trunk: Mapping[str, Tensor]) -> "lpips.LPIPS":
    """The LPIPS network of the `lpips` package (version 0.1, its own linear heads) on a torchvision trunk's state dict.

    net is "alex", "vgg" or "squeeze". The package's slices keep torchvision's layer numbers, so that entry
    `features.3.weight` is found in whichever slice holds a layer named 3.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision by deprecated names
        import lpips

        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    with torch.no_grad():
        for name, parameter in network.net.named_parameters():
            parameter.copy_(trunk["features." + name.partition(".")[2]])
    return network.requires_grad_(False)


def load_lpips(net: str, weights: str | Path | None = None) -> "lpips.LPIPS":
    """The published LPIPS network `net`, its trunk from the folder `weights` or TORCH_HOME. Raises WeightsError."""
    trunk = load_network(net, weights)
    try:
        return build_lpips(net, trunk)
    except (KeyError, RuntimeError) as error:
        file = NETWORKS[net].files[0]
        raise WeightsError(file, f"needs {file}: what is there does not fit the network: {error}") from error


def build_lite(state: Mapping[str, Tensor]) -> nn.Module:
    """timm's EfficientNet-Lite0 as a network of five maps (at a half to a 32nd of the size), frozen. RuntimeError."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    wanted = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    missing = wanted - state.keys()
    if missing:
        raise RuntimeError(f"{min(missing)} is missing")
    network.load_state_dict({name: state[name] for name in wanted}, strict=False)
    _fold_norms(network.eval())
    return network.requires_grad_(False)


def _fold_norms(network: nn.Module) -> None:
    """Every batch normalisation becomes part of the convolution before it: a quarter of the time of a gradient."""
    for module in list(network.modules()):
        layers = list(module.named_children())
        for (name, convolution), (norm_name, norm) in pairwise(layers):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, norm))
                setattr(module, norm_name, norm.act)


def load_lite(weights: str | Path | None = None) -> nn.Module:
    """EfficientNet-Lite0 trained on ImageNet, from the folder `weights` or TORCH_HOME. Raises WeightsError."""
    return build_lite(load_network("lite", weights))


def lpips_embedding(network: "lpips.LPIPS", *, eps: float = 1e-8) -> FeatureStack:
    """LPIPS as a space: images (N, 3, H, W) in [0, 1] to maps whose `embedding_distance` is LPIPS.

    The trunk's maps with each feature vector scaled to unit length, times the roots of the head's weights (none is
    negative). The package divides by sqrt(sum of squares) + eps, whose gradient at zero is infinite; here eps stands
    inside the root (Muckley et al. 2023, MS-ILLM). What compares many images with one keeps that one's maps.
    """
    roots = [head.model[-1].weight.detach().sqrt() for head in network.lins]

    def embedding(image: Tensor) -> list[Tensor]:
        maps = network.net(network.scaling_layer(2 * image - 1))
        return [_unit(features, eps) * root.to(image.device) for features, root in zip(maps, roots)]

    return embedding


def lite_embedding(network: nn.Module, *, eps: float = 1e-8) -> FeatureStack:
    """The five maps of EfficientNet-Lite0 of images (N, 3, H, W) in [0, 1]: unit feature vectors over the root of 5.

    Their `embedding_distance` is the distance "lite", 0 to 4: LPIPS without learnt heads, the mean over the maps that
    timm's tf_efficientnet_lite0 gives at a half, quarter, 8th, 16th and 32nd of the size (16 to 320 channels).
    """

    def embedding(image: Tensor) -> list[Tensor]:
        maps = network(2 * image - 1)  # mean and deviation 0.5, as it was trained
        return [_unit(features, eps) / len(maps) ** 0.5 for features in maps]

    return embedding


def _unit(features: Tensor, eps: float) -> Tensor:
    features = features.float()
    return features * torch.rsqrt((features.square() + eps).sum(1, keepdim=True))


def embedding_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The sum over maps of the mean over positions of the squared distance of two stacks, (N,)."""
    return torch.stack([(x - y).square().sum(1).mean((1, 2)) for x, y in zip(a, b, strict=True)]).sum(0)


def lpips_loss(network: "lpips.LPIPS", x: Tensor, y: Tensor) -> Tensor:
    """LPIPS of images in [0, 1] as a loss, (N,). The metric itself is the network called on the two images."""
    embedding = lpips_embedding(network)
    return embedding_distance(embedding(x), embedding(y))


def network_features(network: "lpips.LPIPS", *, scales: int = 3) -> FeatureStack:
    """The feature stack of Balle et al. 2024: the image, then the trunk's maps of the image at `scales` octaves."""

    def features(image: Tensor) -> list[Tensor]:
        stack = [image]
        for _ in range(scales):
            stack += list(network.net(network.scaling_layer(2 * image - 1)))
            image = blur(image, stride=2)
        return stack

    return features
