"""A training run to a model file: averaged weights, integers, tables, self-test."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import torch

from gencomp.bitstream import STEPS
from gencomp.checkpoint import Model, save_model
from gencomp.entropy.freeze import Latents, freeze_prior, rate_change
from gencomp.entropy.prior import IntegerPrior, known_answer
from gencomp.model import HyperpriorCodec, ModelConfig, parameter_count

from .data import Crops
from .recipes import Recipe
from .state import CheckpointError, checkpoints, load_checkpoint, restore_module

CALIBRATION = 32  # pictures for the ranges of activations, and as many again for the rate change
CROP = 256
RATE_WARNING = 0.002


class Export(NamedTuple):
    """model: what was written; rate_change: bits of the integer prior over the float one, minus 1."""

    model: Model
    rate_change: float


def export(
    run: Path, out: Path, *, name: str = "", folders: list[Path] | None = None, strict: bool = False
) -> Export:
    """Convert the newest checkpoint under `run` to a model file; equal runs give equal bytes.

    folders: photographs to calibrate on, by default those of the run. strict: CheckpointError, and nothing written,
    where the rate changes by over 0.2 %.
    """
    saved = checkpoints(run)
    if not saved:
        raise CheckpointError(f"{run} holds no checkpoint")
    checkpoint = load_checkpoint(saved[-1])
    recipe = checkpoint.meta["recipe"]
    network = HyperpriorCodec(ModelConfig.from_dict(recipe["model"]))
    restore_module(network, "average", checkpoint.tensors)
    network = _through_half(network)
    seen = folders or _data_of(run)
    pictures = calibration_latents(network, seen)
    integers = freeze_prior(network.prior, pictures[:CALIBRATION])
    change = rate_change(network.prior, integers, pictures[CALIBRATION:])
    if strict and abs(change) > RATE_WARNING:
        raise CheckpointError(f"the integers change the rate by {100 * change:.2f} %, over 0.2 %: nothing was written")
    facts = {"recipe": recipe["name"], "steps": checkpoint.step, "realism": False}
    facts |= {"parameters": parameter_count(network), "rate_change": round(change, 6)}
    model = Model(name or recipe["name"], network, integers, _answer(integers), facts)
    save_model(model, out)
    return Export(model, change)


def _data_of(run: Path) -> list[Path]:
    path = run / "data.json"
    if not path.is_file():
        raise CheckpointError(f"{run} does not say which photographs it was trained on: name them with --data")
    return [Path(p) for p in json.loads(path.read_text())]


@torch.no_grad()
def calibration_latents(network: HyperpriorCodec, folders: list[Path]) -> list[Latents]:
    """Latents of 2 * CALIBRATION fixed crops, their quality steps spread evenly over the range in both halves."""
    crops = Crops(folders, dataclasses.replace(Recipe("calibration"), crop=CROP, seed=2**31 - 1, workers=0))
    latents = []
    for number in range(2 * CALIBRATION):
        step = (number % CALIBRATION) * STEPS // (CALIBRATION - 1)
        x = crops[number].pixels[None].float() / 255
        y = network.latents(x, torch.tensor([step]))
        latents.append(Latents(y, torch.round(network.prior.hyper_analysis(y)), step))
    return latents


def _through_half(network: HyperpriorCodec) -> HyperpriorCodec:
    """The weights as the model file will hold them."""
    return network.half().float().eval().requires_grad_(False)


def _answer(integers: IntegerPrior) -> str:
    answers = {known_answer(integers, "f64"), known_answer(integers, "i64")}
    if len(answers) != 1:
        raise CheckpointError("the two integer arithmetics disagree here: nothing was exported")
    return answers.pop()
