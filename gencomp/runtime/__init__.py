"""Run-times of the transforms: `contract.py` says what one is."""

from ..model import Model
from .contract import Runtime


def open_runtime(model: Model, device: str = "auto", tile: int | None = None) -> Runtime:
    """The transforms of a model, ready to use. device: "cpu", "cuda" or "auto"; tile: side of tiles in latents."""
    from ..networks import network_of
    from .torch import TorchRuntime

    return TorchRuntime(network_of(model), device, tile)
