"""The one place where the weights of feature networks are found.

Nothing is downloaded here (`gencomp weights --download` does that). A file is looked for by name in a folder that the
user names, then in TORCH_HOME/hub/checkpoints, and checked by SHA-256: the file's own digest where its name promises
one, as torch.hub's names do, else the digest of the tensors in it.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class FeatureNetwork(NamedTuple):
    """A feature network: the names its file may have, and the digest of its tensors (see `tensors_sha256`).

    The first file is the one its authors publish. tensors: needed where a name promises no digest.
    """

    files: tuple[str, ...]
    tensors: str = ""


# LPIPS's trunks as torchvision publishes them or without their classifiers, ImageNet's EfficientNet-Lite0 by timm's
# names, and the Inception network that FID is defined on (torch-fidelity).
NETWORKS: Mapping[str, FeatureNetwork] = {
    "alex": FeatureNetwork(
        ("alexnet-owt-7be5be79.pth", "lpips_alex_trunk.safetensors"),
        "b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7",
    ),
    "vgg": FeatureNetwork(
        ("vgg16-397923af.pth", "lpips_vgg_trunk.safetensors"),
        "441a19f14162bd7500dada8abf5ea122eae6bfb8beb0157b85974ee9aae8a060",
    ),
    "squeeze": FeatureNetwork(("squeezenet1_1-b8a52dc0.pth",)),
    "lite": FeatureNetwork(
        ("tf_efficientnet_lite0-0aa007d2.pth", "tf_efficientnet_lite0.safetensors"),
        "20fee2f1366bb2f5a5b16b02ff53b5d9e0e9b60bf4a0539600942a0173caa736",
    ),
    "inception": FeatureNetwork(("weights-inception-2015-12-05-6726825d.pth",)),
}
PROMISE = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")  # the convention of torch.hub


class WeightsError(ValueError):
    """The weights of a feature network are absent or are not the published ones; `file` names the file wanted."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(message)
        self.file = file


def folder_of_torch() -> Path:
    """Where torch.hub keeps weights: TORCH_HOME/hub/checkpoints."""
    return Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch") / "hub" / "checkpoints"


def networks_present(folder: str | Path | None = None) -> dict[str, Path]:
    """The networks whose files lie in `folder` or in TORCH_HOME, by name; what the files hold is not looked at."""
    paths = {name: _path(network.files, folder) for name, network in NETWORKS.items()}
    return {name: path for name, path in paths.items() if path}


def _path(files: tuple[str, ...], folder: str | Path | None) -> Path | None:
    places = ([Path(folder)] if folder else []) + [folder_of_torch()]
    return next((place / file for place in places for file in files if (place / file).is_file()), None)


def find_weights(*files: str, folder: str | Path | None = None) -> Path:
    """The path of weights that lie under one of the names `files`, in `folder` or in TORCH_HOME/hub/checkpoints.

    A name that ends in -XXXXXXXX.suffix promises the first digits of the file's SHA-256, and the promise is checked.
    Raises WeightsError when no such file is found or when it is another one.
    """
    path = _path(files, folder)
    if path is None:
        raise WeightsError(
            files[0],
            f"needs {files[0]}: gencomp weights --download fetches what it knows; or put {' or '.join(files)} into the "
            "folder named by --weights, or into TORCH_HOME/hub/checkpoints",
        )
    promised = PROMISE.search(path.name)
    if promised and not sha256(path).startswith(promised[1]):
        wrong = f"{path} is another file: its SHA-256 does not begin with {promised[1]}"
        raise WeightsError(path.name, f"needs {path.name}, but {wrong}")
    return path


def load_network(name: str, folder: str | Path | None = None) -> dict[str, Tensor]:
    """The state dictionary of the network `name` of NETWORKS, checked. Raises WeightsError."""
    network = NETWORKS[name]
    path = find_weights(*network.files, folder=folder)
    state = read_weights(path)
    if not PROMISE.search(path.name) and tensors_sha256(state) != network.tensors:
        raise WeightsError(path.name, f"needs {network.files[0]}, but {path} holds other tensors than the published")
    return state


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """Hexadecimal SHA-256 of names, shapes and float32 values in the order of names, without those of a classifier."""
    digest = hashlib.sha256()
    for name in sorted(name for name in state if not name.startswith("classifier")):
        value = state[name]
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.float().contiguous().numpy().data)
    return digest.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dictionary of a .safetensors file, or of a torch file read without executing anything that it holds.

    Raises WeightsError when the file cannot be read as one.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own family of errors for a broken file
        wrong = f"{path} cannot be read: {type(error).__name__}"
        raise WeightsError(path.name, f"needs {path.name}, but {wrong}") from error
    return dict(state.get("state_dict", state))
