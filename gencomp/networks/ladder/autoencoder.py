"""The family `autoencoder`: a bottleneck trained for mean squared error, quantised when the training is over.

    min  E |x - g(f(x))|^2;    then  r = round(f(x) / D(q)),   x_hat = g(D(q) r)

The oldest way to a learned code (Hinton and Salakhutdinov 2006, "Reducing the dimensionality of data with neural
networks"), with convolutions as images want them. f and g are four convolutions of 5 x 5 with stride 2, leaky ReLU
between them, and their transposes. Nothing in the training knows of rounding or of bits: the quality q chooses the step
D(q) of a uniform grid afterwards, the same for all channels, and the code is written by tables that were counted on
calibration images, once for each of a row of qualities (counted.py). So the network spends its latents as it likes,
which is what the steps after this one put right.

In training the decoder sees latents as they are. The `psnr` of the training log is therefore that before quantisation,
its `bpp` an estimate of what the rounded latents take at each sample's quality; what `validate` logs is measured on
files.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..contract import NetworkConfig, Quantized, TrainingInputs
from .counted import CountedCodec, Grid, estimated_bits
from .strided import Kernel, convolutions, transposed_convolutions


@dataclass(frozen=True)
class AutoencoderConfig(NetworkConfig):
    """Channels at 1/2, 1/4 and 1/8 of the image's sides, and of the latents."""

    family: ClassVar[str] = "autoencoder"
    latent_channels: int = 48
    widths: tuple[int, int, int] = (32, 64, 96)

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        """None is added; that it is not there says that latents are to be rounded."""
        return {"y": (1, 1, 1)}


class AutoencoderNetwork(CountedCodec):
    """y is f(x) / D(q)."""

    kernels = (Kernel(5, 2),) * 4
    grid = Grid(3.0, 0.0625)  # latents come to lie within a unit or two

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        channels = (3, *config.widths, config.latent_channels)
        self.analysis = convolutions(channels, self.kernels)
        self.synthesis = transposed_convolutions(channels[::-1], self.kernels)

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Latents as they are and no bits in training; without noise, rounded latents and their bits."""
        latents, step = self.latents(inputs.x), self.grid.step(inputs.quality_step)
        bits = {"y": estimated_bits(latents, step)}
        if not inputs.noise:
            return Quantized(torch.round(latents / step), bits)
        return Quantized(latents / step, {"y": torch.zeros_like(bits["y"])}, bits)
