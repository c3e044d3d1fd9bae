"""The two procedures of a narrower decoder, and what lies between them.

    teacher --channels by importance--> supernet: each step draws widths about the budget        (`Shared`)
    search over widths, on samples that training never sees, by the distance to the teacher's images
    the best widths, other channels removed for good: learns alone                               (`Narrow`)

The encoder, the prior and so the latents are the teacher's and stand still. Teacher and pupil are shown the same
latents, noise and realism; the pupil minimises the distance to the teacher's images, and `losses` to the original.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from gencomp.networks import build
from gencomp.networks.contract import Network, TrainingInputs, freeze_bits
from gencomp.networks.cost import cost
from gencomp.networks.int8 import fake_int8
from gencomp.networks.transforms import TransformConfig, transform_config

from ...checkpoint import CheckpointError, Start, restore_module
from ...data.batches import Data, StepSampler, batches
from ...discriminators import KINDS, Discriminator
from ...losses import distortion_balance, mse, watched
from ...players import Keeper, Still
from ...recipe import Recipe, model_config, stage_spans
from ...steps import divided
from ...terms import TERMS, Term
from ..contract import Metrics, MicroBatch, Procedure, Stage
from ..shared import against, image_terms
from .channels import Supernet, chosen, importance_order, reconstruct, removed_for_good
from .widths import Elastic, best_widths, synthesis_kmac

WATCHED_STEPS = 2  # batches by which channels are sorted and sub-networks compared
FILLED_IN = {"set": False}  # of fields that say what the model of --init is


@dataclass(frozen=True)
class _Distillation(Procedure):
    """What both have: a teacher, its images, and `losses`. taught: weight of its image at realism 1, as a share of that
    at 0. The last two fields are the teacher's: its transforms, and whether it knows realism."""

    losses: Mapping[str, Term] = field(default_factory=dict, metadata={"rows": TERMS})
    teacher: float = 3000.0
    taught: float = 0.2
    transform: TransformConfig | None = field(default=None, metadata=FILLED_IN)
    realistic: bool = field(default=True, metadata=FILLED_IN)

    trains_bits = False
    needs_codec = True

    @property
    def teaches_realism(self) -> bool:
        return self.realistic

    def choose(self, network: Network) -> None:
        freeze_bits(network)

    def resume(self, recipe: Recipe, saved: dict[str, Any]) -> Recipe:
        """The teacher is the run's."""
        for stage in recipe.stages:
            facts = saved["stages"][stage.name]
            known = {key: facts[key] for key in ("realistic", "synthesis_kmac") if key in facts}
            if facts["transform"] is not None:
                known["transform"] = transform_config(facts["transform"])
            recipe = with_stage(recipe, dataclasses.replace(stage, **known))
        return dataclasses.replace(recipe, model=model_config(saved))

    def others(self, recipe: Recipe, accelerator: Accelerator, weights: str | None) -> dict[str, Keeper]:
        wider = recipe.model if self.transform is None else dataclasses.replace(recipe.model, transform=self.transform)
        teacher = Still("teacher", build(wider).to(accelerator.device))
        return {"teacher": teacher, **super().others(recipe, accelerator, weights)}

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        inputs = micro.inputs
        with stage.accelerator.autocast():
            output = self.forward(stage.players.codec.network, inputs)
        total, metrics = image_terms(stage, micro, output.x_hat)
        with torch.no_grad(), stage.accelerator.autocast():
            taught = shown(stage.players.still("teacher"), inputs, output.y_hat)
        value = self.distance(inputs, output.x_hat, taught)
        balance = distortion_balance(inputs.quality_step, stage.recipe)
        loss = (total + balance * self.teacher * value).mean()
        judged = against(stage, micro, output)
        metrics |= judged.metrics | watched(inputs, output)
        metrics |= {"teacher": value.detach().mean(), "g_loss": loss.detach() + judged.generator}
        return loss + judged.loss, metrics

    def distance(self, inputs: TrainingInputs, x_hat: Tensor, taught: Tensor) -> Tensor:
        """Squared error to the teacher's images, [N], less of it the more realism: texture that cannot be followed
        stroke by stroke should not be blurred for it."""
        return (1 - (1 - self.taught) * inputs.realism) * mse(x_hat, taught)


@dataclass(frozen=True)
class Shared(_Distillation):
    """Sub-networks that share weights, another one in each step."""

    name: ClassVar[str] = "shared"
    arithmetic: float = 0.5  # of the narrower decoder, as a share of the teacher's
    spread: tuple[float, float] = (0.8, 1.4)  # budgets of sub-networks, as shares of the one asked for
    synthesis_kmac: float = field(default=0.0, metadata=FILLED_IN)  # the budget of g_s

    def check(self, recipe: Recipe) -> None:
        if not 0 < self.arithmetic <= 1:
            raise ValueError("shared.arithmetic is a share, above 0 and at most 1")

    def follow(self, recipe: Recipe, start: Start) -> Recipe:
        """The recipe for the teacher; CheckpointError where it cannot be narrowed so."""
        if not 0 < stage_spans(recipe)[-1][0] < recipe.steps:
            raise CheckpointError("channels are removed at step narrow.begin, which must come before the last")
        if start.network.family != "hyperprior":
            raise CheckpointError(f"networks of the family hyperprior can be narrowed, not of {start.network.family}")
        with torch.device("meta"):
            network = build(start.network)
        transform = network.config.transform
        whole = cost(network).decoder_kmac
        budget = self.arithmetic * whole - (whole - synthesis_kmac(transform))
        least = synthesis_kmac(Elastic(transform).narrowest())
        if not least <= budget <= synthesis_kmac(transform):
            lowest = (whole - synthesis_kmac(transform) + least) / whole
            raise CheckpointError(f"the teacher's decoder can be narrowed to {lowest:.2f} to 1 of its arithmetic")
        settings = dataclasses.replace(self, transform=transform, realistic=start.realism, synthesis_kmac=budget)
        return dataclasses.replace(with_stage(recipe, settings), model=start.network)

    def network(self, recipe: Recipe) -> Network:
        return Supernet(recipe.model)

    def begin_stage(self, stage: Stage, start: Start | None, data: Data | None) -> None:
        """A supernet of the teacher's weights, its channels sorted by importance."""
        if start is None or self.transform is None or data is None:
            raise CheckpointError(f"{stage.recipe.name} narrows a trained decoder: name its model with --init")
        if stage.accelerator.num_processes > 1:
            raise CheckpointError(f"{stage.recipe.name} trains in one process")
        still = stage.players.still("teacher")
        restore_module(still, "", start.codec)
        order = importance_order(still.synthesis, self.transform, lambda: samples_of(stage, data))
        order = {group: channels.to(stage.device) for group, channels in order.items()}
        # the same function, whose channels have the order of the pupil's
        still.synthesis.load_state_dict(chosen(still.synthesis.state_dict(), order))
        stage.players.codec.module.load_state_dict(still.state_dict())
        stage.players.average_codec()

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        """Of the step's sub-network: some budget about the one asked for, and random widths within it."""
        assert self.transform is not None
        rng, elastic = np.random.default_rng((stage.recipe.seed, stage.step, 4)), Elastic(self.transform)
        widths = elastic.config(elastic.drawn(rng, self.synthesis_kmac * rng.uniform(*self.spread)))
        stage.players.codec.module.widths = widths
        return super().loss(stage, micro)


@dataclass(frozen=True)
class Narrow(_Distillation):
    """The best sub-network alone."""

    name: ClassVar[str] = "narrow"
    candidates: int = 200  # sub-networks that the search compares
    int8: bool = False  # learns what eight bits will make of its bottlenecks (`gencomp int8` quantises them)
    discriminators: Mapping[str, Discriminator] = field(default_factory=dict, metadata={"rows": KINDS})

    def succeed(self, finished: Stage, data: Data) -> Recipe:
        """The widths that follow the teacher most closely."""
        recipe, shared = finished.recipe, finished.procedure
        supernet = Supernet(recipe.model).to(finished.device).eval().requires_grad_(False)
        supernet.load_state_dict(finished.players.exported().state_dict())
        seen = samples_of(finished, data)

        @torch.no_grad()
        def loss_of(widths: TransformConfig) -> float:
            supernet.widths, total = widths, 0.0
            for inputs, y_hat, taught in seen:
                with finished.accelerator.autocast():
                    x_hat = shown(supernet, inputs, y_hat)
                total += float(shared.distance(inputs, x_hat, taught).mean())
            return total

        found = best_widths(Elastic(shared.transform), shared.synthesis_kmac, loss_of, self.candidates, recipe.seed)
        settings = dataclasses.replace(self, transform=shared.transform, realistic=shared.realistic)
        model = dataclasses.replace(recipe.model, transform=found)
        return dataclasses.replace(with_stage(recipe, settings), model=model)

    def choose(self, network: Network) -> None:
        if self.int8:
            fake_int8(network)
        super().choose(network)

    def begin_stage(self, stage: Stage, start: Start | None, data: Data | None) -> None:
        """The supernet without the other channels, its layers solved for the teacher's features."""
        if start is None or self.transform is None or data is None:
            raise CheckpointError("narrow comes after shared")
        codec, still = stage.players.codec.module, stage.players.still("teacher")
        restore_module(still, "teacher", start.others)
        restore_module(codec, "", removed_for_good(start.codec, codec.config.transform))
        seen = samples_of(stage, data)

        def run(network: Network) -> None:
            for inputs, y_hat, _ in seen:
                shown(network, inputs, y_hat)

        reconstruct(codec.synthesis, partial(run, codec), still.synthesis, partial(run, still))
        stage.players.average_codec()


def with_stage(recipe: Recipe, settings: Procedure) -> Recipe:
    """The recipe with other settings for the stage of their name."""
    stages = tuple(settings if stage.name == settings.name else stage for stage in recipe.stages)
    return dataclasses.replace(recipe, stages=stages)


def shown(network: Network, inputs: TrainingInputs, y_hat: Tensor) -> Tensor:
    return network.synthesize(y_hat, inputs.quality_step, inputs.realism, inputs.origin)


class Taught(NamedTuple):
    """A part of a batch with its latents, and the teacher's images of them."""

    inputs: TrainingInputs
    y_hat: Tensor
    taught: Tensor


@torch.no_grad()
def samples_of(stage: Stage, data: Data) -> list[Taught]:
    """Samples from beyond the last step, shown to the teacher."""
    recipe, teacher = dataclasses.replace(stage.recipe, workers=0), stage.players.still("teacher")
    sampler, seen = StepSampler(recipe, recipe.steps, recipe.steps + WATCHED_STEPS), []
    for batch in batches(data, recipe, sampler):
        for inputs, _ in divided(stage, batch):
            with stage.accelerator.autocast():
                y_hat = teacher.quantize(inputs._replace(noise={})).y_hat
                seen.append(Taught(inputs, y_hat, shown(teacher, inputs, y_hat)))
    return seen
