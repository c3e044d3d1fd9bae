"""The family `hyperprior`: analysis, gains, prior and synthesis in one network, for every quality and realism.

    x --g_a--> y --gain--> round against the prior --gain--> g_s --> x_hat

A variable-rate mean-scale hyperprior with a context model in passes (Minnen et al. 2018; Li et al. 2023).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..entropy.contract import EntropyModel
from .contract import Calibration, Halo, Network, PassPrior, Quantized, TrainingInputs
from .freeze import float_pass, freeze_prior
from .layers import Block
from .positional_noise import PositionalNoise
from .priors import Prior, PriorConfig
from .transforms import STRIDE, Analysis, LatentGains, Synthesis, TransformConfig, quality_condition


@dataclass(frozen=True)
class HyperpriorConfig:
    """What the decoder must know to rebuild the networks."""

    family: ClassVar[str] = "hyperprior"
    transform: TransformConfig = field(default_factory=TransformConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    @property
    def latent_channels(self) -> int:
        """M, the channels of y."""
        return self.transform.latent_channels

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the quantisation noise of y and z for a crop of crop x crop pixels."""
        side = crop // STRIDE
        hyper_side = -(-side // 4)
        return {
            "y": (self.latent_channels, side, side),
            "z": (self.prior.hyper_channels, hyper_side, hyper_side),
        }

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON; defaults are not named, as in files from before they were known."""
        values = asdict(self)
        for key in ("grain", "decoder_inner"):
            if not values["transform"][key]:
                del values["transform"][key]
        return values

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "HyperpriorConfig":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        transform: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["transform"].items()}
        return HyperpriorConfig(TransformConfig(**transform), PriorConfig(**values["prior"]))


class HyperpriorNetwork(Network):
    """See the contract for shapes; `gains` scale y before rounding and undo it after."""

    stride = STRIDE
    knows_realism = True

    def __init__(self, config: HyperpriorConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config.transform)
        self.gains = LatentGains(config.transform.latent_channels)
        self.prior = Prior(config.transform.latent_channels, config.prior)
        self.synthesis = Synthesis(config.transform)

    @property
    def halo(self) -> Halo:
        """g_a: the blocks at 1/8 and 1/16. g_s: bottlenecks at 1/16, 1/8 and 1/4, two convolutions at 1/2."""
        fine, coarse = self.config.transform.encoder_depths
        n16, n8, n4 = (sum(width > 0 for width in stage) for stage in self.config.transform.inner_by_stage())
        return Halo(math.ceil(Block.REACH * (fine / 2 + coarse)), math.ceil(n16 + n8 / 2 + n4 / 4 + 2 / 8))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Analysis, prior and rounding in one differentiable pass."""
        y = self.analyze(inputs.x, inputs.quality_step)
        condition = quality_condition(inputs.quality_step)
        return self.prior(y, condition, inputs.noise)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] -> scaled latents y [N, M, H / 16, W / 16], float32."""
        condition = quality_condition(quality_step)
        return self.gains.encode(self.analysis(x, condition).float(), condition)

    def hyper_analyze(self, y: Tensor) -> Tensor:
        """h_a: y [N, M, h, w] -> z [N, Z, ceil(h / 4), ceil(w / 4)]."""
        return self.prior.hyper_analysis(y)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """y_hat in the units of the analysis."""
        return self.gains.decode(y_hat, quality_condition(quality_step))

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] scaled -> x_hat [N, 3, 16 h, 16 w]."""
        condition = quality_condition(quality_step)
        origin = torch.zeros(len(y_hat), 2, dtype=torch.long, device=y_hat.device) if origin is None else origin
        return self.synthesis(self.gains.decode(y_hat, condition), condition, realism, origin).float()

    @property
    def pass_prior(self) -> PassPrior:
        """The prior."""
        return self.prior

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        """g_s, and the gains before it."""
        yield self.synthesis
        yield self.gains.log_decode

    def entropy_modules(self) -> Iterator[nn.Module]:
        """The prior."""
        yield self.prior

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """The integer prior."""
        return freeze_prior(self.prior, calibration)

    def bits_of(self, calibration: Calibration) -> float:
        """Bits under the float prior."""
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
