"""Eight bits for the synthesis: weights as int8 with a scale for each output channel, activations as uint8 in a range.

    w ~ scale[o] * q,  q in -127..127        x ~ step * (q - zero),  q in 0..255

Post-training quantisation after Jacob et al. 2018 (eq. 1), with the ranges of least squared error on calibration
images. The bottlenecks are quantised, four fifths of the embedded synthesis' arithmetic; the sums that they add to, and
the layers between resolutions, stay in float32: there eight bits cost quality and save little time. The encoder and the
integers that decide bits are left alone, so files and the model id stay.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..bitstream import ModelError
from ..model import Int8Weight
from .contract import Network
from .layers import Bottleneck

LARGEST = 127  # of a weight: symmetric, so that -w is as good as w
STEPS = 255  # of an activation's range
BINS = 2048
SHARES = np.linspace(0.3, 1.0, 29)  # of the largest activation seen, tried as the end of a range


class Range(NamedTuple):
    """Activations x = step * (q - zero), q in 0..255; zero itself is exact, since images are padded with it."""

    step: np.float32
    zero: np.uint8


class Int8Conv(NamedTuple):
    """A convolution in eight bits: its weight, and the ranges of what goes in and comes out."""

    weight: Int8Weight
    inputs: Range
    outputs: Range


def bottleneck_convs(network: Network) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, parent and attribute of each convolution of the synthesis' bottlenecks, by the network's names."""
    within = {id(m) for part in network.synthesis_modules() if isinstance(part, nn.Module) for m in part.modules()}
    for name, module in network.named_modules():
        if isinstance(module, Bottleneck) and id(module) in within:
            yield from ((f"{name}.{layer}", module, layer) for layer in ("reduce", "spatial", "expand"))


def quantised_weight(weight: npt.NDArray[np.float32]) -> Int8Weight:
    """[O, I, h, w] -> int8 of the same shape, and a scale for each output channel."""
    peaks = np.abs(weight).reshape(len(weight), -1).max(1)
    scale = (np.maximum(peaks, 1e-8) / LARGEST).astype(np.float32)
    return Int8Weight(np.rint(weight / scale[:, None, None, None]).astype(np.int8), scale)


def calibrated(network: Network, run: Callable[[], object]) -> dict[str, Int8Conv]:
    """The convolutions in eight bits, by name; `run` shows the synthesis typical latents, twice the same.

    ModelError for a network without bottlenecks.
    """
    convs = {name: getattr(parent, layer) for name, parent, layer in bottleneck_convs(network)}
    if not convs:
        raise ModelError(f"the family {network.config.family} has no layers that can be quantised to eight bits")
    seen = {f"{name} {end}": _Histogram() for name in convs for end in ("in", "out")}

    def watch(name: str, x: Tensor, y: Tensor) -> None:
        seen[f"{name} in"].add(x)
        seen[f"{name} out"].add(y)

    handles = [
        conv.register_forward_hook(lambda _, inputs, output, name=name: watch(name, inputs[0], output))
        for name, conv in convs.items()
    ]
    try:
        run()
        for histogram in seen.values():
            histogram.begin_counting()
        run()
    finally:
        for handle in handles:
            handle.remove()
    return {
        name: Int8Conv(
            quantised_weight(conv.weight.detach().float().numpy()),
            seen[f"{name} in"].best_range(),
            seen[f"{name} out"].best_range(),
        )
        for name, conv in convs.items()
    }


class _Histogram:
    """Values of one activation: their bounds first, then how often each occurs."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0
        self.counts: npt.NDArray[np.float64] | None = None

    def begin_counting(self) -> None:
        self.high = max(self.high, self.low + 1e-6)
        self.counts = np.zeros(BINS)

    def add(self, x: Tensor) -> None:
        if self.counts is None:
            self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        else:
            self.counts += torch.histc(x.float(), BINS, self.low, self.high).double().numpy()

    def best_range(self) -> Range:
        """The range of least squared error: what lies outside is clipped, what lies inside is rounded."""
        counts = self.counts
        assert counts is not None
        edges = np.linspace(self.low, self.high, BINS + 1)
        centres = (edges[1:] + edges[:-1]) / 2

        def error(found: Range) -> float:
            step, zero = float(found.step), float(found.zero)
            kept = step * (np.clip(np.rint(centres / step) + zero, 0, STEPS) - zero)
            return float((counts * (centres - kept) ** 2).sum())

        ranges = [range_of(low * self.low, high * self.high) for low in SHARES[::4] for high in SHARES]
        return min(ranges, key=error)


def range_of(low: float, high: float) -> Range:
    """The range from low to high, widened to hold zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = np.float32(max((high - low) / STEPS, 1e-8))
    return Range(step, np.uint8(np.clip(np.rint(-low / step), 0, STEPS)))


class FakeInt8Conv2d(nn.Conv2d):
    """A convolution that trains in float and computes what eight bits would give, the gradient passing as if it did
    not (Bengio et al. 2013). The batch's own range stands in for the calibrated one, so that there is no state."""

    def forward(self, input: Tensor) -> Tensor:
        """As a convolution."""
        peaks = self.weight.detach().abs().amax((1, 2, 3), keepdim=True).float().clamp(min=1e-8) / LARGEST
        weight = _straight_through(self.weight, torch.round(self.weight.float() / peaks) * peaks)
        output = F.conv2d(_rounded(input), weight, self.bias, self.stride, self.padding)
        return _rounded(output)


def _rounded(x: Tensor) -> Tensor:
    with torch.no_grad():
        low, high = x.amin().float().clamp(max=0), x.amax().float().clamp(min=0)
        step = ((high - low) / STEPS).clamp(min=1e-8)
        near = torch.round(x.float() / step) * step
    return _straight_through(x, near)


def _straight_through(x: Tensor, near: Tensor) -> Tensor:
    return x + (near.to(x.dtype) - x).detach()


def fake_int8(network: Network) -> None:
    """Let the convolutions of the bottlenecks compute as eight bits would, for training; names of weights stay."""
    for _, parent, layer in list(bottleneck_convs(network)):
        conv = getattr(parent, layer)
        with torch.device("meta"):
            fake = FakeInt8Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
        fake.weight, fake.bias = conv.weight, conv.bias
        setattr(parent, layer, fake)
