"""What a run writes while it goes: log.jsonl, a tracker, and the numbers between two lines."""

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from gencomp.files import write_atomically
from gencomp.kinds import open_image


class Window:
    """Sums of metrics since the last line of the log, on the device; saved with a checkpoint, so that a resumed run
    writes the lines of an unbroken one. In float64, but for Apple's GPUs, which have none."""

    def __init__(self, device: torch.device, saved: dict[str, Any] | None = None) -> None:
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        saved = saved or {"count": 0, "names": [], "sums": []}
        self.count, self.names = int(saved["count"]), list[str](saved["names"])
        self.sums = torch.tensor(saved["sums"], dtype=self.dtype, device=device)

    def add(self, names: list[str], values: Tensor) -> None:
        if names != self.names:  # the first step of a kind
            self.count, self.names, self.sums = 0, names, torch.zeros_like(values)
        self.count += 1
        self.sums = self.sums + values

    def means(self) -> dict[str, float]:
        return dict(zip(self.names, (self.sums / max(1, self.count)).tolist()))

    def state(self) -> dict[str, Any]:
        """For a checkpoint: exact, as JSON keeps every digit of a float."""
        return {"count": self.count, "names": self.names, "sums": self.sums.tolist()}


def readable(means: dict[str, float]) -> dict[str, float]:
    """Means as the log shows them: sums over a part of the samples ("realistic/...", near the middle quality) divided
    by the share of that part, and left out where no sample was in it."""
    shown, prefix = {}, "realistic/"
    for name, value in means.items():
        if name.startswith(prefix) and means["_realistic"]:
            shown[name.removeprefix(prefix)] = value / means["_realistic"]
        elif not name.startswith(("_", prefix)):
            shown[name] = value
    if means.get("_middle"):
        shown["bpp_middle"] = means["_middle_bpp"] / means["_middle"]
        shown["psnr_middle"] = 10 * math.log10(255**2 / (means["_middle_mse"] / means["_middle"]))
    return shown


class RunLog:
    """OUT/log.jsonl and the trackers that Accelerate knows; one process writes."""

    def __init__(self, out: Path, accelerator: Accelerator, trackers: list[str], recipe: dict[str, Any]) -> None:
        self.path, self.accelerator = out / "log.jsonl", accelerator
        if accelerator.is_main_process and self.path.is_file():  # a killed process may have left half of a line
            data = self.path.read_bytes()
            write_atomically(self.path, data[: data.rfind(b"\n") + 1])
        if trackers:
            plain = {k: v if isinstance(v, int | float) else json.dumps(v) for k, v in recipe.items()}
            accelerator.init_trackers("gencomp", config=plain)

    def write(self, line: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if self.accelerator.trackers:
            numbers = {k: v for k, v in line.items() if isinstance(v, (int, float)) and k != "step"}
            self.accelerator.log(numbers, step=line.get("step"))

    def image(self, path: Path, step: int) -> None:
        pixels = np.asarray(open_image(path))[None]
        for tracker in self.accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.log_images({"samples": pixels}, step=step, dataformats="NHWC")
            elif hasattr(tracker, "log_images"):
                tracker.log_images({"samples": list(pixels)}, step=step)


class Stopwatch:
    """From the last line of the log on; waited: seconds for data; worked: of this process, which other work does not
    lengthen."""

    def __init__(self) -> None:
        self.began, self.waited, self.worked = time.monotonic(), 0.0, time.process_time()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        mark = time.monotonic()
        yield
        self.waited += time.monotonic() - mark
