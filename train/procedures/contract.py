"""What a training procedure is: the seam behind which every kind of training stands.

A recipe is a row of stages, and a stage is a procedure: a frozen dataclass whose fields are its settings (`--set
NAME.FIELD=VALUE`) and whose methods say what is trained and how.

    network, choose, optimiser, others    the players of a stage: which network, which of its parameters learn, who else
    follow, resume, succeed               the recipe for the model of --init, for a checkpoint, for the stage before
    begin_stage                           what a stage begins with
    loss                                  of a micro-batch: all that is minimised, one number for all players

Everything else is shared and knows no procedure: the step (steps.py), the loop, checkpoints, processes, the log, data.
A new procedure is one file with a `Procedure`, and a row of `recipes.py` that has it among its stages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from gencomp.networks import build
from gencomp.networks.contract import Network, TrainingInputs, TrainingOutput

from ..checkpoint import Checkpoint, CheckpointError, Start, restore_module
from ..data.batches import Data
from ..discriminators import Discriminator
from ..players import Keeper, Players, RunningRate, codec_optimiser, opponents_of
from ..recipe import Recipe
from ..terms import ActiveTerm, Term
from ..validation import sample_grid

Metrics = dict[str, Tensor]  # means over samples, []


class MicroBatch(NamedTuple):
    """A share of the batch on the device. realistic int64 [K]: rows with realism above 0, the only ones that a
    discriminator and the terms of realism see (or row 0, whose weight is 0, where there are none)."""

    inputs: TrainingInputs
    realistic: Tensor


@dataclass
class Stage:
    """One stage of a run. number: its place in the recipe; begin, end: its first step and that after its
    last; step: optimiser steps done in the run; terms: what its losses of images are made of."""

    recipe: Recipe
    number: int
    accelerator: Accelerator
    begin: int
    end: int
    step: int
    players: Players
    terms: list[ActiveTerm]

    @property
    def procedure(self) -> Any:
        """What is trained here, and how: a `Procedure`."""
        return self.recipe.stages[self.number]

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    def checkpoint(self) -> Checkpoint:
        """All that a resume needs."""
        tensors: dict[str, Tensor] = {}
        for keeper in self.players.keepers():
            tensors |= keeper.tensors()
        procedure = self.procedure
        meta: dict[str, Any] = {"number": self.number, "stage": procedure.name}
        meta |= {"realism": procedure.teaches_realism, "codes": procedure.codes}
        if self.accelerator.scaler is not None:
            meta["scaler"] = self.accelerator.scaler.state_dict()
        return Checkpoint(self.step, meta, tensors)

    def restore(self, saved: Checkpoint) -> None:
        """Continue exactly where the checkpoint was made."""
        for keeper in self.players.keepers():
            keeper.restore(saved.tensors)
        if self.accelerator.scaler is not None and "scaler" in saved.meta:
            self.accelerator.scaler.load_state_dict(saved.meta["scaler"])
        self.step = saved.step


@dataclass(frozen=True)
class Procedure:
    """Settings and methods of one kind of training; the defaults train all of a codec from nothing, without realism.

    Fields `losses` (terms of images by their names in `terms.TERMS`) and `discriminators` (by their names in
    `discriminators.KINDS`) are found by these names.
    """

    begin: float = 0.0  # step of the run at which the stage begins; below 1 as a share of all steps

    name: ClassVar[str]
    codes: ClassVar[bool] = True  # whether what has been trained can be exported, and files be made to validate it

    @property
    def trains_bits(self) -> bool:
        """Whether what decides bits is trained, and so gradients reach it."""
        return True

    @property
    def teaches_realism(self) -> bool:
        """Whether samples have a realism; else it is 0."""
        return False

    @property
    def needs_codec(self) -> bool:
        """Whether the stage goes on from a trained codec."""
        return False

    @property
    def image_losses(self) -> Mapping[str, Term]:
        return getattr(self, "losses", {})

    @property
    def opponents(self) -> Mapping[str, Discriminator]:
        return getattr(self, "discriminators", {})

    def check(self, recipe: Recipe) -> None:
        """ValueError where the recipe cannot be trained so."""

    def follow(self, recipe: Recipe, start: Start) -> Recipe:
        """The recipe for what a run starts from; its network is followed already."""
        return recipe

    def resume(self, recipe: Recipe, saved: dict[str, Any]) -> Recipe:
        """The recipe that goes on with a run, whose recipe was saved as plain values."""
        return recipe

    def succeed(self, finished: Stage, data: Data) -> Recipe:
        """The recipe from this stage on, given the one before."""
        return finished.recipe

    def network(self, recipe: Recipe) -> Network:
        """The network that is trained, with the names and shapes of `build(recipe.model)`."""
        return build(recipe.model)

    def choose(self, network: Network) -> None:
        """Take `requires_grad` from the parameters that do not learn."""

    def forward(self, network: Any, inputs: TrainingInputs) -> TrainingOutput:
        """The pass of the codec in a step."""
        output: TrainingOutput = network(inputs, train_bits=self.trains_bits)
        return output

    def optimiser(self, recipe: Recipe, parameters: list[nn.Parameter]) -> tuple[torch.optim.Optimizer, float]:
        """The codec's optimiser, and its learning rate."""
        return codec_optimiser(recipe, parameters), recipe.learning_rate

    def others(self, recipe: Recipe, accelerator: Accelerator, weights: str | None) -> dict[str, Keeper]:
        """The players beside the codec and its average, by name: discriminators, and the running rate under a target.
        weights: folder of feature networks' weights."""
        rate = {"rate": RunningRate(recipe.rate.smoothing, accelerator.device)} if recipe.rate.bpp else {}
        return {**opponents_of(self.opponents, recipe, accelerator, weights), **rate}

    def begin_stage(self, stage: Stage, start: Start | None, data: Data | None) -> None:
        """Fill the players of a stage at its first step. start: a model, a run, or the stage before; None: nothing."""
        if start is None and self.needs_codec:
            raise CheckpointError(
                f"{stage.recipe.name} goes on from a trained codec: name a model or a run with --init"
            )
        if start is not None:
            restore_module(stage.players.codec.module, "", start.codec)
            stage.players.average_codec()

    def realism(self, drawn: Tensor) -> Tensor:
        """The realism of samples, [N], from what was drawn for each."""
        return drawn if self.teaches_realism else torch.zeros_like(drawn)

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        """What all players of the stage minimise together, mean over the samples [], and what the log says of it."""
        raise NotImplementedError

    def after_step(self, stage: Stage, means: Metrics) -> None:
        """Called after each step with its metrics as means over the samples of all processes."""
        rate = stage.players.others.get("rate")
        if isinstance(rate, RunningRate) and "bpp" in means:
            rate.follow(means["bpp"].float())

    def samples(self, network: Network, images: Tensor) -> Image.Image:
        """A grid that shows what the network makes of images [N, 3, H, W] in 0..1."""
        return sample_grid(network, images)
