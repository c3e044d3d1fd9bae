"""Metrics that need a feature network: LPIPS and its kin, DISTS, and the features behind FID and others of sets.

Every network is made of weights that `gencomp.perceptual` finds and checks; where they are absent these functions raise
WeightsError, and nothing is measured.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gencomp.perceptual.dists import dists as dists
from gencomp.perceptual.lpips import (
    embedding_distance,
    lite_embedding,
    load_lite,
    load_lpips,
    lpips_embedding,
    network_features,
)
from gencomp.perceptual.pyramids import FeatureStack
from gencomp.perceptual.weights import NETWORKS, WeightsError, find_weights, load_network, read_weights

from .table import by_sides

Compare = Callable[[Tensor, Tensor], float]
Extract = Callable[[Tensor], Tensor]  # uint8 (N, 3, H, W) -> float (N, D)

DINOV2 = "vit_large_patch14_dinov2.lvd142m"  # the network of FD-DINOv2 (Stein et al. 2023), by its name in timm
SWAV = "swav_800ep_pretrain.pth.tar"  # ResNet-50 of Caron et al. 2020, under its authors' file name
BATCH = 16
ALEX_SIDE = 121  # pixels; the third octave of it has 31, the least that AlexNet's layers leave anything of


def lpips(net: str, weights: Path | None, device: str) -> Compare:
    """LPIPS, version 0.1, with the trunk "alex" or "vgg" and the heads of the `lpips` package."""
    network = load_lpips(net, weights).to(device).to(memory_format=torch.channels_last)  # VGG: a third of the time
    return _distance(lpips_embedding(network), device)


def lite(weights: Path | None, device: str) -> Compare:
    """The distance of EfficientNet-Lite0's features, LPIPS without learnt heads (`perceptual.lite_embedding`)."""
    return _distance(lite_embedding(load_lite(weights).to(device)), device)


def _distance(embedding: FeatureStack, device: str) -> Compare:
    @torch.inference_mode()
    def embed(image: Tensor) -> list[Tensor]:
        return embedding(image.to(device).to(memory_format=torch.channels_last))

    return by_sides(embed, embed, lambda a, b: float(embedding_distance(a, b)))


def alex_features(weights: Path | None, device: str) -> FeatureStack:
    """The stack of Wasserstein distortion over AlexNet (Balle et al. 2024): the image, LPIPS's trunk at three octaves.
    ValueError for images under ALEX_SIDE pixels a side, whose third octave AlexNet cannot take."""
    features = network_features(load_lpips("alex", weights).to(device))

    @torch.inference_mode()
    def checked(image: Tensor) -> list[Tensor]:
        if min(image.shape[2:]) < ALEX_SIDE:
            raise ValueError(f"needs sides of at least {ALEX_SIDE} pixels")
        return features(image.to(device))

    return checked


def build_inception(state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The 2048 pooled features of the Inception network that FID is defined on, with its own resizing to 299 pixels."""
    from torch_fidelity import FeatureExtractorInceptionV3

    with tempfile.TemporaryDirectory() as folder:
        # The class reads a pickle; what it reads here was written here, from tensors.
        path = Path(folder, "inception.pth")
        torch.save(dict(state), path)
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    network.to(device)
    return lambda images: network(images.to(device))[0]


def build_timm(name: str, state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The pooled features of a timm model, after its own resizing, crop-free, and normalisation."""
    import timm

    given, options = dict(state), dict[str, Any]()
    if "dinov2" in name:  # 224 pixels, as FD-DINOv2 takes them; the positions are interpolated to it
        options = {"img_size": 224}
    network = timm.create_model(name, pretrained=False, num_classes=0, **options)
    if options:
        convert: Any = timm.models.vision_transformer.checkpoint_filter_fn
        given = convert(given, network)
    config = timm.data.resolve_model_data_config(network) | ({"input_size": (3, 224, 224)} if options else {})
    return _normalised(_loaded(network, given, device), config, device)


def build_swav(state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The 2048 pooled features of SwAV's ResNet-50 (Morozov et al. 2021 for the distance)."""
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    network.fc = nn.Identity()
    given = {key.removeprefix("module."): value for key, value in state.items()}
    config = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return _normalised(_loaded(network, given, device), config, device)


def build_lite(state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The 1280 pooled features of EfficientNet-Lite0, of images as they are: nothing is resized."""
    import timm

    network = _loaded(timm.create_model("tf_efficientnet_lite0", num_classes=0), state, device, strict=False)
    return lambda images: network(images.to(device).float() / 127.5 - 1)  # mean and deviation 0.5, as it was trained


def _loaded(network: nn.Module, given: Mapping[str, Tensor], device: str, strict: bool = True) -> nn.Module:
    """A network with those of the weights that it has entries for, ready to be asked. strict: it must get them all."""
    wanted = network.state_dict().keys()
    network.load_state_dict({key: value for key, value in given.items() if key in wanted}, strict=strict)
    return network.eval().requires_grad_(False).to(device)


def _normalised(network: nn.Module, config: Mapping[str, Any], device: str) -> Extract:
    from kornia.enhance import normalize

    side = tuple(config["input_size"])[1:]
    mean, std = (torch.tensor(config[key], device=device) for key in ("mean", "std"))

    def extract(images: Tensor) -> Tensor:
        x = images.to(device).float() / 255
        return network(normalize(F.interpolate(x, side, mode="bicubic", antialias=True).clamp(0, 1), mean, std))

    return extract


def features(name: str, weights: Path | None, device: str = "cpu") -> Extract:
    """The extractor of a feature name: "inception", "lite", "swav", "dinov2", or "timm:MODEL". A timm model's file is
    MODEL.safetensors or MODEL.pth, with timm's own entry names. Raises WeightsError."""
    if name == "lite":
        return build_lite(load_network("lite", weights), device)
    model = DINOV2 if name == "dinov2" else name.removeprefix("timm:")
    known = {"inception": NETWORKS["inception"].files, "swav": (SWAV,)}
    files = known.get(name, (f"{model}.safetensors", f"{model}.pth"))
    build = {"inception": build_inception, "swav": build_swav}.get(name, partial(build_timm, model))
    path = find_weights(*files, folder=weights)
    try:
        return build(read_weights(path), device)
    except (RuntimeError, KeyError) as error:  # torch's for shapes and names, timm's for an unknown model
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(path.name, f"needs {path.name}, but {path} does not fit {name}: {reason}") from error


def patches(image: Tensor, side: int) -> Tensor:
    """HiFiC's patches of an image uint8 (3, H, W): (N, 3, side, side).

    The grid of whole patches from the corner, then the grid shifted by half a patch both ways (Mentzer et al. 2020):
    a 768x512 image gives 6 + 2 at 256 pixels. An image below `side` gives none.
    """
    from kornia.contrib import extract_tensor_patches

    shifted = (image[None, :, shift:, shift:] for shift in (0, side // 2))
    whole = (x[:, :, : x.shape[2] // side * side, : x.shape[3] // side * side] for x in shifted)
    grids = [extract_tensor_patches(x, side, side)[0] for x in whole if x.numel()]
    return torch.cat(grids) if grids else image.new_empty(0, 3, side, side)


@torch.no_grad()
def extract_all(extract: Extract, images: Tensor) -> Tensor:
    """Features of (N, 3, H, W) in batches."""
    return torch.cat([extract(batch) for batch in images.split(BATCH)]).float().cpu()


Array = NDArray[np.float64]
KID_SUBSET, KID_SUBSETS = 1000, 100


def frechet(a: Array, b: Array) -> float:
    """Frechet distance of the Gaussians with the sets' means and covariances (Heusel et al. 2017, equation 6).

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2); the symmetric form needs real square roots alone. With
    fewer vectors than dimensions the covariances are singular and the distance is biased upwards: compare equal
    numbers only. Raises ValueError below two vectors.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("needs at least two patches")
    a, b = a.astype(np.float64), b.astype(np.float64)
    offset = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(offset @ offset + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def kernel(a: Array, b: Array, seed: int = 0) -> float:
    """Kernel distance: the unbiased squared MMD under (x.y / D + 1)^3 (Binkowski et al. 2018), about 0 for equal sets.
    Of at most 1000 vectors all are used at once; of more, the mean over 100 random subsets of 1000 from each set."""
    size = min(len(a), len(b), KID_SUBSET)
    if size < 2:
        raise ValueError("needs at least two patches")
    if max(len(a), len(b)) <= KID_SUBSET:
        return _mmd(a, b)
    draw = np.random.default_rng(seed)
    subsets = (
        _mmd(a[draw.choice(len(a), size, replace=False)], b[draw.choice(len(b), size, replace=False)])
        for _ in range(KID_SUBSETS)
    )
    return float(np.mean(list(subsets)))


def _mmd(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    n, m = len(a), len(b)
    aa, bb, ab = ((x @ y.T / a.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())
