"""The family `autoencoder`: a bottleneck trained for mean squared error, quantised when the training is over.

    min  E |x - g(f(x))|^2;    then  r = round(f(x) / D(q)),   x_hat = g(D(q) r)

The oldest way to a learned code (Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural
networks"; for images with convolutions, before rates were learned). f and g are four convolutions of 5 x 5 with stride
2, leaky ReLU between them, and their transposes. Nothing in the training knows of rounding or of bits: the quality q
chooses the step D(q) of a uniform grid afterwards, the same for all channels, and the code is written by tables that
were counted on calibration images, once for each of a row of qualities (counts.py). So the network spends its latents
as it likes, which is what the steps after this one put right.

In training the decoder sees latents as they are. The `psnr` of the training log is therefore that before quantisation,
its `bpp` an estimate of what the rounded latents take at each sample's quality; what `validate` logs is measured on
files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...bitstream import STEPS
from ...entropy.contract import EntropyModel
from ..contract import Calibration, Halo, Network, Quantized, TrainingInputs
from ..counts import estimated_bits
from ..freeze import freeze_counts
from .strided import STRIDE, Kernel, analysis_reach, down, synthesis_reach, to_pixels, to_signal, up

KERNELS = (Kernel(5, 2),) * 4
COARSEST, FINEST = 8.0, 0.125  # grid steps D at quality steps 0 and STEPS; latents come to lie within a few units


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

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "AutoencoderConfig":
        """The reverse of `to_dict`; unknown keys raise TypeError."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return AutoencoderConfig(**plain)


def grid_step(quality_step: Tensor) -> Tensor:
    """D(q): quality_step int [N] -> [N], evenly spaced in its logarithm."""
    return COARSEST * torch.exp2(quality_step.float() * (torch.log2(torch.tensor(FINEST / COARSEST)) / STEPS))


class AutoencoderNetwork(Network):
    """See the contract for shapes; y is f(x) / D(q)."""

    stride = STRIDE
    knows_realism = False

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = (3, *config.widths, config.latent_channels)
        self.analysis, self.synthesis = convolutions(channels), transposed_convolutions(channels[::-1])

    @property
    def halo(self) -> Halo:
        """From the kernels."""
        return Halo(analysis_reach(KERNELS), synthesis_reach(KERNELS))

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Latents as they are and no bits in training, rounded ones with their bits without noise."""
        y = self.analyze(inputs.x, inputs.quality_step)
        step = grid_step(inputs.quality_step)
        estimated = estimated_bits(y * step[:, None, None, None], step)
        if not inputs.noise:
            return Quantized(torch.round(y), {"y": estimated})
        return Quantized(y, {"y": torch.zeros_like(estimated)}, {"y": estimated})

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] in 0..1 -> y [N, M, H / 16, W / 16]."""
        return self.analysis(to_signal(x)).float() / grid_step(quality_step)[:, None, None, None]

    def hyper_analyze(self, y: Tensor) -> None:
        """There are none."""
        return None

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """y_hat in the units of the analysis."""
        return y_hat * grid_step(quality_step)[:, None, None, None]

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] -> x_hat [N, 3, 16 h, 16 w]."""
        return to_pixels(self.synthesis(self.condition(y_hat, quality_step)))

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        """The decoder."""
        yield self.synthesis

    def entropy_modules(self) -> Iterator[nn.Module]:
        """The encoder, whose latents were counted."""
        yield self.analysis

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """Tables by counting: every calibration image at every quality that has a set."""
        steps = torch.tensor([image.quality_step for image in calibration])
        images = zip(calibration, grid_step(steps))
        latents = torch.cat([(image.y[0] * step).flatten(1) for image, step in images], 1)
        return freeze_counts(lambda step: torch.round(latents / grid_step(torch.tensor([step]))))

    def bits_of(self, calibration: Calibration) -> None:
        """Counts have no float form."""
        return None


def convolutions(channels: Sequence[int]) -> nn.Sequential:
    """A convolution from each number of channels to the next, leaky ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [down(inputs, outputs, KERNELS[0]), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers[:-1])


def transposed_convolutions(channels: Sequence[int]) -> nn.Sequential:
    """The reverse of `convolutions`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [up(inputs, outputs, KERNELS[0]), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers[:-1])
