"""The two stages of `slim`, and what lies between them.

    teacher --channels by importance--> supernet: each step draws widths about the budget        (stage 1)
    search over widths, on samples that training never sees, by the distance to the teacher's images
    the best widths, other channels removed for good: learns alone                               (stage 2)

The encoder, the prior and so the latents are the teacher's and stand still. Teacher and pupil are shown the same
latents, noise and realism; the pupil minimises the distance to the teacher's images, and `losses` to the original.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.model import load_model
from gencomp.networks import network_of
from gencomp.networks.contract import Network, TrainingInputs
from gencomp.networks.cost import cost
from gencomp.networks.transforms import TransformConfig

from ..checkpoint import CheckpointError, restore_module
from ..data.batches import Data, StepSampler, batches
from ..recipe import Recipe
from ..stage import Stage, build_stage
from ..steps import divided, taught_images, teacher_distance
from .channels import chosen, importance_order
from .reconstruct import reconstruct
from .search import best_widths
from .supernet import Supernet, removed_for_good
from .widths import Elastic, synthesis_kmac

WATCHED_STEPS = 2  # batches by which channels are sorted and sub-networks compared


def slim_recipe(recipe: Recipe, teacher: Path) -> Recipe:
    """The recipe for the teacher in a model file; CheckpointError where it cannot be narrowed so."""
    if recipe.adversarial_from is None or recipe.adversarial_from >= recipe.steps:
        raise CheckpointError("slim removes channels at step adversarial_from, which must come before the last")
    model = load_model(teacher)
    if model.family != "hyperprior":
        raise CheckpointError(f"slim narrows networks of the family hyperprior, not of {model.family}")
    network = network_of(model)
    transform, realism = network.config.transform, bool(model.facts.get("realism", False))
    whole = cost(network).decoder_kmac
    budget = recipe.slim.arithmetic * whole - (whole - synthesis_kmac(transform))
    least = synthesis_kmac(Elastic(transform).narrowest())
    if not least <= budget <= synthesis_kmac(transform):
        lowest = (whole - synthesis_kmac(transform) + least) / whole
        raise CheckpointError(f"the teacher's decoder can be narrowed to {lowest:.2f} to 1 of its arithmetic")
    slim = dataclasses.replace(recipe.slim, teacher=transform, synthesis_kmac=budget, realism=realism)
    return dataclasses.replace(recipe, model=network.config, slim=slim)


def begin_slim(stage: Stage, teacher: Mapping[str, Tensor], data: Data) -> None:
    """Stage 1 at its first step: a supernet of the teacher's weights (by name), its channels sorted by importance."""
    assert stage.players.teacher is not None
    assert stage.recipe.slim.teacher is not None
    codec, still = stage.players.codec.module, stage.players.teacher.module
    restore_module(still, "", dict(teacher))
    order = importance_order(still.synthesis, stage.recipe.slim.teacher, lambda: _watched(stage, data))
    order = {group: channels.to(stage.device) for group, channels in order.items()}
    ordered = chosen(still.synthesis.state_dict(), order)
    still.synthesis.load_state_dict(ordered)  # the same function, whose channels have the order of the pupil's
    for network in (codec, *([stage.players.ema.module] if stage.players.ema else [])):
        network.load_state_dict(still.state_dict())


def narrow_stage(finished: Stage, weights: Mapping[str, Tensor], folder: str | None, data: Data) -> Stage:
    """Stage 2 at its first step: the best widths for the supernet's weights (by name), and these alone."""
    recipe, slim = finished.recipe, finished.recipe.slim
    assert finished.players.teacher is not None
    assert slim.teacher is not None
    supernet = Supernet(recipe.model).to(finished.device).eval().requires_grad_(False)
    restore_module(supernet, "", dict(weights))
    watched = _watched(finished, data)

    def loss_of(widths: TransformConfig) -> float:
        supernet.widths = widths
        return sum(_distance(finished, supernet, seen) for seen in watched)

    found = best_widths(Elastic(slim.teacher), slim.synthesis_kmac, loss_of, slim.candidates, recipe.seed)
    recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, transform=found))
    teacher = finished.players.teacher.module.state_dict()
    finished.accelerator.free_memory()
    stage = build_stage(recipe, finished.accelerator, 2, folder)
    assert stage.players.teacher is not None
    stage.players.teacher.module.load_state_dict(teacher)
    codec = stage.players.codec.module
    restore_module(codec, "", removed_for_good(dict(weights), found))
    _reconstruct(stage, watched)
    if stage.players.ema is not None:
        stage.players.ema.module.load_state_dict(codec.state_dict())
    stage.step = finished.step
    return stage


def _reconstruct(stage: Stage, watched: "list[Watched]") -> None:
    assert stage.players.teacher is not None
    codec, still = stage.players.codec.module, stage.players.teacher.module

    def runs(network: Network) -> Callable[[], None]:
        def run() -> None:
            for seen in watched:
                inputs = seen.inputs
                network.synthesize(seen.y_hat, inputs.quality_step, inputs.realism, inputs.origin)

        return run

    reconstruct(codec.synthesis, runs(codec), still.synthesis, runs(still))


class Watched(NamedTuple):
    """A part of a batch with its latents, and the teacher's images of them."""

    inputs: TrainingInputs
    y_hat: Tensor
    taught: Tensor


@torch.no_grad()
def _watched(stage: Stage, data: Data) -> list[Watched]:
    """Samples from beyond the last step, shown to the teacher."""
    assert stage.players.teacher is not None
    recipe = dataclasses.replace(stage.recipe, workers=0)
    sampler = StepSampler(recipe, recipe.steps, recipe.steps + WATCHED_STEPS)
    seen = []
    for batch in batches(data, recipe, sampler):
        for micro in divided(stage, batch):
            with stage.accelerator.autocast():
                y_hat = stage.players.teacher.module.quantize(micro.inputs._replace(noise={})).y_hat
                seen.append(Watched(micro.inputs, y_hat, taught_images(stage, micro.inputs, y_hat)))
    return seen


@torch.no_grad()
def _distance(stage: Stage, network: Supernet, seen: Watched) -> float:
    with stage.accelerator.autocast():
        x_hat = network.synthesize(seen.y_hat, seen.inputs.quality_step, seen.inputs.realism, seen.inputs.origin)
    return float(teacher_distance(stage, seen.inputs, x_hat, seen.taught).mean())
