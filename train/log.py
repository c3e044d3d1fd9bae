"""What a run writes while it goes: log.jsonl, a tracker, and the numbers between two lines."""

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from gencomp.files import write_atomically
from gencomp.kinds import open_image


class Window:
    """Sums of metrics since the last line of the log, on the device; saved with a checkpoint, so that a resumed run
    writes the lines of an unbroken one."""

    def __init__(self) -> None:
        self.count, self.names, self.sums = 0, list[str](), torch.zeros(0)

    def add(self, names: list[str], values: Tensor) -> None:
        """One step's metrics [len(names)]."""
        if names != self.names:  # the first step of a kind
            self.count, self.names, self.sums = 0, names, torch.zeros_like(values)
        self.count += 1
        self.sums = self.sums + values

    def means(self) -> dict[str, float]:
        """Mean of each metric."""
        return dict(zip(self.names, (self.sums / max(1, self.count)).tolist()))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: exact, as JSON keeps every digit of a float."""
        return {"count": self.count, "names": self.names, "sums": self.sums.tolist()}

    def restore(self, state: dict[str, Any], device: torch.device, dtype: torch.dtype) -> None:
        """The reverse of `state`."""
        self.count, self.names = state["count"], state["names"]
        self.sums = torch.tensor(state["sums"], dtype=dtype, device=device)


def readable(means: dict[str, float]) -> dict[str, float]:
    """Means as the log shows them: sums over a part of the samples ("realistic/...", near the middle quality) divided
    by the share of that part, and left out where no sample was in it."""
    shown, prefix = {}, "realistic/"
    for name, value in means.items():
        if name.startswith(prefix):
            if means["_realistic"]:
                shown[name.removeprefix(prefix)] = value / means["_realistic"]
        elif not name.startswith("_"):
            shown[name] = value
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

    def image(self, path: Path, step: int) -> None:
        """A sample grid to the trackers that show images."""
        pixels = np.asarray(open_image(path))[None]
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


class Lap(NamedTuple):
    """seconds, of which `waited` for data; processor: seconds of this process, which other work does not lengthen."""

    seconds: float
    waited: float
    processor: float


class Stopwatch:
    """Time since the last look, and how much of it was spent waiting for data."""

    def __init__(self) -> None:
        self.began, self.waited, self.mark = time.monotonic(), 0.0, 0.0
        self.worked = time.process_time()

    def waiting(self) -> None:
        """The loop asks for a batch."""
        self.mark = time.monotonic()

    def working(self) -> None:
        """The batch is there."""
        self.waited += time.monotonic() - self.mark

    def lap(self) -> Lap:
        """Since the last lap."""
        lap = Lap(max(time.monotonic() - self.began, 1e-9), self.waited, time.process_time() - self.worked)
        self.began, self.waited, self.worked = time.monotonic(), 0.0, time.process_time()
        return lap
