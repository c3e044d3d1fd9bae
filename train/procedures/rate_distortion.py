"""Rate against distortion: every player but the codec stands aside (Balle et al. 2018, Minnen et al. 2018).

Without a target for the rate, R + lambda D with lambda drawn for each sample; with one, HiFiC's price of the rate
beside `losses` (Mentzer et al. 2020, the first half of its training).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from gencomp.networks.contract import Network, freeze_synthesis

from ..losses import bits_of, rate_distortion, watched
from ..recipe import Recipe
from ..terms import TERMS, Term
from .contract import Metrics, MicroBatch, Procedure, Stage
from .shared import image_terms, priced_bits


@dataclass(frozen=True)
class RateDistortion(Procedure):
    name: ClassVar[str] = "rate_distortion"
    keeps_synthesis: bool = False  # the synthesis stays as it is, and all else is trained around it
    losses: Mapping[str, Term] = field(default_factory=dict, metadata={"rows": TERMS})  # under a target for the rate

    def check(self, recipe: Recipe) -> None:
        if bool(self.losses) != bool(recipe.rate.bpp):
            raise ValueError("rate_distortion.losses and rate.bpp go together: lambda weighs MSE and MS-SSIM alone")

    def choose(self, network: Network) -> None:
        if self.keeps_synthesis:
            freeze_synthesis(network)

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        inputs, recipe = micro.inputs, stage.recipe
        with stage.accelerator.autocast():
            output = self.forward(stage.players.codec.network, inputs)
        if not recipe.rate.bpp:
            loss = rate_distortion(output.x_hat, bits_of(output), inputs.x, inputs.quality_step, recipe)
            return loss, watched(inputs, output) | {"g_loss": loss.detach()}
        total, values = image_terms(stage, micro, output.x_hat)
        priced, price = priced_bits(stage, inputs, output)
        loss = (total + priced).mean()
        return loss, watched(inputs, output) | values | price | {"g_loss": loss.detach()}
