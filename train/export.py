"""A training run to a model file: averaged weights, integers, tables, self-test; for every family. A model file to one
whose synthesis computes in eight bits, and to the Hugging Face hub, where `gencomp.load("user/name")` finds it.

What decides bits is frozen from the trained network with calibration crops, or, where a stage left it as it was, taken
over from the model that the run began with, so that old files stay readable.
"""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gencomp.bitstream import STEPS, ModelError
from gencomp.entropy.contract import EntropyModel
from gencomp.model import Model, check_graphs, load_model, save_model
from gencomp.networks import build, network_of, weights_of
from gencomp.networks.contract import Calibration, Network, parameter_count
from gencomp.networks.freeze import rate_change
from gencomp.networks.graphs import graphs_of
from gencomp.networks.int8 import calibrated, int8_graph

from .checkpoint import CheckpointError, exported, load_checkpoint, newest, restore_module
from .data.batches import Data, fixed_crops, open_data
from .data.sources import first_line
from .recipe import Recipe, model_config
from .terms import minimised

CALIBRATION = 32  # images for the ranges of activations, and as many again for the rate change
CROP = 256
RATE_WARNING = 0.002
PRICES = ("lambda_min", "lambda_max", "ms_ssim_weight")  # at which latents were traded: refinement goes on with them
ORIGIN = "origin.safetensors"  # in a run: the model file that it began with


class Export(NamedTuple):
    """model: what was written; rate_change: bits of the integer model over the float one, minus 1."""

    model: Model
    rate_change: float


def export(
    run: Path,
    out: Path,
    *,
    name: str = "",
    data: list[str] | None = None,
    integers: Path | None = None,
    strict: bool = False,
    realism_scale: float = 1.0,
    average: tuple[Path, float] | None = None,
    graphs: bool = False,
    replace: bool = True,
) -> Export:
    """Convert the newest checkpoint of `run` (a folder, or one checkpoint) to a model file; equal runs, equal bytes.

    data: photographs to calibrate on, by default those of the run. integers: a model file whose integers are kept,
    by default the one that the run began with, if nothing that decides bits has changed since. strict: CheckpointError,
    and nothing written, where the rate grows by over 0.2 %. realism_scale: the realism of training that
    becomes 1; CheckpointError for a run that has not learnt any. average: a model of the same network and the share of
    its weights in the mean that is exported. graphs: also write the transforms as ONNX graphs.
    replace: whether a file that stands at `out` goes.
    """
    saved = newest(run)
    folder, checkpoint = saved.parent.parent, load_checkpoint(saved)
    recipe = checkpoint.meta["recipe"]
    if not checkpoint.meta["codes"]:
        raise CheckpointError(f"{run} is in the stage {checkpoint.meta['stage']}, which trains no encoder yet")
    network = build(model_config(recipe))
    restore_module(network, "", exported(checkpoint.tensors))
    facts: dict[str, Any] = {"recipe": recipe["name"], "steps": checkpoint.step}
    if average is not None:
        facts["averaged"] = _average(network, *average)
    if realism_scale != 1:
        if not checkpoint.meta["realism"]:
            raise CheckpointError("the run has not learnt realism yet: there is no realism to rescale")
        network.rescale_realism(realism_scale)
    network = _through_half(network)
    calibration = calibration_latents(network, open_data(data, streamed=False) if data else data_of(folder))
    kept = _kept_integers(network, integers, folder / ORIGIN)
    entropy = kept.entropy if kept else network.freeze(calibration[:CALIBRATION])
    change = rate_change(network.bits_of, entropy, calibration[CALIBRATION:])
    if strict and change > RATE_WARNING:
        raise CheckpointError(f"the integers raise the rate by {100 * change:.2f} %, over 0.2 %: nothing was written")
    facts |= {"realism": checkpoint.meta["realism"] and network.knows_realism}
    facts |= {"prior": True} if network.has_prior else {}  # what `gencomp sample` draws by
    facts |= {"minimised": minimised(recipe), "parameters": parameter_count(network), "rate_change": round(change, 6)}
    facts |= {name: value for name, value in (kept.facts if kept else recipe).items() if name in PRICES}
    if entropy.known_answer("float64") != entropy.known_answer("int64"):
        raise CheckpointError("the two integer arithmetics disagree here: nothing was exported")
    model = _model(network, entropy, name or recipe["name"], facts)
    if graphs:
        model = model._replace(graphs=_arrays(graphs_of(network)))
    check_graphs(model)
    save_model(model, out, replace=replace)
    return Export(model, change)


def _average(network: Network, source: Path, share: float) -> list[Any]:
    """Draw a network's weights towards those of a model, which lessens what a fine-tuning lost and keeps most of what
    it won (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"); gives the model's id and its share."""
    model = load_model(source)
    other = network_of(model)
    if other.config != network.config:
        raise CheckpointError(f"{model.name} has another network than the run: their weights have no mean")
    theirs = other.state_dict()
    network.load_state_dict(
        {name: torch.lerp(ours, theirs[name], share) for name, ours in network.state_dict().items()}
    )
    return [model.id.hex(), share]


def inputs_of(run: Path) -> list[Path]:
    """The files and folders that an export of `run` reads, its photographs among them."""
    folder = run.parent.parent if run.is_file() else run
    try:
        data = json.loads((folder / "data.json").read_text("utf-8"))["data"]
    except (OSError, ValueError, KeyError):
        data = []
    names = ("data.json", "recipe.json", "log.jsonl", ORIGIN)
    return [run if run.is_file() else run / "checkpoints", *(folder / name for name in names), *map(Path, data)]


def to_model(network: Network, calibration: list[Calibration], name: str, facts: dict[str, Any]) -> Model:
    """A model of a network as it stands, for validation."""
    network = _through_half(copy.deepcopy(network).cpu())
    return _model(network, network.freeze(calibration), name, facts)


def _model(network: Network, entropy: EntropyModel, name: str, facts: dict[str, Any]) -> Model:
    config, answer, form = network.config, entropy.known_answer("float64"), (network.stride, network.halo)
    return Model(name, config.family, config.to_dict(), weights_of(network), entropy, answer, facts, *form)


@torch.no_grad()
def calibration_latents(network: Network, data: Data, count: int = 2 * CALIBRATION) -> list[Calibration]:
    """Latents of fixed crops, their quality steps spread evenly over the range in each CALIBRATION of them."""
    crops = fixed_crops(data, dataclasses.replace(Recipe("calibration"), crop=CROP, seed=2**31 - 1, workers=0), count)
    device = next(network.parameters()).device
    latents = []
    for number in range(count):
        quality_step = (number % CALIBRATION) * STEPS // (CALIBRATION - 1)
        x = crops[number][None].float().to(device) / 255
        y = network.analyze(x, torch.tensor([quality_step], device=device))
        z = network.hyper_analyze(y)
        latents.append(Calibration(y.cpu(), None if z is None else torch.round(z).cpu(), quality_step))
    return latents


def data_of(run: Path) -> Data:
    """The photographs that a run was trained on: the last ones, and earlier ones that are still there."""
    path = run / "data.json"
    if not path.is_file():
        raise CheckpointError(f"{run} does not say which photographs it was trained on: name them with --data")
    facts = json.loads(path.read_text("utf-8"))
    names = [str(p) for each in [facts, *facts.get("earlier", [])] for p in each["data"]]
    there = [name for name in dict.fromkeys(names) if name in facts["data"] or Path(name).exists()]
    return open_data(facts["data"] if facts["stream"] else there, streamed=bool(facts["stream"]))


def _kept_integers(network: Network, named: Path | None, origin: Path) -> Model | None:
    """The model that was asked for or began the run, whose integers are kept; None where what they were made of has
    been trained."""
    if named is None and not origin.is_file():
        return None
    model = load_model(named or origin)
    ours, theirs = _entropy_weights(network), _entropy_weights(network_of(model))
    same = len(ours) == len(theirs) and all(np.array_equal(a, b) for a, b in zip(ours, theirs))
    if named is not None and not same:
        raise ModelError(f"the integers of {named} do not belong to this run: its entropy model has other weights")
    return model if same else None


def _entropy_weights(network: Network) -> list[np.ndarray]:
    return [v.cpu().numpy() for part in network.entropy_modules() for v in part.state_dict().values()]


def _through_half(network: Network) -> Network:
    """The weights as the model file will hold them."""
    return network.half().float().eval().requires_grad_(False)


def _arrays(graphs: dict[str, bytes]) -> dict[str, np.ndarray]:
    return {name: np.frombuffer(graph, np.uint8) for name, graph in graphs.items()}


def quantise(source: Path, out: Path, data: list[str], name: str = "", *, replace: bool = True) -> Model:
    """Write the model in `source` with the bottlenecks of its synthesis in eight bits (networks/int8.py), calibrated on
    photographs; equal inputs give equal bytes, and the model id stays. ModelError for a model that has no such layers,
    or is in eight bits already; DataError for data that are not there.
    """
    model = load_model(source)
    if model.int8:
        raise ModelError(f"{model.name} is in eight bits already")
    network = network_of(model)
    images = calibration_latents(network, open_data(data, streamed=False), CALIBRATION)
    convs = calibrated(network, lambda: _show(network, images))
    weights = {f"{conv}.weight": found.weight for conv, found in convs.items()}
    biases = {conv: model.weights[f"{conv}.bias"].astype(np.float32) for conv in convs}
    graphs = graphs_of(network)
    graphs["synthesis"] = int8_graph(graphs["synthesis"], convs, biases)
    done = model._replace(
        name=name or f"{model.name}-int8",
        weights={key: weight for key, weight in model.weights.items() if key not in weights},
        int8=weights,
        graphs=_arrays(graphs),
        facts=model.facts | {"int8": True},
    )
    check_graphs(done)
    save_model(done, out, replace=replace)
    return done


@torch.no_grad()
def _show(network: Network, images: list[Calibration]) -> None:
    """The synthesis at work, at both ends of realism."""
    for image in images:
        y_hat, quality_step = torch.round(image.y), torch.tensor([image.quality_step])
        for realism in (0.0, 1.0) if network.knows_realism else (0.0,):
            network.synthesize(y_hat, quality_step, torch.tensor([realism]))


class HubError(RuntimeError):
    """The hub refused, or cannot be reached."""


def push_to_hub(model: Model, path: Path, name: str) -> str:
    """Upload the model file `path` and its card to the repository `name` ("user/name"), made if missing; its address.

    The token is huggingface_hub's own (`hf auth login`, or HF_TOKEN). Raises HubError.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = str(api.create_repo(name, exist_ok=True))
        api.upload_file(path_or_fileobj=path, path_in_repo="model.safetensors", repo_id=name)
        api.upload_file(path_or_fileobj=card(model, name).encode(), path_in_repo="README.md", repo_id=name)
    except Exception as error:  # no network, no token, no such user: the library raises a wide family
        raise HubError(f"{name} was not uploaded: {first_line(error)} (log in with `hf auth login`)") from error
    return address


def card(model: Model, name: str) -> str:
    """What the hub shows: how to use the model, and the facts in its file."""
    facts = "\n".join(f"| {key} | {json.dumps(value)} |" for key, value in sorted(model.facts.items()))
    return f"""---
library_name: gencomp
tags: [image-compression]
---
# {model.name}

An image codec for gencomp, model id `{model.id.hex()}`.

```python
import gencomp
codec = gencomp.load("{name}")
```

| fact | value |
|---|---|
{facts}

A realistic decoder may invent detail: not for medical or legal images.
"""
