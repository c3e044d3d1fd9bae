"""The family `hyperprior`: analysis, gains, prior and synthesis in one network, for every quality and realism.

    x --g_a--> y --gain--> round against the prior --gain--> g_s --> x_hat

A variable-rate mean-scale hyperprior with a context model in passes (Minnen et al. 2018; Li et al. 2023).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..entropy.contract import EntropyModel
from .contract import Calibration, Halo, Network, NetworkConfig, PassPrior, Quantized, TrainingInputs
from .freeze import float_pass, freeze_prior
from .layers import Block
from .positional_noise import PositionalNoise
from .priors import Prior, PriorConfig
from .transforms import Analysis, LatentGains, Synthesis, TransformConfig, quality_condition, transform_config


@dataclass(frozen=True)
class HyperpriorConfig(NetworkConfig):
    """What the decoder must know to rebuild the networks."""

    family: ClassVar[str] = "hyperprior"
    transform: TransformConfig = field(default_factory=TransformConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    @property
    def latent_channels(self) -> int:
        return self.transform.latent_channels

    @property
    def hyper_channels(self) -> int:
        return self.prior.hyper_channels

    def to_dict(self) -> dict[str, Any]:
        """Some defaults are not named, as in files from before they were known."""
        values = super().to_dict()
        for key in ("grain", "decoder_inner"):
            if not values["transform"][key]:
                del values["transform"][key]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(transform_config(values["transform"]), PriorConfig(**values["prior"]))


class HyperpriorNetwork(Network):
    """See the contract for shapes; `gains` scale y before rounding and undo it after."""

    knows_realism = True

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__(config)
        self.analysis = Analysis(config.transform)
        self.gains = LatentGains(config.latent_channels)
        self.prior = Prior(config.latent_channels, config.prior)
        self.synthesis = Synthesis(config.transform)

    @property
    def halo(self) -> Halo:
        """g_a: the blocks at 1/8 and 1/16. g_s: bottlenecks at 1/16, 1/8 and 1/4, two convolutions at 1/2."""
        fine, coarse = self.config.transform.encoder_depths
        n16, n8, n4 = (sum(width > 0 for width in stage) for stage in self.config.transform.inner_by_stage())
        return Halo(math.ceil(Block.REACH * (fine / 2 + coarse)), math.ceil(n16 + n8 / 2 + n4 / 4 + 2 / 8))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        y = self.analyze(inputs.x, inputs.quality_step)
        quantized: Quantized = self.prior(y, quality_condition(inputs.quality_step), inputs.noise)
        return quantized

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        condition = quality_condition(quality_step)
        return self.gains.encode(self.analysis(x, condition).float(), condition)

    def hyper_analyze(self, y: Tensor) -> Tensor:
        return self.prior.hyper_analysis(y)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        return self.gains.decode(y_hat, quality_condition(quality_step))

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        condition = quality_condition(quality_step)
        origin = torch.zeros(len(y_hat), 2, dtype=torch.long, device=y_hat.device) if origin is None else origin
        return self.draw(self.gains.decode(y_hat, condition), condition, realism, origin).float()

    def draw(self, y_hat: Tensor, condition: Tensor, realism: Tensor, origin: Tensor) -> Tensor:
        return self.synthesis(y_hat, condition, realism, origin)

    @property
    def pass_prior(self) -> PassPrior:
        return self.prior

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        return freeze_prior(self.prior, calibration)

    def bits_of(self, calibration: Calibration) -> float:
        return float_pass(self.prior, calibration).bits

    @torch.no_grad()
    def begin_realism(self) -> None:
        """Positional noise that is still silent starts as any convolution does: deviations have no gradient towards
        noise of size zero."""
        for module in self.synthesis.modules():
            if isinstance(module, PositionalNoise) and not module.project.weight.any():
                nn.init.kaiming_uniform_(module.project.weight, a=5**0.5)

    def rescale_realism(self, scale: float) -> None:
        """All that depends on realism is linear in it."""
        self.synthesis.rescale_realism(scale)
