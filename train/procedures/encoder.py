"""The encoder alone, against a decoder and an entropy model that stand still: files stay readable by the same model.

The analysis learns which latents to send: by their bits, weighed as in `rate_distortion`, and by terms of images at the
realism of each sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from gencomp.networks.contract import Network, freeze_synthesis

from ..losses import watched
from ..recipe import Recipe
from ..terms import TERMS, Term
from .contract import Metrics, MicroBatch, Procedure, Stage
from .shared import image_terms, priced_bits


@dataclass(frozen=True)
class Encoder(Procedure):
    """See the module. The decoder knows realism already; the encoder, which does not see it, serves all of it."""

    name: ClassVar[str] = "encoder"
    losses: Mapping[str, Term] = field(default_factory=dict, metadata={"rows": TERMS})

    teaches_realism = needs_codec = True

    def check(self, recipe: Recipe) -> None:
        if not self.losses or recipe.rate.bpp:
            raise ValueError("encoder needs losses, and no target for the rate")

    def choose(self, network: Network) -> None:
        freeze_synthesis(network)
        for part in network.entropy_modules():
            part.requires_grad_(False)

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        with stage.accelerator.autocast():
            output = self.forward(stage.players.codec.network, micro.inputs)
        total, metrics = image_terms(stage, micro, output.x_hat)
        loss = (total + priced_bits(stage, micro.inputs, output)[0]).mean()
        return loss, metrics | watched(micro.inputs, output) | {"g_loss": loss.detach()}
