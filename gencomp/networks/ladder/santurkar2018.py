"""The family `santurkar2018`: a decoder that was a generator first (Santurkar, Budden and Shavit 2018, "Generative
compression").

    stage 0    g(u), u ~ p(u), against a discriminator that sees images alone                  (a GAN, as DCGAN)
    stage 1    min over f of E |x - g(f(x))|^2, g as it then is
    files      r = round(f(x) / D(q)),  x_hat = g(D(q) r)

The paper's order is the idea: g learns what images are from a prior of few numbers, without one to code, and f then
looks for the numbers whose image is nearest. Whatever is decoded lies where g's images lie, however few the bytes: it
degrades by showing something else, not by blocks or blur.

Kept: a generator after Radford, Metz and Chintala 2016 ("DCGAN": transposed convolutions of 5 x 5 and stride 2,
uniform u in -1..1), unconditional adversarial training, an encoder trained afterwards on distortion with the decoder
fixed, uniform quantisation of u, whose step chooses the rate.
Differs: the paper's images have one size (64 x 64) and one u; here the generator is convolutional from the first layer
on, one u of M numbers for each 64 x 64 pixels and images of any size, as in PatchGANs (Li and Wand 2016, "Precomputed
real-time texture synthesis with Markovian generative adversarial networks"). Batch
normalisation is left out, whose running means would be state beside the weights, and so is the normalisation of each
position over its channels (Karras et al. 2018), under which the generator came to ignore u within some hundred steps; a
penalty on the discriminator's gradient (Mescheder et al. 2018) keeps the game even. Distortion is squared
error alone; the paper adds the distance of features of a classifier, whose weights are not here. f sees its latents
rounded, with straight-through gradients. Tables are counted (counts.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...entropy.contract import EntropyModel
from ..contract import Calibration, Halo, Network, Quantized, TrainingInputs
from ..counts import estimated_bits
from ..layers import round_straight_through
from .grid import Grid
from .strided import (
    Kernel,
    analysis_reach,
    convolutions,
    synthesis_reach,
    to_pixels,
    to_signal,
    transposed_convolutions,
)

KERNELS = (Kernel(5, 2),) * 6
STRIDE = 64  # pixels for each u, both ways
GRID = Grid(1.0, 1 / 16)  # of u in -1..1: 3 values at quality 1, 33 at quality 100


@dataclass(frozen=True)
class Santurkar2018Config:
    """Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's sides, and of u."""

    family: ClassVar[str] = "santurkar2018"
    latent_channels: int = 32
    widths: tuple[int, int, int, int, int] = (32, 48, 64, 96, 128)

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """Of u, which stage 0 is trained on."""
        return {"y": (self.latent_channels, crop // STRIDE, crop // STRIDE)}

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Santurkar2018Config":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return Santurkar2018Config(**plain)


class Santurkar2018Network(Network):
    """See the contract for shapes; y is f(x) / D(q), f(x) in -1..1."""

    stride = STRIDE
    knows_realism = False
    has_prior = True
    has_generator = True

    def __init__(self, config: Santurkar2018Config) -> None:
        super().__init__()
        self.config = config
        channels = (3, *config.widths, config.latent_channels)
        self.analysis = nn.Sequential(*convolutions(channels, KERNELS), nn.Tanh())
        self.synthesis = transposed_convolutions(channels[::-1], KERNELS)

    @property
    def halo(self) -> Halo:
        """From the kernels."""
        return Halo(analysis_reach(KERNELS), synthesis_reach(KERNELS))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Rounded latents; no bits to be minimised, but those that files take."""
        step = GRID.step(inputs.quality_step)
        latents = self.analysis(to_signal(inputs.x)).float()
        bits = {"y": estimated_bits(latents.detach(), step)}
        return Quantized(round_straight_through(latents / step), {"y": torch.zeros_like(bits["y"])}, bits)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] in 0..1 -> y [N, M, H / 64, W / 64]."""
        return self.analysis(to_signal(x)).float() / GRID.step(quality_step)

    def hyper_analyze(self, y: Tensor) -> None:
        """There are none."""
        return None

    def generated_from(self, noise: Mapping[str, Tensor], quality_step: Tensor) -> Tensor:
        """u uniform in -1..1, in units of y."""
        return 2 * noise["y"] / GRID.step(quality_step)

    def draw_prior(self, height: int, width: int, quality_step: Tensor, generator: torch.Generator) -> Tensor:
        """The same."""
        noise = torch.rand(1, self.config.latent_channels, height, width, generator=generator) - 0.5
        return self.generated_from({"y": noise.to(quality_step.device)}, quality_step)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """u."""
        return y_hat * GRID.step(quality_step)

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] -> x_hat [N, 3, 64 h, 64 w]."""
        return to_pixels(self.synthesis(self.condition(y_hat, quality_step)))

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        """g."""
        yield self.synthesis

    def entropy_modules(self) -> Iterator[nn.Module]:
        """f, whose latents were counted."""
        yield self.analysis

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """Tables by counting."""
        return GRID.freeze(calibration)

    def bits_of(self, calibration: Calibration) -> None:
        """Counts have no float form."""
        return None
