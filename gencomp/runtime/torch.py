"""The transforms in PyTorch, on a CPU or a GPU.

`undisturbed` shields a call from what the caller has set for other work: autocast, gradients, default type and device.
"""

import contextlib
import functools
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from ..bitstream import ModelError
from ..entropy.contract import Latents
from ..model import Model
from ..networks.contract import Network
from ..regions import region
from .contract import Runtime
from .tiling import latent_size, pad_to_multiple, tile_side, tiles


def choose_device(name: str) -> torch.device:
    """ "auto" is a CUDA device where there is one; ModelError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError("no CUDA device here: use --device cpu")
    return torch.device(name)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16, about 1.6 times as quick as those of float32: GPUs,
    and CPUs with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if device.type == "cpu" else ()
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


@functools.cache
def _outlive_forks() -> None:
    """Let forked processes work with one thread.

    A process forked after torch has used several threads has none of them and waits for them for ever: a data loader's
    worker, or datasets.map(num_proc=...), that decodes images as its parent did.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class TorchRuntime:
    """A network on a device. tile: side of the tiles in latents; None chooses by the image's size."""

    def __init__(self, network: Network, device: str = "auto", tile: int | None = None) -> None:
        self._device = choose_device(device)
        self.name, self.device = "torch", self._device.type
        _outlive_forks()
        with torch.inference_mode(False):  # what is made within it could never be differentiated
            self.network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tile = tile

    def analyze(self, pixels: npt.NDArray[np.uint8], quality_step: int) -> Latents:
        network, stride = self.network, self.network.stride
        height, width = latent_size(pixels.shape[0], pixels.shape[1], stride)
        with undisturbed(self._device):
            step = torch.tensor([quality_step], device=self._device)
            y = torch.empty(1, network.config.latent_channels, height, width, dtype=torch.float32, device=self._device)
            with region("transform"):
                for tile in tiles(height, width, tile_side(height, width, self._tile, stride), network.halo.analysis):
                    seen = pad_to_multiple(pixels[tile.seen(stride)], stride)
                    x = torch.from_numpy(seen).to(self._device).permute(2, 0, 1)[None].float().div_(255)
                    part = network.analyze(x.to(memory_format=torch.channels_last), step)
                    y[..., *tile.yielded()] = part[..., *tile.inside()]
            with region("hyper"):
                z = network.hyper_analyze(y)
        return Latents(y[0].cpu().numpy(), None if z is None else z[0].float().cpu().numpy())

    def synthesize(
        self, y_hat: npt.NDArray[np.float32], size: tuple[int, int], quality_step: int, realism: float
    ) -> npt.NDArray[np.uint8]:
        network, stride = self.network, self.network.stride
        height, width = y_hat.shape[1:]
        pixels = np.empty((height * stride, width * stride, 3), np.uint8)
        with undisturbed(self._device):
            step = torch.tensor([quality_step], device=self._device)
            realisms = torch.tensor([realism], dtype=torch.float32, device=self._device)
            for tile in tiles(height, width, tile_side(height, width, self._tile, stride), network.halo.synthesis):
                part = torch.from_numpy(np.ascontiguousarray(y_hat[:, *tile.seen()]))[None]
                part = part.to(self._device, torch.float32).to(memory_format=torch.channels_last)
                origin = torch.tensor([tile.sees[:2]], device=self._device)
                x_hat = network.synthesize(part, step, realisms, origin)[0].clamp(0, 1) * 255
                shown = x_hat.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
                pixels[tile.yielded(stride)] = shown[tile.inside(stride)]
        return pixels[: size[0], : size[1]]


def torch_runtime(runtime: Runtime, model: Model) -> TorchRuntime:
    """A run-time with a network that can be differentiated: the given one, or one for the model."""
    if isinstance(runtime, TorchRuntime):
        return runtime
    from ..networks import network_of

    return TorchRuntime(network_of(model), runtime.device)


@contextlib.contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """No gradients, no autocast, float32 and the CPU as defaults, whatever the caller has set."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
            torch.device("cpu"),
        ):
            yield
    finally:
        torch.set_default_dtype(default)
