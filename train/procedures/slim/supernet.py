"""The supernet: a network whose synthesis may run at any widths within its own, all of which share its weights."""

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from gencomp.networks.hyperprior import HyperpriorNetwork
from gencomp.networks.transforms import Synthesis, TransformConfig, quality_condition

from .channels import narrowed
from .widths import Elastic


class Supernet(HyperpriorNetwork):
    """Weights and names are those of the family. widths: what `synthesize` runs at; None: all of it."""

    widths: TransformConfig | None = None

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """See the contract."""
        if self.widths is None:
            return super().synthesize(y_hat, quality_step, realism, origin)
        with torch.device("meta"):
            shell = Synthesis(self.widths)
        condition = quality_condition(quality_step)
        origin = torch.zeros(len(y_hat), 2, dtype=torch.long, device=y_hat.device) if origin is None else origin
        weights = narrowed(dict(self.synthesis.named_parameters()), self.widths)
        inputs = (self.gains.decode(y_hat, condition), condition, realism, origin)
        return functional_call(shell, weights, inputs, strict=True).float()


def drawn_widths(
    teacher: TransformConfig, seed: tuple[int, ...], kmac: float, spread: tuple[float, float]
) -> TransformConfig:
    """A sub-network of a teacher's synthesis: some budget about the one asked for, and random widths within it."""
    rng, elastic = np.random.default_rng(seed), Elastic(teacher)
    return elastic.config(elastic.drawn(rng, kmac * rng.uniform(*spread)))


def removed_for_good(supernet: dict[str, Tensor], widths: TransformConfig) -> dict[str, Tensor]:
    """The weights of a whole network with the synthesis at `widths`, from those of the supernet."""
    prefix = "synthesis."
    wide = {name.removeprefix(prefix): value for name, value in supernet.items() if name.startswith(prefix)}
    rest = {name: value for name, value in supernet.items() if not name.startswith(prefix)}
    return rest | {prefix + name: value.clone() for name, value in narrowed(wide, widths).items()}
