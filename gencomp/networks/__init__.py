"""The network families: one file and one row each. `contract.py` says what a family is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..bitstream import ModelError
from ..model import Model
from .contract import Network, NetworkConfig
from .hific import HificConfig, HificNetwork
from .hyperprior import HyperpriorConfig, HyperpriorNetwork

MAX_WIDTH = 4096  # channels of a layer, or layers
MAX_VALUES = 64  # of one list in a configuration


class Family(NamedTuple):
    """A configuration that can be rebuilt from plain values, and the network that it describes."""

    config: Any
    network: Any


FAMILIES: dict[str, Family] = {
    "hyperprior": Family(HyperpriorConfig, HyperpriorNetwork),
    "hific": Family(HificConfig, HificNetwork),
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
        with torch.device("meta"):  # a made-up configuration may ask for any size: weights are taken, never made
            network = build(config)
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        for name in sorted(expected.keys() | model.weights.keys()):
            if name not in model.weights or name not in expected:
                raise ModelError(f"the weights and the configuration differ in {name}")
            if model.weights[name].shape != expected[name]:
                raise ModelError(f"{name} is {model.weights[name].shape}, expected {expected[name]}")
        weights = {name: torch.from_numpy(array.astype(np.float32)) for name, array in model.weights.items()}
        network.load_state_dict(weights, assign=True)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the model's network cannot be built: {str(error).splitlines()[0]}") from error
    if network.config.latent_channels != model.entropy.latent_channels:
        raise ModelError("the entropy model does not fit the transforms")
    return network.eval().requires_grad_(False)


def weights_of(network: Network) -> dict[str, npt.NDArray[np.float16]]:
    """The weights as a model file holds them."""
    return {name: value.detach().cpu().half().numpy() for name, value in network.state_dict().items()}


def _check_bounds(values: Any) -> None:
    """ModelError where a configuration holds numbers that no network of ours has: building it would take for ever."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list | tuple):
        for value in values[:MAX_VALUES]:
            _check_bounds(value)
    elif isinstance(values, bool | str | None):
        return
    elif not isinstance(values, int) or not 0 <= values <= MAX_WIDTH:
        raise ModelError(f"{values!r} is no width or depth")
