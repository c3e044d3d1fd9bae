"""Seconds and memory of each stage of the codec, taken while it codes and decodes as it always does."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from gencomp.codec import Codec

STAGES = ("transform", "hyper", "integer networks", "range coder", "check", "synthesis", "total")


class Measured(NamedTuple):
    """One stage once: wall-clock seconds, and by how much it raised the memory in use [MB; None where unknown]."""

    seconds: float
    memory_mb: float | None


class Passed(NamedTuple):
    """One picture through the codec: its stages by name on the way in and on the way out, and what it held."""

    encode: dict[str, Measured]
    decode: dict[str, Measured]
    latents: int
    size: int  # bytes of the file


class Clock:
    """Adds up the time and the memory of named stages; a stage within another counts for itself as well."""

    def __init__(self, device: "torch.device") -> None:
        self._device = device
        self.stages: dict[str, Measured] = {}
        self.latents = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        before = self._settle()
        start = time.perf_counter()
        yield
        self._settle(keep_peak=True)
        seconds = time.perf_counter() - start
        peak = self._peak()
        rise = None if peak is None or before is None else max(0.0, peak - before)
        had = self.stages.get(name, Measured(0.0, 0.0 if rise is not None else None))
        both = None if rise is None or had.memory_mb is None else max(had.memory_mb, rise)
        self.stages[name] = Measured(had.seconds + seconds, both)

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured as a stage; vectors of residuals are counted as latents."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                result = function(*args, **kwargs)
            if function.__name__ == "encode_pass":
                self.latents += len(args[1])
            return result

        return measured

    def _settle(self, keep_peak: bool = False) -> float | None:
        """Wait for the device, forget its peak unless that is to be kept, and return the memory in use."""
        import torch

        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            if not keep_peak:
                torch.cuda.reset_peak_memory_stats(self._device)
            return torch.cuda.memory_allocated(self._device) / 1e6
        if not keep_peak:
            try:
                Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak of the resident memory
            except OSError:
                return None
        return _status("VmRSS")

    def _peak(self) -> float | None:
        import torch

        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        return _status("VmHWM")


def _status(field: str) -> float | None:
    """A field of /proc/self/status [MB], None where there is none."""
    try:
        return int(Path("/proc/self/status").read_text().partition(f"{field}:")[2].split()[0]) / 1000
    except (OSError, ValueError, IndexError):
        return None


def passed(codec: "Codec", picture: "Image.Image", quality: float) -> Passed:
    """One picture through the codec and back, each stage measured."""
    inside, outside = Clock(codec.device), Clock(codec.device)
    with _watched(codec, inside), inside.stage("total"):
        data = codec.compress(picture, quality=quality, max_pixels=None)
    with _watched(codec, outside), outside.stage("total"):
        codec.decompress(data, max_pixels=None)
    return Passed(inside.stages, outside.stages, inside.latents, len(data))


@contextmanager
def _watched(codec: "Codec", clock: Clock) -> Iterator[None]:
    """The codec with a clock around its parts."""
    import gencomp.codec as glue
    import gencomp.entropy.hyperprior as prior

    is_checking = [False]
    parts: list[tuple[ModuleType | type, str, str]] = [
        (glue, "analyse", "transform"),
        (glue, "synthesise", "synthesis"),
        (prior.Hyperprior, "features", "integer networks"),
        (prior.Hyperprior, "mean_and_level", "integer networks"),
        (prior, "encode_z", "range coder"),
        (prior, "encode_pass", "range coder"),
        (prior, "decode_z", "range coder"),
        (prior, "decode_pass", "range coder"),
    ]
    with ExitStack() as stack:
        for module, name, stage in parts:
            function = getattr(module, name)
            measured = clock.around(stage, function)
            # The encoder reads its own file once more: that is the stage "check", whatever it is made of.
            chosen = lambda *a, m=measured, f=function, **k: f(*a, **k) if is_checking[0] else m(*a, **k)  # noqa: E731
            stack.enter_context(mock.patch.object(module, name, chosen))
        check = glue.Codec._cross_check

        def checked(*args: Any) -> None:
            is_checking[0] = True
            with clock.stage("check"):
                check(*args)
            is_checking[0] = False

        stack.enter_context(mock.patch.object(glue.Codec, "_cross_check", checked))
        hyper = codec._network.prior.hyper_analysis
        stack.enter_context(mock.patch.object(hyper, "forward", clock.around("hyper", hyper.forward)))
        yield
