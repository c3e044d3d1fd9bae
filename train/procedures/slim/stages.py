"""The two procedures of a narrower decoder, and what lies between them.

    teacher --channels by importance--> supernet: each step draws widths about the budget        (`Shared`)
    search over widths, on samples that training never sees, by the distance to the teacher's images
    the best widths, other channels removed for good: learns alone                               (`Narrow`)

The encoder, the prior and so the latents are the teacher's and stand still. Teacher and pupil are shown the same
latents, noise and realism; the pupil minimises the distance to the teacher's images, and `losses` to the original.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from gencomp.networks import build
from gencomp.networks.contract import Network, TrainingInputs, freeze_bits
from gencomp.networks.cost import cost
from gencomp.networks.int8 import fake_int8
from gencomp.networks.transforms import TransformConfig

from ...checkpoint import CheckpointError, Start, restore_module
from ...data.batches import Data, StepSampler, batches
from ...discriminators import KINDS, Discriminator
from ...losses import mse
from ...objective import distortion_balance, watched
from ...players import Keeper, Still, opponents_of
from ...recipe import Recipe, model_config
from ...schedule import stage_spans
from ...steps import divided
from ...terms import TERMS, Term
from ..adversarial import against, check_opponents
from ..contract import Metrics, MicroBatch, Procedure, Stage
from ..shared import image_terms
from .channels import chosen, importance_order
from .reconstruct import reconstruct
from .supernet import Supernet, drawn_widths, removed_for_good
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

    @property
    def trains_bits(self) -> bool:
        """See the contract."""
        return False

    @property
    def teaches_realism(self) -> bool:
        """See the contract."""
        return self.realistic

    @property
    def needs_codec(self) -> bool:
        """See the contract."""
        return True

    @property
    def image_losses(self) -> Mapping[str, Term]:
        """See the contract."""
        return self.losses

    def choose(self, network: Network) -> None:
        """See the contract."""
        freeze_bits(network)

    def resume(self, recipe: Recipe, saved: dict[str, Any]) -> Recipe:
        """The teacher is the run's."""
        for stage in recipe.stages:
            facts = saved["stages"][stage.name]
            known = {key: facts[key] for key in ("realistic", "synthesis_kmac") if key in facts}
            if facts["transform"] is not None:
                values: dict[str, Any] = {
                    key: tuple(v) if isinstance(v, list) else v for key, v in facts["transform"].items()
                }
                known["transform"] = TransformConfig(**values)
            recipe = with_stage(recipe, dataclasses.replace(stage, **known))
        return dataclasses.replace(recipe, model=model_config(saved))

    def others(self, recipe: Recipe, accelerator: Accelerator, weights: str | None) -> dict[str, Keeper]:
        """The teacher, and discriminators where there are some."""
        wider = recipe.model if self.transform is None else dataclasses.replace(recipe.model, transform=self.transform)
        teacher = Still("teacher", build(wider).to(accelerator.device))
        return {"teacher": teacher, **opponents_of(self.opponents(), recipe, accelerator, weights)}

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        """See the module."""
        inputs = micro.inputs
        with stage.accelerator.autocast():
            output = stage.players.codec.network(inputs, train_bits=False)
        total, metrics = image_terms(stage, micro, output.x_hat)
        with torch.no_grad(), stage.accelerator.autocast():
            taught = taught_images(stage, inputs, output.y_hat)
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
        """See the contract."""
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
        """See the contract."""
        return Supernet(recipe.model)

    def begin_stage(self, stage: Stage, start: Start | None, data: Data | None) -> None:
        """A supernet of the teacher's weights, its channels sorted by importance."""
        if start is None or self.transform is None or data is None:
            raise CheckpointError(f"{stage.recipe.name} narrows a trained decoder: name its model with --init")
        if stage.accelerator.num_processes > 1:
            raise CheckpointError(f"{stage.recipe.name} trains in one process")
        still = stage.players.still("teacher")
        restore_module(still, "", start.codec)
        order = importance_order(still.synthesis, self.transform, lambda: _watched(stage, data))
        order = {group: channels.to(stage.device) for group, channels in order.items()}
        ordered = chosen(still.synthesis.state_dict(), order)
        still.synthesis.load_state_dict(ordered)  # the same function, whose channels have the order of the pupil's
        stage.players.codec.module.load_state_dict(still.state_dict())
        stage.players.average_codec()

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        """Of the step's sub-network."""
        assert self.transform is not None
        rng = (stage.recipe.seed, stage.step, 4)
        stage.players.codec.module.widths = drawn_widths(self.transform, rng, self.synthesis_kmac, self.spread)
        return super().loss(stage, micro)


@dataclass(frozen=True)
class Narrow(_Distillation):
    """The best sub-network alone."""

    name: ClassVar[str] = "narrow"
    candidates: int = 200  # sub-networks that the search compares
    int8: bool = False  # learns what eight bits will make of its bottlenecks (`gencomp int8` quantises them)
    discriminators: Mapping[str, Discriminator] = field(default_factory=dict, metadata={"rows": KINDS})

    def opponents(self) -> Mapping[str, Discriminator]:
        """See the contract."""
        return self.discriminators

    def check(self, recipe: Recipe) -> None:
        """See the contract."""
        check_opponents(self.discriminators)

    def succeed(self, finished: Stage, data: Data) -> Recipe:
        """The widths that follow the teacher most closely."""
        recipe, shared = finished.recipe, finished.procedure
        supernet = Supernet(recipe.model).to(finished.device).eval().requires_grad_(False)
        supernet.load_state_dict(finished.players.exported().state_dict())
        seen = _watched(finished, data)

        def loss_of(widths: TransformConfig) -> float:
            supernet.widths = widths
            return sum(_distance(finished, supernet, watched) for watched in seen)

        budget = shared.synthesis_kmac
        found = best_widths(Elastic(shared.transform), budget, loss_of, self.candidates, recipe.seed)
        settings = dataclasses.replace(self, transform=shared.transform, realistic=shared.realistic)
        model = dataclasses.replace(recipe.model, transform=found)
        return dataclasses.replace(with_stage(recipe, settings), model=model)

    def network(self, recipe: Recipe) -> Network:
        """See the contract."""
        return build(recipe.model)

    def choose(self, network: Network) -> None:
        """See the contract."""
        if self.int8:
            fake_int8(network)
        super().choose(network)

    def begin_stage(self, stage: Stage, start: Start | None, data: Data | None) -> None:
        """The supernet without the other channels, its layers solved for the teacher's features."""
        if start is None or self.transform is None or data is None:
            raise CheckpointError("narrow comes after shared")
        codec, still = stage.players.codec.module, stage.players.still("teacher")
        restore_module(still, "teacher", {k: v for k, v in start.others.items() if k.startswith("teacher.")})
        restore_module(codec, "", removed_for_good(start.codec, codec.config.transform))
        seen = _watched(stage, data)

        def runs(network: Network) -> Callable[[], None]:
            def run() -> None:
                for inputs, y_hat, _ in seen:
                    network.synthesize(y_hat, inputs.quality_step, inputs.realism, inputs.origin)

            return run

        reconstruct(codec.synthesis, runs(codec), still.synthesis, runs(still))
        stage.players.average_codec()


def with_stage(recipe: Recipe, settings: Procedure) -> Recipe:
    """The recipe with other settings for the stage of their name."""
    stages = tuple(settings if stage.name == settings.name else stage for stage in recipe.stages)
    return dataclasses.replace(recipe, stages=stages)


def taught_images(stage: Stage, inputs: TrainingInputs, y_hat: Tensor) -> Tensor:
    """What the teacher shows of the same latents."""
    shown: Tensor = stage.players.still("teacher").synthesize(y_hat, inputs.quality_step, inputs.realism, inputs.origin)
    return shown


class Watched(NamedTuple):
    """A part of a batch with its latents, and the teacher's images of them."""

    inputs: TrainingInputs
    y_hat: Tensor
    taught: Tensor


@torch.no_grad()
def _watched(stage: Stage, data: Data) -> list[Watched]:
    """Samples from beyond the last step, shown to the teacher."""
    recipe = dataclasses.replace(stage.recipe, workers=0)
    sampler = StepSampler(recipe, recipe.steps, recipe.steps + WATCHED_STEPS)
    seen = []
    for batch in batches(data, recipe, sampler):
        for micro in divided(stage, batch):
            with stage.accelerator.autocast():
                y_hat = stage.players.still("teacher").quantize(micro.inputs._replace(noise={})).y_hat
                seen.append(Watched(micro.inputs, y_hat, taught_images(stage, micro.inputs, y_hat)))
    return seen


@torch.no_grad()
def _distance(stage: Stage, network: Supernet, seen: Watched) -> float:
    with stage.accelerator.autocast():
        x_hat = network.synthesize(seen.y_hat, seen.inputs.quality_step, seen.inputs.realism, seen.inputs.origin)
    return float(stage.procedure.distance(seen.inputs, x_hat, seen.taught).mean())
