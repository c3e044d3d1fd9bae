"""What a network family is: the seam behind which every codec network stands.

    image x --analyze--> y --hyper_analyze--> z        for coding (runtime/)
    y_hat --synthesize--> x_hat                        for decoding (runtime/)
    forward: x --> x_hat and bits by stream            for training (train/)
    freeze: calibration images --> an entropy model    once, at export

A family is one file with a frozen configuration and a `Network`, and one row of `FAMILIES` (networks/__init__.py).
Nothing outside that file asks which family it holds. N samples, M latent channels, latents of h x w for an image of
h stride x w stride pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from ..bitstream import ModelError
from ..entropy.contract import EntropyModel


@dataclass(frozen=True)
class NetworkConfig:
    """Base of every family's configuration: what must be known to rebuild a network. Fields have defaults, and are
    numbers of at most 4096, either sign, or tuples of them. `stride`: pixels per latent, both ways: 16, 32 or 64."""

    family: ClassVar[str]
    stride: ClassVar[int] = 16

    @property
    def latent_channels(self) -> int:
        """M, the channels of y."""
        raise NotImplementedError

    @property
    def hyper_channels(self) -> int:
        """Channels of z, at a quarter of the latents' sides; 0: there is none."""
        return 0

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Shapes, without the batch, of the random inputs of one training crop of crop x crop pixels, by stream: of the
        noise that stands for rounding, if the family does not say otherwise."""
        side = crop // self.stride
        shapes = {"y": (self.latent_channels, side, side), "z": (self.hyper_channels, -(-side // 4), -(-side // 4))}
        return {stream: shape for stream, shape in shapes.items() if shape[0]}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the family's name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`, out of a file that anybody may have written: TypeError or ValueError for what does
        not describe a network."""
        return cls(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})


class Halo(NamedTuple):
    """How far an output looks beyond its own place, in latents: what a tile must see around what it yields."""

    analysis: int
    synthesis: int


class TrainingInputs(NamedTuple):
    """A batch: x [N, 3, H, W] in 0..1; quality_step int [N] in 0..1024; realism [N] in 0..1; noise in -1/2..1/2 by
    stream, [N, *noise_shapes], or {}: then bits are those of rounded latents; origin int [N, 2], row and column in
    latents from which positional noise is taken."""

    x: Tensor
    quality_step: Tensor
    realism: Tensor
    noise: Mapping[str, Tensor]
    origin: Tensor


class Quantized(NamedTuple):
    """y_hat [N, M, h, w] as decoded, with straight-through gradients; bits [N] of each sample, by stream; rounded_bits
    the same of rounded latents, without gradients, where bits are relaxed by noise (None: they are not)."""

    y_hat: Tensor
    bits: dict[str, Tensor]
    rounded_bits: dict[str, Tensor] | None = None


class TrainingOutput(NamedTuple):
    """x_hat [N, 3, H, W] about 0..1; y_hat [N, M, h, w] as decoded, and condition [N, M, h, w], the same in units that
    are alike at every quality, which a discriminator sees (both detached); bits [N] of each sample, by stream;
    rounded_bits [N], detached: what a file would take."""

    x_hat: Tensor
    y_hat: Tensor
    condition: Tensor
    bits: dict[str, Tensor]
    rounded_bits: dict[str, Tensor]


class Calibration(NamedTuple):
    """Latents of one calibration image: y [1, M, h, w], rounded z [1, Z, h', w'] or None, float32 on the CPU."""

    y: Tensor
    z_hat: Tensor | None
    quality_step: int


class PassPrior(Protocol):
    """The float form of an entropy model with a hyperprior and `passes` passes (entropy/passes.py), differentiable:
    what inference of latents (refine/) follows. Batches of one."""

    passes: int

    def hyper_features(self, z_hat: Tensor, quality_step: Tensor, height: int, width: int) -> Tensor:
        """z_hat [1, Z, h', w'], quality_step int [1] -> what all passes take of it, for y of height x width."""
        ...

    def mean_and_level(self, index: int, features: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Pass `index`: latents known so far [1, M, h, w], else 0 -> means and fractional scale levels of all."""
        ...

    def z_bits(self, z: Tensor) -> Tensor:
        """z [1, Z, h', w'] -> bits of each, the same shape."""
        ...


class Network(nn.Module, ABC):
    """Base of every family's network."""

    knows_realism = False  # whether `synthesize` heeds its realism
    has_prior = False  # whether `draw_prior` draws
    has_generator = False  # whether `generated_from` gives latents

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config

    @property
    def stride(self) -> int:
        """Pixels per latent, both ways."""
        return int(self.config.stride)

    @property
    @abstractmethod
    def halo(self) -> Halo:
        """From the receptive fields of the layers."""

    @abstractmethod
    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Analysis and rate as training differentiates them."""

    @abstractmethod
    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] in 0..1, sides multiples of the stride, quality_step int [N] -> y [N, M, h, w] float32, in
        units of the rounding step."""

    def hyper_analyze(self, y: Tensor) -> Tensor | None:
        """y [N, M, h, w] of whole images -> z [N, Z, h', w'], not rounded; None for a family without."""
        return None

    @abstractmethod
    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w], quality_step int [N], realism [N] -> x_hat [N, 3, H, W] float32, about 0..1, not clipped.

        origin int [N, 2]: row and column of the first latent in its image, (0, 0) if not given.
        """

    def synthesis_modules(self) -> Sequence[nn.Module | nn.Parameter]:
        """What decides pixels and no bit: all that stage 2 may train without changing a file. By default `synthesis`,
        and of `gains` those that come after rounding."""
        after_rounding = [p for name, p in self.named_parameters() if name == "gains.log_decode"]
        return [self.get_submodule("synthesis"), *after_rounding]

    def entropy_modules(self) -> Sequence[nn.Module]:
        """What `freeze` turns into integers, by default `prior`: where it has not changed, the integers of before still
        hold."""
        return [self.get_submodule("prior")]

    @abstractmethod
    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """The exact integer entropy model of the trained one; calibration over the whole range of qualities."""

    def bits_of(self, calibration: Calibration) -> float | None:
        """Bits of rounded latents under the float entropy model, to compare with the integer one; None for a family
        whose tables are counted at export."""
        return None

    @property
    def pass_prior(self) -> PassPrior | None:
        """The float prior pass by pass; None for a family whose latents cannot be refined."""
        return None

    def draw_prior(self, height: int, width: int, quality_step: Tensor, generator: torch.Generator) -> Tensor:
        """y_hat [1, M, height, width] drawn from the network's own prior, where it `has_prior`, as a variational
        autoencoder has; quality_step int [1], generator of the CPU. Other families are drawn from by their entropy
        models. ModelError without."""
        raise ModelError(f"networks of the family {self.config.family} have no prior of their own")

    def generated_from(self, noise: Mapping[str, Tensor], quality_step: Tensor) -> Tensor:
        """y_hat [N, M, h, w] as the network's own prior has it, of uniform noise in -1/2..1/2 (`TrainingInputs`): from
        what the synthesis can learn as a generator, before there is an encoder. ModelError where it has none."""
        raise ModelError(f"networks of the family {self.config.family} are not trained as generators")

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """Decoded latents in units that are alike at every quality; as they are unless the family scales them."""
        return y_hat

    def rescale_realism(self, scale: float) -> None:
        """Let realism 1 stand for what was `scale` before; ModelError for a family that does not know realism."""
        raise ModelError(f"networks of the family {self.config.family} do not know realism")

    def begin_realism(self) -> None:
        """Called once, when a stage begins that teaches realism, to wake what must not start at zero."""

    def forward(self, inputs: TrainingInputs, *, train_bits: bool = True, drawn: bool = False) -> TrainingOutput:
        """One training pass. train_bits: whether what decides bits is trained too; else it runs without gradients.
        drawn: of latents that the prior gives instead of the images', and of no bits."""
        if drawn:
            y_hat = self.generated_from(inputs.noise, inputs.quality_step).detach()
            x_hat = self.synthesize(y_hat, inputs.quality_step, inputs.realism, inputs.origin)
            return TrainingOutput(x_hat, y_hat, self.condition(y_hat, inputs.quality_step).detach(), {}, {})
        with torch.set_grad_enabled(train_bits and torch.is_grad_enabled()):
            y_hat, bits, rounded = self.quantize(inputs)
        seen = y_hat.detach()
        condition = self.condition(seen, inputs.quality_step).detach()
        x_hat = self.synthesize(y_hat, inputs.quality_step, inputs.realism, inputs.origin)
        what_a_file_takes = rounded or {stream: value.detach() for stream, value in bits.items()}
        return TrainingOutput(x_hat, seen, condition, bits, what_a_file_takes)


def freeze_synthesis(network: Network) -> None:
    """Leave what decides bits alone to train."""
    for part in network.synthesis_modules():
        part.requires_grad_(False)


def freeze_bits(network: Network) -> None:
    """Leave what decides pixels alone to train: files, and so their bytes, stay as they are."""
    network.requires_grad_(False)
    for part in network.synthesis_modules():
        part.requires_grad_(True)


def parameter_count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
