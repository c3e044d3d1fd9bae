"""Seconds and memory of each stage of the codec, taken while it codes and decodes as it always does.

And other decoders' arithmetic, to hold it against: networks of their shapes, untrained. What is timed of them is the
synthesis alone, generously: no entropy decoding, which theirs need as well.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from gencomp import machine
from gencomp.codec import Codec
from gencomp.regions import listening

STAGES = ("transform", "hyper", "integer networks", "range coder", "check", "synthesis", "total")


class StageUse(NamedTuple):
    """One stage once: wall-clock seconds, and by how much it raised the memory in use [MB; None where unknown]."""

    seconds: float
    memory_mb: float | None


class Passed(NamedTuple):
    """One image through the codec: its stages by name on the way in and on the way out, and what it held."""

    encode: dict[str, StageUse]
    decode: dict[str, StageUse]
    latents: int
    size: int  # bytes of the file


class Clock:
    """Adds up the time and the memory of named stages; a stage within another counts for itself as well."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.stages: dict[str, StageUse] = {}
        self._checking = False

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside. The encoder's check of its own file counts as one, whatever it is made of."""
        if self._checking:
            yield
            return
        self._checking = name == "check"
        before = self._settle()
        start = time.perf_counter()
        yield
        self._checking = False
        self._settle(keep_peak=True)
        seconds = time.perf_counter() - start
        on_gpu = self._device == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) / 1e6 if on_gpu else _megabytes("VmHWM")
        rise = None if peak is None or before is None else max(0.0, peak - before)
        had = self.stages.get(name, StageUse(0.0, 0.0 if rise is not None else None))
        both = None if rise is None or had.memory_mb is None else max(had.memory_mb, rise)
        self.stages[name] = StageUse(had.seconds + seconds, both)

    def _settle(self, keep_peak: bool = False) -> float | None:
        """Wait for the device, forget its peak unless that is to be kept, and return the memory in use."""
        if self._device == "cuda":
            torch.cuda.synchronize(self._device)
            if not keep_peak:
                torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device) / 1e6
        if not keep_peak:
            try:
                Path("/proc/self/clear_refs").write_text("5", "ascii")  # Linux: forget the peak of the resident memory
            except OSError:
                return None
        return _megabytes("VmRSS")


def _megabytes(field: str) -> float | None:
    found = machine.status(field)
    return found and found / 1e6


def passed(codec: Codec, image: Image.Image, quality: float) -> Passed:
    """One image through the codec and back, each stage measured."""
    device = codec.device
    inside, outside = Clock(device), Clock(device)
    with listening(inside.stage), inside.stage("total"):
        data = codec.compress(image, quality=quality, max_pixels=None)
    with listening(outside.stage), outside.stage("total"):
        codec.decompress(data, max_pixels=None)
    return Passed(inside.stages, outside.stages, codec.latents(data, max_pixels=None).size, len(data))


STRIDE = 16


def hific_generator(height: int, width: int, device: torch.device) -> Callable[[], Tensor]:
    """The generator of HiFiC (Mentzer et al. 2020), 156.7 M parameters, on latents of one image."""
    from gencomp.networks.hific import HificConfig, HificGenerator

    config = HificConfig()
    return _on_latents(HificGenerator(config), config.latent_channels, height, width, device)


def mbt2018_synthesis(height: int, width: int, device: torch.device) -> Callable[[], Tensor]:
    """The synthesis of mbt2018-mean (Minnen et al. 2018) at low rates: N = 128 and M = 192, one image's latents."""
    from gencomp.networks.ladder.balle2018 import g_s

    return _on_latents(g_s(128, 192), 192, height, width, device)


def _on_latents(
    network: nn.Module, channels: int, height: int, width: int, device: torch.device
) -> Callable[[], Tensor]:
    network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    y = torch.randn(1, channels, -(-height // STRIDE), -(-width // STRIDE), generator=torch.Generator().manual_seed(0))
    y = y.to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> Tensor:
        result: Tensor = network(y)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return run
