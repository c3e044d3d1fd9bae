"""Building blocks of the codec networks.

Every layer is local: no pooling over the image, no attention, no instance statistics, so that tiles with enough
halo agree with the whole image.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """W2 lrelu(D lrelu(W1 x)): 1x1 to `inner` channels, 3x3, 1x1 back, as in ELIC (He et al. 2022, fig. 3).

    Costs 2 C inner + 9 inner^2 multiplications a position, 3.25 C^2 with half of the channels inside.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.spatial = nn.Conv2d(inner, inner, 3, padding=1)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(F.leaky_relu(self.spatial(F.leaky_relu(self.reduce(x), 0.01)), 0.01))


class Block(nn.Module):
    """Two residual bottlenecks, each with a gain per channel that depends on the condition c:

    x + (1 + c G1) * B1(x), then x + (1 + c G2) * B2(x), the gains starting at one. Receptive field 5x5.
    inner: channels inside the two, by default half; a bottleneck of 0 is left out.
    """

    REACH = 2  # positions a side that an output sees

    def __init__(self, channels: int, conditions: int, inner: Sequence[int] | None = None) -> None:
        super().__init__()
        first, second = inner or (channels // 2, channels // 2)
        self.first = Bottleneck(channels, first) if first else None
        self.second = Bottleneck(channels, second) if second else None
        self.gains = nn.Parameter(torch.zeros(conditions, 2 * channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [N, C, H, W], condition [N, K] -> [N, C, H, W]."""
        gain = (1 + condition @ self.gains).to(x.dtype)[:, :, None, None]
        first, second = gain.chunk(2, dim=1)
        x = x if self.first is None else x + first * self.first(x)
        return x if self.second is None else x + second * self.second(x)


class BlockStack(nn.Module):
    """Blocks of one resolution, one after the other, under one condition. inner: of all their bottlenecks, in order."""

    def __init__(self, channels: int, depth: int, conditions: int, inner: Sequence[int] = ()) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, conditions, inner[2 * i : 2 * i + 2]) for i in range(depth))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [N, C, H, W], condition [N, K] -> [N, C, H, W]."""
        for block in self.blocks:
            x = block(x, condition)
        return x


def downscale(in_channels: int, out_channels: int, factor: int) -> nn.Sequential:
    """A patch embedding: [N, I, H, W] -> [N, O, H / factor, W / factor], each patch seen once."""
    return nn.Sequential(nn.PixelUnshuffle(factor), nn.Conv2d(in_channels * factor**2, out_channels, 1))


def upscale(in_channels: int, out_channels: int, factor: int) -> nn.Sequential:
    """The reverse of `downscale`: [N, I, H, W] -> [N, O, H * factor, W * factor] by pixel shuffle (Shi et al. 2016)."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels * factor**2, 1), nn.PixelShuffle(factor))


class _LowerBound(torch.autograd.Function):
    """max(x, bound), whose gradient still lets x rise back above the bound (Balle et al. 2018, appendix)."""

    @staticmethod
    def forward(ctx, x: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x >= bound)
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (above,) = ctx.saved_tensors
        return gradient * (above | (gradient < 0)), None


def lower_bound(x: Tensor, bound: float) -> Tensor:
    """Element-wise max(x, bound), any shape, without the dead gradient of a clamp."""
    return _LowerBound.apply(x, bound)


def relaxed_bits(bits: Callable[[Tensor], Tensor], residual: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """Bits of each sample as training differentiates them, and of the rounded residual, without gradients; both [N].

    bits: of residuals [N, C, H, W], element-wise. With noise in -1/2..1/2 the first are those of residual + noise
    (Balle et al. 2017), which charge a latent that is nearly always 0 too much; with None those of rounding.
    """
    if noise is None:
        total = bits(round_straight_through(residual)).sum((1, 2, 3))
        return total, total.detach()
    with torch.no_grad():
        rounded = bits(torch.round(residual)).sum((1, 2, 3))
    return bits(residual + noise).sum((1, 2, 3)), rounded


def round_straight_through(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes as if nothing had happened (Theis et al. 2017)."""
    return x + (torch.round(x) - x).detach()


Watch = Callable[[str, tuple[Tensor, ...], Tensor], None]


@contextlib.contextmanager
def watched(network: nn.Module, names: Iterable[str], watch: Watch) -> Iterator[None]:
    """Tells `watch` the inputs and the output of each of these modules whenever the network runs."""

    def told(name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        watch(name, inputs, output)

    hooks = [network.get_submodule(name).register_forward_hook(partial(told, name)) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
