"""Realism: the decoder learns to draw what the bits do not say, from step to step against discriminators.

Samples draw a realism, which the decoder sees. At 0 the distortion of the stage before counts, with its decoder as a
teacher; the more realism, the more the terms of realism and the discriminators count (Agustsson et al. 2023,
"Multi-realism image compression with a conditional generator").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from accelerate import Accelerator
from torch import Tensor

from gencomp.networks import build
from gencomp.networks.contract import Network, TrainingInputs, freeze_bits

from ..checkpoint import Start
from ..data.batches import Data
from ..discriminators import KINDS, Discriminator
from ..losses import distortion_balance, mse, watched
from ..players import Keeper, Still
from ..recipe import Recipe
from ..terms import TERMS, Term
from .contract import Metrics, MicroBatch, Procedure, Stage
from .shared import against, image_terms, priced_bits


@dataclass(frozen=True)
class Realism(Procedure):
    name: ClassVar[str] = "realism"
    trains: Literal["synthesis", "all"] = "synthesis"  # "synthesis" leaves all files as they are
    losses: Mapping[str, Term] = field(default_factory=dict, metadata={"rows": TERMS})
    teacher: float = 0.0  # MSE to the image of the decoder that the stage began with, times 1 - realism
    discriminators: Mapping[str, Discriminator] = field(default_factory=dict, metadata={"rows": KINDS})

    teaches_realism = True

    @property
    def trains_bits(self) -> bool:
        return self.trains == "all"

    @property
    def needs_codec(self) -> bool:
        return not self.trains_bits

    def choose(self, network: Network) -> None:
        if not self.trains_bits:
            freeze_bits(network)

    def others(self, recipe: Recipe, accelerator: Accelerator, weights: str | None) -> dict[str, Keeper]:
        """With the decoder that the stage begins with."""
        teacher = {"teacher": Still("teacher", build(recipe.model).to(accelerator.device))} if self.teacher else {}
        return {**teacher, **super().others(recipe, accelerator, weights)}

    def begin_stage(self, stage: Stage, start: Start | None, data: Data | None) -> None:
        """Discriminators go on from a run that had them."""
        super().begin_stage(stage, start, data)
        if start is None:
            return
        stage.players.codec.module.begin_realism()
        stage.players.average_codec()
        if self.teacher:
            stage.players.still("teacher").load_state_dict(stage.players.codec.module.state_dict())
        for opponent in stage.players.opponents():
            opponent.start_from(start)

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        """The codec's loss and the discriminators', from one pass of each."""
        inputs = micro.inputs
        if not self.trains_bits:
            inputs = inputs._replace(noise={})  # bits are logged alone, and those of rounded latents
        with stage.accelerator.autocast():
            output = self.forward(stage.players.codec.network, inputs)
        total, metrics = image_terms(stage, micro, output.x_hat)
        if stage.recipe.rate.bpp or self.trains_bits:
            priced, price = priced_bits(stage, inputs, output)
            total, metrics = total + priced, metrics | price
        if self.teacher:
            balance = distortion_balance(inputs.quality_step, stage.recipe)
            value = (1 - inputs.realism) * mse(output.x_hat, self._taught(stage, inputs, output.y_hat))
            total, metrics["teacher"] = total + balance * self.teacher * value, value.detach().mean()
        judged = against(stage, micro, output)
        loss = total.mean()
        metrics |= watched(inputs, output) | judged.metrics | {"g_loss": loss.detach() + judged.generator}
        return loss + judged.loss, metrics

    def _taught(self, stage: Stage, inputs: TrainingInputs, y_hat: Tensor) -> Tensor:
        """What the teacher shows at realism 0 of the same latents (of its own encoder's, where that is trained on)."""
        teacher, still = stage.players.still("teacher"), torch.zeros_like(inputs.realism)
        with torch.no_grad(), stage.accelerator.autocast():
            if self.trains_bits:
                return teacher(inputs._replace(realism=still), train_bits=False).x_hat
            return teacher.synthesize(y_hat, inputs.quality_step, still)
