"""Model files: one safetensors file that holds everything a codec is, and nothing that runs.

    metadata    format, name, configuration (JSON), known answer, facts about the training (JSON)
    network.*   float16: the transforms, and the float prior from which training goes on
    integer.*   integers: tables, h_s and the context networks; they alone decide bits

The model id is the SHA-256 over the integers, their names and shapes, and the constants of the format that act on
them. It does not cover the transforms: a model with a better generator and the same integers decodes the same files.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import safe_open as open_safetensors
from safetensors.torch import save

from .bitstream import MODEL_ID_BYTES, STEPS, ModelError
from .entropy import KINDS
from .entropy.constants import HYPER_UNIT, KNOTS, LEVELS, MAX_RESIDUAL, MEAN_UNIT, ORDER
from .entropy.contract import Arithmetic, EntropyModel
from .files import write_atomically
from .networks.hyperprior import HyperpriorCodec, ModelConfig

FORMAT = "gencomp-model-1"
MAX_FILE_BYTES = 1 << 30


class Model(NamedTuple):
    """A codec ready to use. facts: plain values about training and calibration, for people."""

    name: str
    network: HyperpriorCodec
    integers: EntropyModel
    answer: str
    facts: dict[str, Any]

    @property
    def id(self) -> bytes:
        """First bytes of the digest over all that decides integers."""
        return integer_digest(self.integers)[:MODEL_ID_BYTES]


def integer_digest(integers: EntropyModel) -> bytes:
    """SHA-256 over the canonical bytes of all that decides integers."""
    constants = (STEPS, KNOTS, LEVELS, MEAN_UNIT, HYPER_UNIT, MAX_RESIDUAL, ORDER)
    digest = hashlib.sha256(f"{FORMAT} {constants}".encode())
    for name, array in sorted(integers.arrays().items()):
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return digest.digest()


def save_model(model: Model, path: Path) -> None:
    """Write a model file whole or not at all; equal models give equal bytes."""
    tensors = {f"network.{k}": v.detach().cpu().half().contiguous() for k, v in model.network.state_dict().items()}
    if not all(torch.isfinite(v).all() for v in tensors.values()):
        raise ModelError("the network has weights that float16 cannot hold")
    for name, array in model.integers.arrays().items():
        tensors[f"integer.{name}"] = torch.from_numpy(np.ascontiguousarray(array))
    metadata = {
        "format": FORMAT,
        "name": model.name,
        "config": json.dumps(model.network.config.to_dict(), sort_keys=True),
        "known_answer": model.answer,
        "facts": json.dumps(model.facts, sort_keys=True),
    }
    # safetensors writes the metadata in an order that changes from run to run; one key keeps the file reproducible.
    write_atomically(path, save(tensors, {"gencomp": json.dumps(metadata, sort_keys=True)}))


def load_model(path: str | Path) -> Model:
    """Read a model file, which may come from anywhere: ModelError unless it is whole, exact and of a known form."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no model file {path}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is too large for a model file")
    try:
        with open_safetensors(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("gencomp", "{}"))
            tensors = {key: file.get_tensor(key) for key in list(file.keys())}
        if metadata.get("format") != FORMAT:
            raise ModelError(f"{path} is not a model file of this version of gencomp")
        with torch.device("meta"):  # a made-up configuration may ask for any size: weights are taken, never made
            network = HyperpriorCodec(ModelConfig.from_dict(json.loads(metadata["config"])))
        network.load_state_dict({k: v.float() for k, v in _below("network", tensors).items()}, assign=True)
        network.eval().requires_grad_(False)
        integers = KINDS["context"]({k: v.numpy() for k, v in _below("integer", tensors).items()})
        facts, answer = json.loads(metadata["facts"]), str(metadata["known_answer"])
        model = Model(str(metadata["name"]), network, integers, answer, facts)
    except ModelError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read as a model: {str(error).splitlines()[0]}") from error
    if integers.latent_channels != network.config.transform.latent_channels:
        raise ModelError(f"{path}: the integer networks do not fit the transforms")
    return model


def _below(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """The entries named '<prefix>.<name>', by name."""
    return {k.removeprefix(f"{prefix}."): v for k, v in values.items() if k.startswith(f"{prefix}.")}


def check_known_answer(model: Model, arithmetic: Arithmetic) -> bool:
    """Whether this process evaluates the integer networks as the exporting one did."""
    return model.integers.known_answer(arithmetic) == model.answer
