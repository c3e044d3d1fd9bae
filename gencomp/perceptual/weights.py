"""The one place where the weights of feature networks are found.

Nothing is downloaded. `find_weights` looks for a file under its published name in a folder that the user names, then in
`TORCH_HOME/hub/checkpoints`, checks it by SHA-256, and otherwise says which file is wanted and what needs no weights.
"""

import hashlib
import os
import re
from pathlib import Path

import torch
from torch import Tensor

# The published file names of LPIPS trunks (torchvision) and of the Inception network that FID is defined on
# (torch-fidelity). The eight digits before the suffix are the beginning of the file's SHA-256.
LPIPS_TRUNKS = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


class WeightsError(ValueError):
    """The weights of a feature network are absent or are not the published ones; `file` names the file wanted."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(message)
        self.file = file


def find_weights(file: str, folder: str | Path | None = None) -> Path:
    """The path of the weights published as `file`, from `folder` or from TORCH_HOME/hub/checkpoints.

    A name that ends in -XXXXXXXX.suffix promises the first digits of the file's SHA-256 (the convention of torch.hub),
    and the promise is checked. Raises WeightsError when no such file is found or when it is another one.
    """
    torch_home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    places = ([Path(folder)] if folder else []) + [torch_home / "hub" / "checkpoints"]
    path = next((place / file for place in places if (place / file).is_file()), None)
    if path is None:
        raise WeightsError(
            file,
            f"needs {file}: put it into the folder named by --weights, or into TORCH_HOME/hub/checkpoints "
            "(without weights: wasserstein over steerable features, ms_ssim)",
        )
    promised = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", file)
    if promised and not sha256(path).startswith(promised[1]):
        wrong = f"{path} is another file: its SHA-256 does not begin with {promised[1]}"
        raise WeightsError(file, f"needs {file}, but {wrong}")
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
