"""Eight bits for the synthesis: weights as int8 with a scale for each output channel, activations as uint8 in a range.

    w ~ scale[o] * q,  q in -127..127        x ~ step * (q - zero),  q in 0..255

Post-training quantisation after Jacob et al. 2018 (eq. 1), with the ranges of least squared error on calibration
images. The bottlenecks are quantised, four fifths of the embedded synthesis' arithmetic; the sums that they add to, and
the layers between resolutions, stay in float32: there eight bits cost quality and save little time. The encoder and the
integers that decide bits are left alone, so files and the model id stay.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import Tensor, nn

from ..bitstream import ModelError
from ..model import Int8Weight
from .contract import Network
from .graphs import refer
from .layers import Bottleneck, watched

BIAS_LIMIT = 2**31 - 1
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
    seen = {name: (_Histogram(), _Histogram()) for name in convs}

    def watch(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name][0].add(inputs[0])
        seen[name][1].add(output)

    with watched(network, convs, watch):
        run()
        for histogram in (histogram for pair in seen.values() for histogram in pair):
            histogram.begin_counting()
        run()
    weights = {name: quantised_weight(conv.weight.detach().float().numpy()) for name, conv in convs.items()}
    return {
        name: Int8Conv(weights[name], before.best_range(), after.best_range()) for name, (before, after) in seen.items()
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


def int8_graph(graph: bytes, convs: Mapping[str, Int8Conv], biases: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A synthesis graph of `graphs.graphs_of` with QuantizeLinear and DequantizeLinear about these convolutions (QDQ).
    biases: float, by the convolution's name.

    ONNX Runtime fuses what stands between them into integer kernels. The graph names the int8 weights and their scales
    as the model file does, `<name>` and `<name.scale>`, and holds none of them; ranges of activations and biases, which
    are integers of a weight's and a range's units, stand in the graph. Needs onnx (the extra `train`).
    """
    model = onnx.load_from_string(graph)
    editor, by_weight = _Editor(model.graph), {f"<{name}.weight>": name for name in convs}
    nodes: list[Any] = []
    for node in model.graph.node:
        for index, value in enumerate(node.input):
            node.input[index] = editor.renamed.get(value, value)
        name = by_weight.get(node.input[1]) if node.op_type == "Conv" else None
        nodes += [node] if name is None else editor.in_int8(node, name, convs[name], biases[name])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {value for node in nodes for value in node.input}
    for tensor in [t for t in model.graph.initializer if t.name not in used]:
        model.graph.initializer.remove(tensor)
    return bytes(model.SerializeToString(deterministic=True))


class _Editor:
    """Nodes and constants in the making."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.renamed = graph, dict[str, str]()

    def in_int8(self, node: Any, name: str, conv: Int8Conv, bias: npt.NDArray[Any]) -> list[Any]:
        scale = conv.weight.scale * conv.inputs.step
        units = np.clip(np.rint(bias.astype(np.float64) / scale), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
        zeros = np.zeros(len(scale), np.int8)
        self._external(f"<{name}.weight>", conv.weight.values)
        self._external(f"<{name}.weight.scale>", conv.weight.scale)
        bias_inputs = [self._constant(f"{name}.{n}", v) for n, v in (("bias", units), ("bias_unit", scale))]
        zero = self._constant(f"{name}.weight_zero", zeros)
        before, x = self._through(node.input[0], f"{name}.in", conv.inputs)
        weight = self._dequantised([f"<{name}.weight>", f"<{name}.weight.scale>", zero], f"{name}.w")
        added = self._dequantised(bias_inputs, f"{name}.b")
        output, node.output[0] = node.output[0], f"{name}.sum"
        after, self.renamed[output] = self._through(f"{name}.sum", f"{name}.out", conv.outputs)
        node.input[0], node.input[1], node.input[2] = x, f"{name}.w", f"{name}.b"
        return [*before, weight, added, node, *after]

    def _through(self, value: str, name: str, found: Range) -> tuple[list[Any], str]:
        """A value rounded to eight bits and taken back to float."""
        how = [self._constant(f"{name}.step", found.step), self._constant(f"{name}.zero", found.zero)]
        rounded = helper.make_node("QuantizeLinear", [value, *how], [f"{name}.q"])
        return [rounded, helper.make_node("DequantizeLinear", [f"{name}.q", *how], [f"{name}.dq"])], f"{name}.dq"

    def _dequantised(self, inputs: list[str], output: str) -> Any:
        return helper.make_node("DequantizeLinear", inputs, [output], axis=0)

    def _constant(self, name: str, value: Any) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _external(self, name: str, value: npt.NDArray[Any]) -> None:
        """A tensor of the model file, in the place of one of this name."""
        for tensor in [t for t in self.graph.initializer if t.name == name]:
            self.graph.initializer.remove(tensor)
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = onnx.TensorProto(name=name, data_type=kind, dims=value.shape)
        refer(tensor, value.nbytes)
        self.graph.initializer.append(tensor)
