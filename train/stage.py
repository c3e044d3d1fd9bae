"""One stage of a run on this process: its players, how they begin, and how they come to a checkpoint and back."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from .checkpoint import Checkpoint, CheckpointError, Start, restore_module
from .objective import Terms, build_terms
from .players import Players, build_players
from .recipe import Recipe
from .schedule import stage_span, trains_bits

Metrics = dict[str, Tensor]  # means over samples, []


@dataclass
class Stage:
    """number: 0, 1 or 2; begin, end: its first step and the step after its last; step: optimiser steps done in the run.

    terms: the losses of stage 2, and of a stage 1 with a rate target.
    """

    recipe: Recipe
    accelerator: Accelerator
    number: int
    begin: int
    end: int
    step: int
    players: Players
    terms: Terms | None

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def trains_bits(self) -> bool:
        return trains_bits(self.recipe, self.number)

    @property
    def draws_realism(self) -> bool:
        """Whether samples have a realism; else it is 0."""
        return self.recipe.slim.realism if self.recipe.slim.arithmetic else self.number == 2

    def checkpoint(self) -> Checkpoint:
        """All that a resume needs."""
        tensors: dict[str, Tensor] = {}
        for keeper in self.players.keepers():
            tensors |= keeper.tensors()
        meta: dict[str, Any] = {"stage": self.number, "realism": self.draws_realism}
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


def build_stage(recipe: Recipe, accelerator: Accelerator, number: int, weights: str | None = None) -> Stage:
    """An untrained stage at its first step. weights: folder of feature networks' weights; WeightsError."""
    begin, end = stage_span(recipe, number)
    players = build_players(recipe, accelerator, number, weights)
    wanted = number == 2 or recipe.rate.bpp > 0 or recipe.slim.arithmetic > 0
    terms = build_terms(recipe.losses, weights, accelerator.device) if wanted else None
    return Stage(recipe, accelerator, number, begin, end, begin, players, terms)


def start_from(stage: Stage, start: Start) -> None:
    """Begin with given weights, which stage 2 also keeps as its teacher, and with a discriminator that has learnt."""
    players, codec = stage.players, stage.players.codec
    restore_module(codec.module, "", start.codec)
    if stage.number == 2:
        codec.module.begin_realism()
    still: list[Any] = [player for player in (players.ema, players.teacher) if player is not None]
    for player in still:
        player.module.load_state_dict(codec.module.state_dict())
    if players.discriminator is not None and start.discriminator:
        try:
            restore_module(players.discriminator.module, "", start.discriminator)
        except CheckpointError as error:
            raise CheckpointError(f"the discriminator of --init is another one than the recipe's: {error}") from error
