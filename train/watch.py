"""What a person sees of a run: the progress line, log.jsonl, a tracker, sample grids, and rates of real files."""

import json
import math
import resource
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from gencomp.bitstream import STEPS, step_to_quality
from gencomp.codec import Codec
from gencomp.files import write_atomically
from gencomp.image import to_uint8, write_image
from gencomp.networks.contract import Calibration, Network

from .export import to_model
from .network import quantise

GRID = 4  # pictures of a sample grid
VALIDATED = 4  # pictures of a validation


class Window:
    """Sums of figures since the last line of the log, on the device; saved with a checkpoint, so that a resumed run
    writes the lines of an unbroken one."""

    def __init__(self) -> None:
        self.count, self.names, self.sums = 0, list[str](), torch.zeros(0)

    def add(self, names: list[str], values: Tensor) -> None:
        """One step's figures, float64 [len(names)]."""
        if names != self.names:  # the first step of a kind
            self.count, self.names, self.sums = 0, names, torch.zeros_like(values)
        self.count += 1
        self.sums = self.sums + values

    def means(self) -> dict[str, float]:
        """Mean of each figure."""
        return dict(zip(self.names, (self.sums / max(1, self.count)).tolist()))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: exact, as JSON keeps every digit of a float."""
        return {"count": self.count, "names": self.names, "sums": self.sums.tolist()}

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """The reverse of `state`."""
        self.count, self.names = state["count"], state["names"]
        self.sums = torch.tensor(state["sums"], dtype=torch.float64, device=device)


def readable(means: dict[str, float]) -> dict[str, float]:
    """Means as the log shows them: the sums near the middle quality divided by their count."""
    shown = {k: v for k, v in means.items() if not k.startswith("_")}
    if means.get("_middle"):
        shown["bpp_middle"] = means["_middle_bpp"] / means["_middle"]
        shown["psnr_middle"] = 10 * math.log10(255**2 / (means["_middle_mse"] / means["_middle"]))
    return shown


class RunLog:
    """OUT/log.jsonl and the trackers that Accelerate knows; one process writes."""

    def __init__(self, out: Path, accelerator: Accelerator, trackers: list[str], recipe: dict[str, Any]) -> None:
        self.path, self.accelerator = out / "log.jsonl", accelerator
        if accelerator.is_main_process:
            cut_unfinished_line(self.path)
        if trackers:
            accelerator.init_trackers("gencomp", config=_flat(recipe))

    def write(self, line: dict[str, Any]) -> None:
        """One line, and its numbers to the trackers."""
        if self.accelerator.is_main_process:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if self.accelerator.trackers:
            numbers = {k: v for k, v in line.items() if isinstance(v, (int, float)) and k != "step"}
            self.accelerator.log(numbers, step=line.get("step"))

    def picture(self, path: Path, step: int) -> None:
        """A sample grid to the trackers that show pictures."""
        pixels = np.asarray(Image.open(path))[None]
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({"samples": pixels}, step=step, dataformats="NHWC")
            elif hasattr(tracker, "log_images"):
                tracker.log_images({"samples": list(pixels)}, step=step)


def cut_unfinished_line(path: Path) -> None:
    """Take away what a killed process left of its last line."""
    if path.is_file():
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            write_atomically(path, whole)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, (int, float, bool)) else str(value)
    return flat


def memory_gib(device: torch.device) -> float:
    """Peak memory: of the device where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Stopwatch:
    """Time since the last look, and how much of it was spent waiting for data."""

    def __init__(self) -> None:
        self.began, self.waited, self.mark = time.monotonic(), 0.0, 0.0

    def waiting(self) -> None:
        """The loop asks for a batch."""
        self.mark = time.monotonic()

    def working(self) -> None:
        """The batch is there."""
        self.waited += time.monotonic() - self.mark

    def lap(self) -> tuple[float, float]:
        """(seconds, of which waited for data) since the last lap."""
        elapsed, waited = time.monotonic() - self.began, self.waited
        self.began, self.waited = time.monotonic(), 0.0
        return max(elapsed, 1e-9), waited


@torch.no_grad()
def sample_grid(network: Network, pictures: Tensor) -> Image.Image:
    """Rows of (original, realism 0, realism 1) at the middle quality; pictures [N, 3, H, W] in 0..1, sides of 64."""
    device = next(network.parameters()).device
    rows = []
    for x in pictures[:, None].to(device):
        step = torch.full((1,), STEPS // 2, device=device)
        still = torch.zeros((), device=device)
        y_hat, _, _ = quantise(network, x, step, still, still)
        shown = [x] + [network.synthesize(y_hat, step, torch.full((1,), r, device=device)) for r in (0.0, 1.0)]
        rows.append(np.concatenate([to_uint8(p) for p in shown], axis=1))
    return Image.fromarray(np.concatenate(rows))


def save_samples(network: Network, pictures: Tensor, out: Path, step: int) -> Path:
    """OUT/samples/step-N.png."""
    path = out / "samples" / f"step-{step:08d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(sample_grid(network, pictures), path)
    return path


class Validation(NamedTuple):
    """Means over pictures: bpp of files, header included; PSNR of what is decoded from them, at realism 0 and 1."""

    bpp: float
    psnr: float
    psnr_realistic: float


def validate(
    network: Network, calibration: list[Calibration], pictures: list[np.ndarray], *, realism: bool
) -> Validation:
    """Real files of pictures uint8 [H, W, 3] at the middle quality, by the network's own integers, decoded again."""
    codec = Codec(to_model(network, calibration, "validation", {"realism": realism}), device="cpu")
    bpp, errors = [], []
    for pixels in pictures:
        data = codec.compress(pixels, quality=step_to_quality(STEPS // 2))
        bpp.append(8 * len(data) / (pixels.shape[0] * pixels.shape[1]))
        shown = [codec.decompress(data, realism=r) for r in (0.0, 1.0)] if realism else [codec.decompress(data)] * 2
        errors.append([_psnr(pixels, np.asarray(picture)) for picture in shown])
    still, realistic = np.mean(errors, axis=0).tolist()
    return Validation(float(np.mean(bpp)), still, realistic)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / max(float(np.mean((a.astype(np.float64) - b) ** 2)), 1e-9))
