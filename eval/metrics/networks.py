"""Measures that need a feature network: LPIPS, DISTS, and the features behind FID and KID.

Every network is made of weights that `gencomp.perceptual` finds and checks; where they are absent these functions raise
WeightsError, and nothing is measured.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gencomp.perceptual import INCEPTION, LPIPS_TRUNKS, WeightsError, find_weights, load_lpips, read_weights

Compare = Callable[[Tensor, Tensor], float]
Extract = Callable[[Tensor], Tensor]  # uint8 (N, 3, H, W) -> float (N, D)

DINOV2 = "vit_large_patch14_dinov2.lvd142m"  # the network of FD-DINOv2 (Stein et al. 2023), by its name in timm
SWAV = "swav_800ep_pretrain.pth.tar"  # ResNet-50 of Caron et al. 2020, under its authors' file name
BATCH = 16


def lpips(net: str, weights: Path | None, device: torch.device) -> Compare:
    """LPIPS of the `lpips` package, version 0.1, with the trunk "alex" or "vgg"."""
    network = load_lpips(net, weights).to(device)

    @torch.no_grad()
    def compare(x: Tensor, y: Tensor) -> float:
        return float(network(x.to(device), y.to(device), normalize=True))

    return compare


def build_dists(trunk: Mapping[str, Tensor]) -> nn.Module:
    """torchmetrics' DISTS network, with its own weights of the comparison, on a torchvision VGG16 state dict."""
    from torchmetrics.functional.image import dists
    from torchvision.models import vgg16

    bare = vgg16(weights=None, init_weights=False)
    bare.features.load_state_dict(
        {name.removeprefix("features."): value for name, value in trunk.items() if name.startswith("features.")}
    )
    # The class downloads its trunk by itself and takes no other.
    with mock.patch.object(dists, "vgg16", return_value=bare):
        return dists.DISTSNetwork().eval().requires_grad_(False)


def dists(weights: Path | None, device: torch.device) -> Compare:
    """DISTS (Ding et al. 2020); pictures are not resized."""
    network = build_dists(read_weights(find_weights(LPIPS_TRUNKS["vgg"], weights))).to(device)
    return lambda x, y: float(network(x.to(device), y.to(device)))


def build_inception(state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The 2048 pooled features of the Inception network that FID is defined on, with its own resizing to 299 pixels."""
    from torch_fidelity import FeatureExtractorInceptionV3

    with tempfile.TemporaryDirectory() as folder:
        # The class reads a pickle; what it reads here was written here, from tensors.
        path = Path(folder, "inception.pth")
        torch.save(dict(state), path)
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    network.to(device)
    return lambda pictures: network(pictures.to(device))[0]


def build_timm(name: str, state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The pooled features of a timm model, after its own resizing, crop-free, and normalisation."""
    import timm

    given = dict(state)
    if "dinov2" in name:  # 224 pixels, as FD-DINOv2 takes them; the positions are interpolated to it
        network = timm.create_model(name, pretrained=False, num_classes=0, img_size=224)
        convert: Callable[..., dict[str, Tensor]] = timm.models.vision_transformer.checkpoint_filter_fn
        given = convert(given, network)
    else:
        network = timm.create_model(name, pretrained=False, num_classes=0)
    wanted = network.state_dict().keys()
    network.load_state_dict({key: value for key, value in given.items() if key in wanted})
    config = timm.data.resolve_model_data_config(network)
    if "dinov2" in name:
        config["input_size"] = (3, 224, 224)
    return _normalised(network.eval().requires_grad_(False).to(device), config, device)


def build_swav(state: Mapping[str, Tensor], device: str = "cpu") -> Extract:
    """The 2048 pooled features of SwAV's ResNet-50 (Morozov et al. 2021 for the distance)."""
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    network.fc = nn.Identity()
    wanted = network.state_dict().keys()
    network.load_state_dict({k: v for key, v in state.items() if (k := key.removeprefix("module.")) in wanted})
    config = {"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    return _normalised(network.eval().requires_grad_(False).to(device), config, device)


def _normalised(network: nn.Module, config: Mapping[str, object], device: str) -> Extract:
    """A network behind the resizing (bicubic, antialiased) and normalisation that its configuration asks for."""
    size = config["input_size"]
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    def extract(pictures: Tensor) -> Tensor:
        x = pictures.to(device).float() / 255
        x = F.interpolate(x, tuple(size)[1:], mode="bicubic", antialias=True).clamp(0, 1)  # type: ignore[arg-type]
        return network((x - mean.to(x)) / std.to(x))

    return extract


def features(name: str, weights: Path | None, device: str = "cpu") -> Extract:
    """The extractor of a feature name: "inception", "swav", "dinov2", or "timm:MODEL".

    A timm model's file is MODEL.safetensors or MODEL.pth, with timm's own entry names. Raises WeightsError.
    """
    model = DINOV2 if name == "dinov2" else name.removeprefix("timm:")
    files = {"inception": [INCEPTION], "swav": [SWAV]}.get(name, [f"{model}.safetensors", f"{model}.pth"])
    build = {"inception": build_inception, "swav": build_swav}.get(name, partial(build_timm, model))
    for file in files:
        try:
            path = find_weights(file, weights)
            break
        except WeightsError as error:
            if "another file" in str(error):
                raise
    else:
        raise WeightsError(files[0], f"needs {' or '.join(files)}: put it into the folder named by --weights")
    try:
        return build(read_weights(path), device)
    except (RuntimeError, KeyError) as error:  # torch's for shapes and names, timm's for an unknown model
        reason = " ".join(str(error).split())[:120]
        raise WeightsError(path.name, f"needs {path.name}, but {path} does not fit {name}: {reason}") from error


def patches(picture: Tensor, side: int) -> Tensor:
    """HiFiC's patches of a picture uint8 (3, H, W): (N, 3, side, side).

    The grid of whole patches from the corner, then the grid shifted by half a patch both ways (Mentzer et al. 2020):
    a 768x512 picture gives 6 + 2 at 256 pixels. A picture below `side` gives none.
    """
    found = []
    for shift in (0, side // 2):
        rows, columns = ((length - shift) // side for length in picture.shape[1:])
        if rows > 0 and columns > 0:
            grid = picture[:, shift : shift + rows * side, shift : shift + columns * side]
            found.append(grid.unfold(1, side, side).unfold(2, side, side).flatten(1, 2).transpose(0, 1))
    return torch.cat(found) if found else picture.new_empty(0, 3, side, side)


@torch.no_grad()
def extract_all(extract: Extract, pictures: Tensor) -> Tensor:
    """Features of (N, 3, H, W) in batches."""
    return torch.cat([extract(batch) for batch in pictures.split(BATCH)]).float().cpu()
