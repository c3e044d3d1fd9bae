"""Checkpoints: one safetensors file that appears whole or not at all, and holds all that a resume needs.

Random inputs depend on sample numbers alone (see data/crops.py), so the players (players.py) and the step are
everything. Never pickle.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gencomp.files import write_atomically
from gencomp.model import load_model
from gencomp.networks import network_of
from gencomp.networks.contract import NetworkConfig

from .recipe import model_config

FORMAT = "gencomp-run-3"
OURS = ".written.json"
"""Beside the checkpoints: the names of those that the run wrote, which alone it deletes."""
_NAME = re.compile(r"step-\d{8}\.safetensors")


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit."""


class Checkpoint(NamedTuple):
    """step: optimiser steps done; meta: the recipe and counters as plain values; tensors by name."""

    step: int
    meta: dict[str, Any]
    tensors: dict[str, Tensor]


def optimiser_tensors(optimiser: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The state of an optimiser, flat: '<prefix>.<parameter number>.<name>'."""
    state = optimiser.state_dict()["state"]
    return {f"{prefix}.{i}.{name}": torch.as_tensor(v) for i, slots in state.items() for name, v in slots.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor]) -> None:
    """The reverse of `optimiser_tensors`; learning rates are left as they are.

    Moments take their parameter's memory format: fused kernels walk both in memory order.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix + "."):
            number, name = key[len(prefix) + 1 :].split(".", 1)
            p = parameters[int(number)]
            laid_out = torch.empty_like(p).copy_(value) if value.shape == p.shape else value
            state.setdefault(int(number), {})[name] = laid_out
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def module_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Weights by '<prefix>.<name>', on the CPU."""
    return {f"{prefix}.{k}": v.detach().cpu().contiguous() for k, v in module.state_dict().items()}


def restore_module(module: nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    """The reverse of `module_tensors`, from all of a checkpoint's tensors, or with an empty prefix from those of one
    module; names and shapes must match exactly."""
    start = f"{prefix}." if prefix else ""
    found = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name in [*wanted, *found]:
        here, there = wanted.get(name), tuple(found[name].shape) if name in found else None
        if here != there:
            raise CheckpointError(
                f"the checkpoint is of another network: {name} is {there or 'absent'} there and {here or 'absent'} here"
            )
    module.load_state_dict(found)


def save_checkpoint(run: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write step-N.safetensors whole or not at all, then drop all but the last `keep` of those that runs here wrote."""
    path = run / "checkpoints" / f"step-{checkpoint.step:08d}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {"format": FORMAT, "step": str(checkpoint.step), "meta": json.dumps(checkpoint.meta)}
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in checkpoint.tensors.items()}
    try:
        ours = {str(name) for name in json.loads((path.parent / OURS).read_text("utf-8"))}
    except (OSError, ValueError, TypeError):
        ours = set()
    ours = {name for name in ours if _NAME.fullmatch(name) and (path.parent / name).is_file()} | {path.name}
    write_atomically(path.parent / OURS, json.dumps(sorted(ours)).encode())
    write_atomically(path, save(tensors, meta))
    for name in sorted(ours)[:-keep]:
        (path.parent / name).unlink(missing_ok=True)
    return path


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first; copies that a person made under other names are none of them."""
    return sorted(path for path in (run / "checkpoints").glob("step-*") if _NAME.fullmatch(path.name) and _is_of(path))


def _is_of(path: Path) -> bool:
    """Whether a checkpoint holds the step of its name; what cannot be read is for `load_checkpoint` to say.

    A running training may delete it meanwhile: NumPy's reader opens a file once, PyTorch's by its name a second time.
    """
    try:
        with safe_open(path, "np") as file:
            return int((file.metadata() or {}).get("step", path.stem[5:])) == int(path.stem[5:])
    except FileNotFoundError:
        return False
    except (SafetensorError, OSError, ValueError):
        return True


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint; CheckpointError if it is none."""
    try:
        with safe_open(path, "pt") as file:
            meta = file.metadata() or {}
            found = meta.get("format", "")
            if found != FORMAT and found.startswith("gencomp-run-"):
                raise CheckpointError(
                    f"{path} was saved by another version of gencomp, whose runs this one cannot go on with: "
                    "export it there, and start from the model with --init"
                )
            if found != FORMAT:
                raise CheckpointError(f"{path} is not a checkpoint of this program")
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            return Checkpoint(int(meta["step"]), json.loads(meta["meta"]), tensors)
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:  # RuntimeError: deleted before PyTorch maps it
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {error}") from error


def exported(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that count, by name in float32: averaged, or plain ones of a run without averaging. CheckpointError
    if there are none."""
    for prefix in ("ema.", "codec."):
        found = {k.removeprefix(prefix): v.float() for k, v in tensors.items() if k.startswith(prefix)}
        if found:
            return found
    raise CheckpointError("it holds no weights of a codec")


class Start(NamedTuple):
    """What a run or a stage begins with. codec: weights by name; others: the other players' state, '<player>.<name>';
    network: the codec's configuration; realism: whether it has learnt any."""

    codec: dict[str, Tensor]
    others: dict[str, Tensor]
    network: NetworkConfig
    realism: bool


def start_of(saved: Checkpoint) -> Start:
    others = {k: v for k, v in saved.tensors.items() if not k.startswith(("codec", "ema"))}
    config = model_config(saved.meta["recipe"])
    return Start(exported(saved.tensors), others, config, bool(saved.meta["realism"]))


def newest(run: Path) -> Path:
    """The last checkpoint of a run, or `run` itself where it is one; CheckpointError if there is none."""
    saved = [run] if run.is_file() else checkpoints(run)
    if not saved:
        raise CheckpointError(f"{run} holds no checkpoint")
    return saved[-1]


def starting_point(source: Path) -> Start:
    """What to start from, out of a model file, a checkpoint, or the folder of a run, whose newest counts."""
    source = newest(source) if source.is_dir() else source
    try:
        with safe_open(source, "np") as file:
            is_model = "gencomp" in (file.metadata() or {})
        if not is_model:
            return start_of(load_checkpoint(source))
        model = load_model(source)
        network = network_of(model)
        return Start(network.state_dict(), {}, network.config, bool(model.facts.get("realism", False)))
    except CheckpointError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source} cannot be read as a model or a checkpoint: {error}") from error
