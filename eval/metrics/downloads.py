"""Where the weights of feature networks come from, and fetching them: checked, whole or not at all, resumable."""

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gencomp.files import flush, move
from gencomp.perceptual import NETWORKS, sha256

from .archives import DownloadError

BLOCK = 1 << 20  # bytes
TIMEOUT_S = 60


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


def fetch(weights: Weights, folder: Path, source: str | None = None, said: Callable[[int], None] | None = None) -> Path:
    """Fetch a file into `folder`; what an interrupted call left (FILE.part) is gone on with. Returns its path.

    The file gets its name only when its SHA-256 is the published one. source: another address than the published;
    said: is called with the number of bytes as they come. Raises DownloadError.
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
        _continue(source or weights.url, part, said or (lambda count: None))
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


def _continue(url: str, part: Path, said: Callable[[int], None]) -> None:
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
        said(have if answer.status == 206 else 0)
        while block := answer.read(BLOCK):
            file.write(block)
            said(len(block))
        flush(file)
