"""The network families: one file and one row each. `contract.py` says what a family is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from ..bitstream import ModelError
from ..model import Model
from .contract import Network, NetworkConfig
from .hific import HificConfig, HificNetwork
from .hyperprior import HyperpriorConfig, HyperpriorNetwork
from .ladder import autoencoder, balle2017, balle2018, hybrid, light, minnen2018, santurkar2018, theis2017, vae

MAX_WIDTH = 4096  # channels of a layer, or layers
MAX_VALUES = 64  # of one list in a configuration
CALLS_PER_WEIGHT = 16  # of torch functions; the families here need under 8
SMALL_NETWORK = 64  # weights, which are always built, so that the error says what differs


class Family(NamedTuple):
    """A configuration that can be rebuilt from plain values, and the network that it describes."""

    config: Any
    network: Any


FAMILIES: dict[str, Family] = {
    "hyperprior": Family(HyperpriorConfig, HyperpriorNetwork),
    "hific": Family(HificConfig, HificNetwork),
    "autoencoder": Family(autoencoder.AutoencoderConfig, autoencoder.AutoencoderNetwork),
    "vae": Family(vae.VaeConfig, vae.VaeNetwork),
    "theis2017": Family(theis2017.Theis2017Config, theis2017.Theis2017Network),
    "balle2017": Family(balle2017.Balle2017Config, balle2017.Balle2017Network),
    "balle2018": Family(balle2018.Balle2018Config, balle2018.Balle2018Network),
    "minnen2018": Family(minnen2018.Minnen2018Config, minnen2018.Minnen2018Network),
    "light": Family(light.LightConfig, light.LightNetwork),
    "hybrid": Family(hybrid.HybridConfig, hybrid.HybridNetwork),
    "santurkar2018": Family(santurkar2018.Santurkar2018Config, santurkar2018.Santurkar2018Network),
}


def build(config: NetworkConfig) -> Network:
    """The untrained network of a configuration."""
    return FAMILIES[config.family].network(config)


def config_from_dict(family: str, values: Mapping[str, Any]) -> NetworkConfig:
    """The reverse of a configuration's `to_dict`; TypeError or ValueError for what does not describe one."""
    if family not in FAMILIES:
        raise ValueError(f"unknown network family {family!r}; known: {', '.join(FAMILIES)}")
    return FAMILIES[family].config.from_dict(values)


def network_of(model: Model) -> Network:
    """The network of a model file, in float32 on the CPU; ModelError where weights and configuration do not agree."""
    try:
        _check_bounds(model.config)
        config = config_from_dict(model.family, model.config)
        # A made-up configuration may ask for any size and depth: weights are taken, never made, and no more of them.
        with (
            torch.inference_mode(False),
            torch.device("meta"),
            _BoundedWork(CALLS_PER_WEIGHT * (len(model.weights) + SMALL_NETWORK)),
        ):
            network = build(config)
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        given = {n: w.shape for n, w in model.weights.items()} | {n: w.values.shape for n, w in model.int8.items()}
        for name in sorted(expected.keys() | given.keys()):
            if given.get(name) != expected.get(name):
                raise ModelError(f"{name} is {given.get(name, 'absent')}, expected {expected.get(name, 'absent')}")
        with torch.inference_mode(False):  # what is made within it could never be differentiated
            weights = {name: torch.from_numpy(array) for name, array in model.float_weights().items()}
            network.load_state_dict(weights, assign=True)
        _ = network.halo  # whatever follows from the configuration alone fails here, or not at all
    except ModelError:
        raise
    except Exception as error:  # a family may fail in any way over values that it was never given in training
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the model's network cannot be built: {first}") from error
    if network.stride != model.stride:
        raise ModelError(f"a stride of {model.stride} where the network has {network.stride}")
    if network.config.latent_channels != model.entropy.latent_channels:
        raise ModelError("the entropy model does not fit the transforms")
    return network.eval().requires_grad_(False)


def weights_of(network: Network) -> dict[str, npt.NDArray[np.float16]]:
    """The weights as a model file holds them."""
    return {name: value.detach().cpu().half().numpy() for name, value in network.state_dict().items()}


class _BoundedWork(TorchFunctionMode):
    """ModelError after so many calls of torch, in this thread alone."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self._left = calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ModelError("the configuration asks for more layers than there are weights")
        return func(*args, **(kwargs or {}))


def _check_bounds(values: Any) -> None:
    """ModelError where a configuration holds numbers that no network of ours has: building it would take for ever."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list | tuple):
        for value in values[:MAX_VALUES]:
            _check_bounds(value)
    elif isinstance(values, bool | str | None):
        return
    elif not isinstance(values, int | float) or not 0 <= abs(values) <= MAX_WIDTH:
        raise ModelError(f"{values!r} is out of range for a configuration")
    elif isinstance(values, int) and values < 0:
        raise ModelError(f"{values!r} cannot be a width or depth")
