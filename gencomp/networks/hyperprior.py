"""The codec network: analysis, gains, prior and synthesis in one module, for every quality and realism.

    x --g_a--> y --gain--> round against the prior --gain--> g_s --> x_hat

`HyperpriorCodec.forward` is what training differentiates; `codec.py` runs the same parts around integer coding.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .priors import Prior, PriorConfig
from .transforms import Analysis, LatentGains, Synthesis, TransformConfig, quality_condition


@dataclass(frozen=True)
class ModelConfig:
    """What the decoder must know to rebuild the networks."""

    transform: TransformConfig = field(default_factory=TransformConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON. Without grain it is not named, as in files from before there was any."""
        values = asdict(self)
        if not self.transform.grain:
            del values["transform"]["grain"]
        return values

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "ModelConfig":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        transform: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["transform"].items()}
        return ModelConfig(TransformConfig(**transform), PriorConfig(**values["prior"]))


class CodecOutput(NamedTuple):
    """x_hat [N, 3, H, W] about 0..1; y_bits and z_bits [N], bits a picture."""

    x_hat: Tensor
    y_bits: Tensor
    z_bits: Tensor


class HyperpriorCodec(nn.Module):
    """A variable-rate mean-scale hyperprior with four-pass context (Minnen et al. 2018; Li et al. 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config.transform)
        self.gains = LatentGains(config.transform.latent_channels)
        self.prior = Prior(config.transform.latent_channels, config.prior)
        self.synthesis = Synthesis(config.transform)

    def latents(self, x: Tensor, step: Tensor) -> Tensor:
        """x [N, 3, H, W] in 0..1, step [N] int -> scaled latents y [N, M, H / 16, W / 16], float32."""
        condition = quality_condition(step)
        return self.gains.encode(self.analysis(x, condition).float(), condition)

    def pictures(self, y_hat: Tensor, step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] scaled, step [N] int, realism [N] in 0..1 -> x_hat [N, 3, 16 h, 16 w].

        origin [N, 2] int: row and column of the first latent in its picture, (0, 0) if not given.
        """
        condition = quality_condition(step)
        origin = torch.zeros(len(y_hat), 2, dtype=torch.long, device=y_hat.device) if origin is None else origin
        return self.synthesis(self.gains.decode(y_hat, condition), condition, realism, origin).float()

    def forward(self, x: Tensor, step: Tensor, realism: Tensor, noise_y: Tensor, noise_z: Tensor) -> CodecOutput:
        """One training pass; noise_y [N, M, h, w] and noise_z [N, Z, h', w'] uniform in -1/2..1/2."""
        y = self.latents(x, step)
        y_hat, y_bits, z_bits = self.prior(y, quality_condition(step), noise_y, noise_z)
        return CodecOutput(self.pictures(y_hat, step, realism), y_bits, z_bits)


def parameter_count(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in module.parameters())


class Cost(NamedTuple):
    """Multiply-accumulates a pixel, in thousands: encoder = g_a + h_a, decoder = h_s + contexts + g_s."""

    encoder_kmac: float
    decoder_kmac: float


def cost(model: HyperpriorCodec, side: int = 256) -> Cost:
    """Count the multiplications of every convolution on one side x side picture (a multiple of 64)."""
    counted: dict[nn.Module, float] = {}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counted[module] = counted.get(module, 0.0) + output[0, 0].numel() * module.weight.numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv2d)]
    device = next(model.parameters()).device
    x, step = torch.zeros(1, 3, side, side, device=device), torch.zeros(1, dtype=torch.long, device=device)
    with torch.no_grad():
        model(x, step, step.float(), torch.zeros((), device=device), torch.zeros((), device=device))
    for hook in hooks:
        hook.remove()
    encoder = set(model.analysis.modules()) | set(model.prior.hyper_analysis.modules())
    total = sum(counted.values())
    analysis = sum(value for module, value in counted.items() if module in encoder)
    return Cost(analysis / side**2 / 1e3, (total - analysis) / side**2 / 1e3)
