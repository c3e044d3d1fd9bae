"""Strided convolutions down to the latents and up again, and how far they see."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

SIGNAL = 4.0  # one over the standard deviation of pixels, about


class Kernel(NamedTuple):
    """A convolution's side and stride; a transposed one's, too."""

    side: int
    stride: int


def down(inputs: int, outputs: int, kernel: Kernel, *, rectified: bool = True) -> nn.Conv2d:
    """[N, I, s h, s w] -> [N, O, h, w]; zeros beyond the edges. rectified: whether rectifiers follow."""
    conv = nn.Conv2d(inputs, outputs, kernel.side, kernel.stride, padding=kernel.side // 2)
    scale_kept(conv, inputs * kernel.side**2, rectified=rectified)
    return conv


def up(inputs: int, outputs: int, kernel: Kernel, *, rectified: bool = True) -> nn.ConvTranspose2d:
    """The shape of `down` backwards: [N, I, h, w] -> [N, O, s h, s w]."""
    pad, grown = kernel.side // 2, kernel.stride - 1
    conv = nn.ConvTranspose2d(inputs, outputs, kernel.side, kernel.stride, padding=pad, output_padding=grown)
    scale_kept(conv, inputs * kernel.side**2 / kernel.stride**2, rectified=rectified)
    return conv


def convolutions(channels: Sequence[int], kernels: Sequence[Kernel]) -> nn.Sequential:
    """Through all numbers of channels, one more than kernels, leaky ReLU in between."""
    return _stack([down(inputs, outputs, kernel) for (inputs, outputs), kernel in zip(pairwise(channels), kernels)])


def transposed_convolutions(channels: Sequence[int], kernels: Sequence[Kernel]) -> nn.Sequential:
    return _stack([up(inputs, outputs, kernel) for (inputs, outputs), kernel in zip(pairwise(channels), kernels)])


def to_signal(x: Tensor) -> Tensor:
    """Pixels in 0..1 -> about zero mean and unit variance, as the first layer wants them."""
    return (x - 0.5) * SIGNAL


def to_pixels(signal: Tensor) -> Tensor:
    """The reverse of `to_signal`, float32."""
    return signal.float() / SIGNAL + 0.5


def analysis_reach(kernels: Sequence[Kernel], before: int = 0) -> int:
    """Latents beyond its own pixels that a latent sees on one side, rounded up; kernels from the image on, of
    which a pixel has already seen `before` others."""
    pixels, stride = before, 1
    for kernel in kernels:
        pixels += stride * (kernel.side // 2)
        stride *= kernel.stride
    return -(-pixels // stride)


def synthesis_reach(kernels: Sequence[Kernel]) -> int:
    """Latents that a pixel sees on one side, rounded up; transposed kernels from the latents on.

    Output r of a transposed convolution takes the inputs from (r - k // 2) / s to (r + k // 2) / s.
    """
    whole, pixels, stride = math.prod(kernel.stride for kernel in kernels), 0, 1
    for kernel in kernels:
        pixels += (kernel.stride - 1 + kernel.side // 2) // kernel.stride * (whole // stride)
        stride *= kernel.stride
    return -(-pixels // whole)


@torch.no_grad()
def scale_kept(conv: nn.Conv2d | nn.ConvTranspose2d, fan_in: float, *, rectified: bool = True) -> None:
    """Outputs begin with the mean square of the inputs, twice that for rectifiers to halve (He et al. 2015, eq. 10)."""
    nn.init.normal_(conv.weight, std=((2 if rectified else 1) / fan_in) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _stack(layers: Sequence[nn.Module]) -> nn.Sequential:
    first = [module for layer in layers[:-1] for module in (layer, nn.LeakyReLU(0.01))]
    return nn.Sequential(*first, layers[-1])
