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
rounded, with straight-through gradients. Tables are counted (counted.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..contract import NetworkConfig, Quantized, TrainingInputs
from ..layers import round_straight_through
from .counted import CountedCodec, Grid, estimated_bits
from .strided import Kernel, convolutions, transposed_convolutions


@dataclass(frozen=True)
class Santurkar2018Config(NetworkConfig):
    """Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's sides, and of u. The noise is u, for stage 0."""

    family: ClassVar[str] = "santurkar2018"
    stride: ClassVar[int] = 64  # pixels for each u, both ways
    latent_channels: int = 32
    widths: tuple[int, int, int, int, int] = (32, 48, 64, 96, 128)


class Santurkar2018Network(CountedCodec):
    """y is f(x) / D(q), f(x) in -1..1."""

    has_prior = True
    has_generator = True
    kernels = (Kernel(5, 2),) * 6
    grid = Grid(1.0, 1 / 16)  # of u in -1..1: 3 values at quality 1, 33 at quality 100

    def __init__(self, config: Santurkar2018Config) -> None:
        super().__init__(config)
        channels = (3, *config.widths, config.latent_channels)
        self.analysis = nn.Sequential(*convolutions(channels, self.kernels), nn.Tanh())
        self.synthesis = transposed_convolutions(channels[::-1], self.kernels)

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Rounded latents; no bits to be minimised, but those that files take."""
        latents, step = self.latents(inputs.x), self.grid.step(inputs.quality_step)
        bits = {"y": estimated_bits(latents.detach(), step)}
        return Quantized(round_straight_through(latents / step), {"y": torch.zeros_like(bits["y"])}, bits)

    def generated_from(self, noise: Mapping[str, Tensor], quality_step: Tensor) -> Tensor:
        """u uniform in -1..1, in units of y."""
        return 2 * noise["y"] / self.grid.step(quality_step)

    def draw_prior(self, height: int, width: int, quality_step: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.rand(1, self.config.latent_channels, height, width, generator=generator) - 0.5
        return self.generated_from({"y": noise.to(quality_step.device)}, quality_step)
