"""The family `autoencoder`: a bottleneck trained for mean squared error, quantised when the training is over.

    min  E |x - g(f(x))|^2;    then  r = round(f(x) / D(q)),   x_hat = g(D(q) r)

The oldest way to a learned code (Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural
networks"), with convolutions as images want them. f and g are four convolutions of 5 x 5 with stride 2, leaky ReLU
between them, and their transposes. Nothing in the training knows of rounding or of bits: the quality q chooses the step
D(q) of a uniform grid afterwards, the same for all channels, and the code is written by tables that were counted on
calibration images, once for each of a row of qualities (counts.py). So the network spends its latents as it likes,
which is what the steps after this one put right.

In training the decoder sees latents as they are. The `psnr` of the training log is therefore that before quantisation,
its `bpp` an estimate of what the rounded latents take at each sample's quality; what `validate` logs is measured on
files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...entropy.contract import EntropyModel
from ..contract import Calibration, Halo, Network, Quantized, TrainingInputs
from ..counts import estimated_bits
from .grid import Grid
from .strided import (
    STRIDE,
    Kernel,
    analysis_reach,
    convolutions,
    synthesis_reach,
    to_pixels,
    to_signal,
    transposed_convolutions,
)

KERNELS = (Kernel(5, 2),) * 4
GRID = Grid(3.0, 0.0625)  # latents come to lie within a unit or two


@dataclass(frozen=True)
class AutoencoderConfig:
    """Channels at 1/2, 1/4 and 1/8 of the image's sides, and of the latents."""

    family: ClassVar[str] = "autoencoder"
    latent_channels: int = 48
    widths: tuple[int, int, int] = (32, 64, 96)

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """None is added; that it is not there says that latents are to be rounded."""
        return {"y": (1, 1, 1)}

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "AutoencoderConfig":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)


class AutoencoderNetwork(Network):
    """See the contract for shapes; y is f(x) / D(q)."""

    stride = STRIDE
    knows_realism = False

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = (3, *config.widths, config.latent_channels)
        self.analysis = convolutions(channels, KERNELS)
        self.synthesis = transposed_convolutions(channels[::-1], KERNELS)

    @property
    def halo(self) -> Halo:
        """From the kernels."""
        return Halo(analysis_reach(KERNELS), synthesis_reach(KERNELS))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Latents as they are and no bits in training; without noise, rounded latents and their bits."""
        latents, step = self.analysis(to_signal(inputs.x)).float(), GRID.step(inputs.quality_step)
        bits = {"y": estimated_bits(latents, step)}
        if not inputs.noise:
            return Quantized(torch.round(latents / step), bits)
        return Quantized(latents / step, {"y": torch.zeros_like(bits["y"])}, bits)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] in 0..1 -> y [N, M, H / 16, W / 16]."""
        return self.analysis(to_signal(x)).float() / GRID.step(quality_step)

    def hyper_analyze(self, y: Tensor) -> None:
        """There are none."""
        return None

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """y_hat in the units of f."""
        return y_hat * GRID.step(quality_step)

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w]."""
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
