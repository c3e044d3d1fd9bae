"""The synthesis alone, as the generator of a GAN from the network's prior (Santurkar et al. 2018).

Images that were drawn have no original: a discriminator of images alone is all that it learns from. There is no encoder
yet, so nothing can be exported or validated, and sample grids show images that were drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gencomp.bitstream import STEPS
from gencomp.image import to_uint8
from gencomp.networks import FAMILIES
from gencomp.networks.contract import Network, TrainingInputs, TrainingOutput, freeze_bits

from ..discriminators import KINDS, Discriminator
from ..players import codec_optimiser
from ..recipe import Recipe
from .contract import Metrics, MicroBatch, Procedure, Stage
from .shared import against


@dataclass(frozen=True)
class Generator(Procedure):
    name: ClassVar[str] = "generator"
    codes: ClassVar[bool] = False
    discriminators: Mapping[str, Discriminator] = field(default_factory=dict, metadata={"rows": KINDS})

    trains_bits = False

    def check(self, recipe: Recipe) -> None:
        """Images that were drawn and real ones have nothing to do with one another."""
        if not FAMILIES[recipe.model.family].network.has_generator:
            raise ValueError(f"generator: networks of the family {recipe.model.family} are not trained as generators")
        if any(d.condition_channels or d.feature_matching for d in self.discriminators.values()):
            raise ValueError("generator needs discriminators of images alone: condition_channels=0, feature_matching=0")
        if not any(d.weight for d in self.discriminators.values()):
            raise ValueError("generator needs a discriminator whose weight is above 0: nothing else trains it")

    def choose(self, network: Network) -> None:
        freeze_bits(network)

    def optimiser(self, recipe: Recipe, parameters: list[nn.Parameter]) -> tuple[torch.optim.Optimizer, float]:
        """With the moments of its opponent, whose learning rate it has, too."""
        opponent = next(iter(self.discriminators.values()))
        return codec_optimiser(recipe, parameters, (opponent.beta1, opponent.beta2)), opponent.learning_rate

    def forward(self, network: Any, inputs: TrainingInputs) -> TrainingOutput:
        """Of latents that are drawn."""
        output: TrainingOutput = network(inputs, train_bits=False, drawn=True)
        return output

    def realism(self, drawn: Tensor) -> Tensor:
        """All of it: the discriminator is all."""
        return torch.ones_like(drawn)

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        with stage.accelerator.autocast():
            output = self.forward(stage.players.codec.network, micro.inputs)
        judged = against(stage, micro, output)
        counted = {"_realistic": torch.ones((), device=stage.device)}
        return judged.loss, judged.metrics | counted | {"g_loss": judged.generator}

    @torch.no_grad()
    def samples(self, network: Network, images: Tensor) -> Image.Image:
        """A row of as many images of the same size, drawn from the prior with the same noise every time."""
        device, generator = next(network.parameters()).device, torch.Generator().manual_seed(0)
        count, _, height, width = images.shape
        size = (count, network.config.latent_channels, height // network.stride, width // network.stride)
        noise = {"y": (torch.rand(size, generator=generator) - 0.5).to(device)}
        none = torch.zeros(count, device=device)
        origin = none[:, None].expand(-1, 2).long()
        inputs = TrainingInputs(none, torch.full_like(none, STEPS).long(), none, noise, origin)
        return Image.fromarray(np.concatenate([to_uint8(x[None]) for x in network(inputs, drawn=True).x_hat], axis=1))
