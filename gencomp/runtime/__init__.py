"""Run-times of the transforms: `contract.py` says what one is."""

import importlib.util
from pathlib import Path

from ..bitstream import ModelError
from ..model import Model
from .contract import Runtime

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # asking torch itself would cost its import


RUNTIMES = ("auto", "onnx", "torch")


def open_runtime(model: Model, device: str = "auto", tile: int | None = None, name: str = "auto") -> Runtime:
    """The transforms of a model, ready to use.

    device: "cpu", "cuda" or "auto"; tile: side of tiles in latents. name: one of RUNTIMES; "auto" is ONNX Runtime on a
    CPU, and PyTorch on a GPU and for models without graphs. ModelError for what is not to be had here.
    """
    if name not in RUNTIMES:
        raise ModelError(f"no run-time {name!r}; known: {', '.join(RUNTIMES)}")
    if name == "auto":
        name = "onnx" if model.graphs and _installed("onnxruntime") and not _wants_gpu(device) else "torch"
    if name == "onnx":
        from .onnx import OnnxRuntime

        if device.startswith("cuda"):
            raise ModelError("ONNX Runtime runs on the CPU here: use the run-time torch with --device cuda")
        return OnnxRuntime(model, tile)
    if not _installed("torch"):
        raise ModelError(f"{model.name} needs PyTorch here: pip install 'gencomp[train]'")
    from ..networks import network_of
    from .torch import TorchRuntime

    return TorchRuntime(network_of(model), device, tile)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _wants_gpu(device: str) -> bool:
    """Whether the transforms are to run on a GPU: asked for, or left open where PyTorch and an NVIDIA driver are."""
    if device != "auto":
        return device != "cpu"
    return NVIDIA_DRIVER.exists() and _installed("torch")
