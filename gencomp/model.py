"""Model files: one safetensors file that holds everything a codec is, and nothing that runs. numpy only.

    metadata    JSON under the key "gencomp": format, name, family and its configuration, kind of entropy model, known
                answer, facts about the training, and a digest
    network.*   float16: the weights of the network family, from which training goes on, too
    integer.*   integers: all that the entropy model is; they alone decide bits
    int8.*      weights of the synthesis in eight bits, if any: int8, and in NAME.scale float32 of each output channel
    graph.*     uint8: the transforms as ONNX graphs without their weights (networks/graphs.py); may be absent. What a
                graph may hold is checked before anything runs it (graph.py)

The model id is the first bytes of the SHA-256 over the integers, their names and shapes, and the constants of the
format that act on them. It does not cover the transforms: a model with a better synthesis and the same integers
decodes the same files. The digest covers every tensor and all metadata: a file that was damaged is refused. Files of
the first form have no family, kind or digest; they are of the family "hyperprior" and the kind "context".
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gencomp.bitstream import MODEL_ID_BYTES, STEPS, ModelError
from gencomp.entropy import KINDS
from gencomp.entropy.constants import HYPER_UNIT, KNOTS, LEVELS, MAX_RESIDUAL, MEAN_UNIT, ORDER
from gencomp.entropy.contract import EntropyModel
from gencomp.files import write_atomically
from gencomp.graph import NAMES, Form, form_of, tensors_named

FORMAT, FIRST_FORMAT = "gencomp-model-2", "gencomp-model-1"
MAX_FILE_BYTES = 1 << 30
MAX_TENSORS = 4096
MAX_HALO = 1024  # latents
SCALE = ".scale"  # after the name of a weight in eight bits
STRIDES = (16, 32, 64)  # pixels per latent

Arrays = Mapping[str, npt.NDArray[Any]]


class Int8Weight(NamedTuple):
    """A weight of a convolution in eight bits: values int8 [O, ...] times scale float32 [O], positive."""

    values: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]

    def floats(self) -> npt.NDArray[np.float32]:
        """values * scale."""
        return self.values * self.scale.reshape(-1, *(1,) * (self.values.ndim - 1))


class Model(NamedTuple):
    """A codec ready to use.

    family, config: what `gencomp.networks` rebuilds the transforms from; weights: theirs, float16 by name; answer: what
    `EntropyModel.known_answer` gave where the model was exported; facts: plain values about training and calibration;
    stride: pixels per latent; halo: of analysis and synthesis, in latents; graphs: serialised, by name, or none; int8:
    weights that stand in eight bits and not among `weights`.
    """

    name: str
    family: str
    config: dict[str, Any]
    weights: dict[str, npt.NDArray[np.float16]]
    entropy: EntropyModel
    answer: str
    facts: dict[str, Any]
    stride: int = 16
    halo: tuple[int, int] = (0, 0)
    graphs: Mapping[str, npt.NDArray[np.uint8]] = MappingProxyType({})
    int8: Mapping[str, Int8Weight] = MappingProxyType({})

    @property
    def id(self) -> bytes:
        """First bytes of the digest over all that decides integers."""
        return integer_digest(self.entropy)[:MODEL_ID_BYTES]

    def float_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """All weights of the network in float32."""
        halves = {name: weight.astype(np.float32) for name, weight in self.weights.items()}
        return halves | {name: weight.floats() for name, weight in self.int8.items()}

    def forms(self) -> dict[str, Form]:
        """What its graphs may take from it: weights as float32, those in eight bits and their scales as they are."""
        small = {name: form_of(weight.values) for name, weight in self.int8.items()}
        small |= {f"{name}{SCALE}": form_of(weight.scale) for name, weight in self.int8.items()}
        return small | {name: form_of(weight, np.float32) for name, weight in self.weights.items()}

    def tensors_of(self, graph: bytes) -> dict[str, npt.NDArray[Any]]:
        """What a graph takes from it, by name, in the forms above; ModelError as of `check_graphs`."""
        found: dict[str, npt.NDArray[Any]] = {}
        for name in tensors_named(graph, self.forms()):
            if name in self.weights:
                found[name] = self.weights[name].astype(np.float32)
            elif name in self.int8:
                found[name] = self.int8[name].values
            else:
                found[name] = self.int8[name.removesuffix(SCALE)].scale
        return found


def integer_digest(entropy: EntropyModel) -> bytes:
    """SHA-256 over the canonical bytes of all that decides integers."""
    constants = (STEPS, KNOTS, LEVELS, MEAN_UNIT, HYPER_UNIT, MAX_RESIDUAL, ORDER)
    form = FIRST_FORMAT if entropy.kind == "context" else f"{FORMAT} {entropy.kind}"
    digest = hashlib.sha256(f"{form} {constants}".encode())
    for name, array in sorted(entropy.arrays().items()):
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return digest.digest()


def save_model(model: Model, path: Path, *, replace: bool = True) -> None:
    """Write a model file whole or not at all; equal models give equal bytes. ModelError for weights beyond float16.
    replace: as of `write_atomically`."""
    tensors: dict[str, npt.NDArray[Any]] = {
        f"network.{name}": np.ascontiguousarray(weight, np.float16) for name, weight in model.weights.items()
    }
    _check_weights(tensors)
    arrays = model.entropy.arrays()
    KINDS[model.entropy.kind](arrays)  # what could not be loaded is not written
    for name, array in arrays.items():
        tensors[f"integer.{name}"] = np.ascontiguousarray(array)
    for name, weight in model.int8.items():
        tensors |= {f"int8.{name}": weight.values, f"int8.{name}{SCALE}": weight.scale}
    for name, graph in model.graphs.items():
        tensors[f"graph.{name}"] = np.ascontiguousarray(graph, np.uint8)
    named = ("name", "family", "config", "facts", "stride")
    metadata = {"format": FORMAT, "kind": model.entropy.kind, "known_answer": model.answer, "halo": list(model.halo)}
    metadata |= {name: getattr(model, name) for name in named}
    metadata["digest"] = _digest(metadata, tensors)
    # safetensors writes the metadata in an order that changes from run to run; one key keeps the file reproducible.
    write_atomically(path, save(tensors, {"gencomp": json.dumps(metadata, sort_keys=True)}), replace=replace)


def load_model(path: str | Path) -> Model:
    """Read a model file, which may come from anywhere: ModelError unless it is whole, exact and of a known form."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"no model file {path}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is too large for a model file")
    try:
        metadata, tensors = _read(path)
        form = metadata.get("format")
        if form == FIRST_FORMAT:
            metadata = _upgraded(metadata)
        elif form != FORMAT:
            raise ModelError("not a model file of this version of gencomp")
        elif metadata.pop("digest", None) != _digest(metadata, tensors):
            raise ModelError("damaged: its digest does not match")
        return _model(metadata, tensors)
    except ModelError as error:
        raise ModelError(f"{path} cannot be read as a model: {error}") from error
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} cannot be read as a model: {first}") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    with safe_open(path, "np") as file:
        metadata = json.loads((file.metadata() or {}).get("gencomp", "{}"))
        names = list(file.keys())
        if len(names) > MAX_TENSORS:
            raise ModelError(f"{len(names)} tensors")
        tensors = {name: file.get_tensor(name) for name in names}
    if not isinstance(metadata, dict):
        raise ModelError("its metadata are not a JSON object")
    return metadata, tensors


def _upgraded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata of the first form as the present one has them."""
    parsed = {key: json.loads(metadata[key]) for key in ("config", "facts")}
    return {**metadata, **parsed, "family": "hyperprior", "kind": "context", "stride": 16, "halo": [0, 0]}


def _model(metadata: dict[str, Any], tensors: Arrays) -> Model:
    kind, config, facts = str(metadata["kind"]), metadata["config"], metadata["facts"]
    if kind not in KINDS:
        raise ModelError(f"entropy models of the kind {kind!r} are not known here")
    if not isinstance(config, dict) or not isinstance(facts, dict):
        raise ModelError("its configuration and facts are not JSON objects")
    unknown = [name for name in tensors if not name.startswith(("network.", "int8.", "integer.", "graph."))]
    if unknown:
        raise ModelError(f"unknown tensor {min(unknown)!r}")
    weights, graphs = _below("network.", tensors), _below("graph.", tensors)
    _check_weights(weights)
    if any(graph.dtype != np.uint8 or graph.ndim != 1 for graph in graphs.values()):
        raise ModelError("its graphs are not bytes")
    stride, halo = metadata["stride"], metadata["halo"]
    if stride not in STRIDES or len(halo) != 2 or not all(isinstance(h, int) and 0 <= h <= MAX_HALO for h in halo):
        raise ModelError(f"a stride of {stride} and a halo of {halo}")
    name, family, answer = (str(metadata[key]) for key in ("name", "family", "known_answer"))
    entropy, int8 = KINDS[kind](_below("integer.", tensors)), _int8_weights(_below("int8.", tensors), weights)
    model = Model(name, family, config, weights, entropy, answer, facts, stride, (halo[0], halo[1]), graphs, int8)
    check_graphs(model)
    return model


def check_graphs(model: Model) -> None:
    """ModelError for a graph that may do more than compute with the model's own tensors."""
    if unknown := sorted(model.graphs.keys() - NAMES):
        raise ModelError(f"unknown graph {unknown[0]!r}")
    forms = model.forms()
    for graph in model.graphs.values():
        tensors_named(graph.tobytes(), forms)


def _int8_weights(tensors: Arrays, weights: Arrays) -> dict[str, Int8Weight]:
    """ModelError unless every weight in eight bits has a scale for each channel, and no other form."""
    found = {}
    for name in (name for name in tensors if not name.endswith(SCALE)):
        values, scale = tensors[name], tensors.get(name + SCALE)
        if values.dtype != np.int8 or values.ndim != 4 or name in weights:
            raise ModelError(f"{name} is not an 8-bit weight")
        if scale is None or scale.dtype != np.float32 or scale.shape != values.shape[:1]:
            raise ModelError(f"{name} has no scale for each of its channels")
        if not (np.isfinite(scale) & (scale > 0)).all():
            raise ModelError(f"the scales of {name} are not positive numbers")
        found[name] = Int8Weight(values, scale)
    if len(tensors) != 2 * len(found):
        raise ModelError("it holds scales without weights")
    return found


def _below(prefix: str, tensors: Arrays) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _check_weights(weights: Arrays) -> None:
    for name, array in weights.items():
        if array.dtype != np.float16:
            raise ModelError(f"{name} is {array.dtype}, not float16")
        if ((array.view(np.uint16) & 0x7C00) == 0x7C00).any():  # the exponent of infinities and of what is no number
            raise ModelError(f"{name} holds values that float16 cannot hold")


def _digest(metadata: Mapping[str, Any], tensors: Arrays) -> str:
    """SHA-256 over the metadata, and each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
