"""Integer networks evaluated with numpy: the same output, bit for bit, on every machine.

Two arithmetics: "float64", matrix products by BLAS, exact by the proof of `intnet.prove_bounds`; and "int64", the
definition as it stands, slow, the reference. Arrays lie channels last, [H, W, C], so that a convolution is one matrix
product over copied windows, whose rows are long runs of memory.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .contract import Arithmetic, IntArray
from .intnet import IntConv, IntNet, prove_bounds, receptive_field

Numbers = npt.NDArray[Any]  # float64 or int64, integers in value

ROWS = 512  # positions of one matrix product: the product and its requantisation stay in the processor's cache


def evaluate(
    net: IntNet, inputs: Sequence[IntArray], *, tile: int, arithmetic: Arithmetic = "float64"
) -> npt.NDArray[np.int32]:
    """The network on integers [H, W, C] (the inputs, concatenated over channels): int32 [H scale, W scale, O].

    Inputs are clamped to the network's input bound, as each layer clamps its output. Works on tiles of tile x tile
    input positions, to bound the memory, each with the positions that reach its outputs, cut at the image's edge:
    there every layer pads with zeros, as it does for the whole. ModelError if the network is not proved exact.
    """
    halo, scale, _ = receptive_field(net)
    height, width = inputs[0].shape[:2]
    ready = _prepared(net, arithmetic)
    out = np.empty((height * scale, width * scale, net.outputs), np.int32)
    for (top, bottom), (left, right) in product(spans(height, tile), spans(width, tile)):
        seen_top, seen_left = max(top - halo, 0), max(left - halo, 0)
        y = _evaluate(ready, [part[seen_top : bottom + halo, seen_left : right + halo] for part in inputs])
        rows = slice((top - seen_top) * scale, (bottom - seen_top) * scale)
        columns = slice((left - seen_left) * scale, (right - seen_left) * scale)
        out[top * scale : bottom * scale, left * scale : right * scale] = y[rows, columns]
    return out


def spans(size: int, tile: int) -> Iterator[tuple[int, int]]:
    """0..size cut into pieces of `tile`."""
    return ((start, min(start + tile, size)) for start in range(0, size, tile))


class _Layer(NamedTuple):
    """A layer ready for its arithmetic. In float64, M 2^-s is folded into weight and bias, and + 1/2 into the bias."""

    weight: Numbers  # [groups, k k I / groups, O / groups], rows by tap, then channel; [k k, C] of a depthwise layer
    bias: Numbers  # [O]
    multiplier: Numbers | None  # [O], int64 alone
    shift: Numbers | None
    kernel: int
    lo: int
    hi: int
    shuffle: int


class _Prepared(NamedTuple):
    layers: tuple[_Layer, ...]
    input_bound: Numbers  # [1 or C]


@lru_cache(maxsize=64)  # by identity: networks are immutable
def _prepared(net: IntNet, arithmetic: Arithmetic) -> _Prepared:
    prove_bounds(net)
    layers = tuple(_prepared_layer(layer, arithmetic) for layer in net.layers)
    return _Prepared(layers, net.input_bound.astype(layers[0].weight.dtype))


def _prepared_layer(layer: IntConv, arithmetic: Arithmetic) -> _Layer:
    weight, bias = layer.weight.astype(np.int64), layer.bias.astype(np.int64)
    multiplier, shift = layer.multiplier.astype(np.int64), layer.shift.astype(np.int64)
    factors: tuple[Numbers | None, Numbers | None] = (multiplier, shift)
    if arithmetic == "float64":
        column = (slice(None), None, None, None)
        weight = np.ldexp((weight * multiplier[column]).astype(np.float64), -shift[column])
        bias = np.ldexp((bias * multiplier + (1 << (shift - 1))).astype(np.float64), -shift)
        factors = (None, None)
    elif arithmetic != "int64":
        raise ValueError(f"no arithmetic {arithmetic!r}: float64 or int64")
    outputs, per_group, kernel, _ = weight.shape
    if is_depthwise(layer):
        weight = weight.reshape(outputs, kernel**2).T
    else:
        weight = weight.reshape(layer.groups, outputs // layer.groups, per_group, kernel**2).transpose(0, 3, 2, 1)
        weight = weight.reshape(layer.groups, kernel**2 * per_group, outputs // layer.groups)
    return _Layer(np.ascontiguousarray(weight), bias, *factors, kernel, layer.lo, layer.hi, layer.shuffle)


def is_depthwise(layer: IntConv) -> bool:
    """Whether each output channel sees the input channel of its number alone."""
    return layer.groups == len(layer.weight) and layer.weight.shape[1] == 1


def _evaluate(net: _Prepared, parts: Sequence[IntArray]) -> Numbers:
    """The network on integers [H, W, C] in the arithmetic that it was prepared for."""
    x: Numbers = np.concatenate(parts, axis=2, dtype=net.input_bound.dtype, casting="unsafe")
    x = np.clip(x, -net.input_bound, net.input_bound)
    for layer in net.layers:
        x = _depthwise(layer, x) if layer.weight.ndim == 2 else _dense(layer, x)
        if layer.shuffle > 1:
            x = _shuffled(x, layer.shuffle)
    return x


def _dense(layer: _Layer, x: Numbers) -> Numbers:
    """'Same' convolution of x [H, W, I]: a matrix product on the windows of some rows at a time; [H, W, O]."""
    height, width, channels = x.shape
    kernel, groups, outputs = layer.kernel, len(layer.weight), len(layer.bias)
    x = _padded(x, kernel // 2).reshape(height + kernel - 1, width + kernel - 1, groups, channels // groups)
    windows = sliding_window_view(x, (kernel, kernel), (0, 1))  # [H, W, groups, I / groups, k, k]
    windows = windows.transpose(2, 0, 1, 4, 5, 3)
    out = np.empty((height, width, groups, outputs // groups), x.dtype)
    step = max(1, ROWS // width)
    for top in range(0, height, step):
        part = out[top : top + step]
        for group, weight in enumerate(layer.weight):
            rows = windows[group, top : top + step].reshape(-1, len(weight))
            part[:, :, group] = (rows @ weight).reshape(-1, width, outputs // groups)
        _requantise(layer, part.reshape(-1, outputs))
    return out.reshape(height, width, outputs)


def _depthwise(layer: _Layer, x: Numbers) -> Numbers:
    """'Same' convolution of x [H, W, C], each channel by its own kernel, some rows at a time."""
    height, width, channels = x.shape
    kernel = layer.kernel
    x = _padded(x, kernel // 2)
    out = np.empty((height, width, channels), x.dtype)
    step = max(1, ROWS // width)
    for top in range(0, height, step):
        part = out[top : top + step]
        term = np.empty_like(part)
        part[:] = 0
        for weight, (dy, dx) in zip(layer.weight, product(range(kernel), repeat=2)):
            np.multiply(x[top + dy : top + dy + len(part), dx : dx + width], weight, out=term)
            part += term
        _requantise(layer, part.reshape(-1, channels))
    return out


def _padded(x: Numbers, pad: int) -> Numbers:
    if pad == 0:
        return x
    height, width, channels = x.shape
    out = np.zeros((height + 2 * pad, width + 2 * pad, channels), x.dtype)
    out[pad : pad + height, pad : pad + width] = x
    return out


def _requantise(layer: _Layer, acc: Numbers) -> None:
    """Sums [P, O] without bias to outputs, in place."""
    acc += layer.bias
    if layer.multiplier is None or layer.shift is None:
        np.floor(acc, out=acc)
    else:
        acc *= layer.multiplier
        acc += 1 << (layer.shift - 1)
        acc >>= layer.shift
    np.clip(acc, layer.lo, layer.hi, out=acc)


def _shuffled(x: Numbers, factor: int) -> Numbers:
    """Pixel shuffle: [H, W, C r r] -> [H r, W r, C]; channel c r r + i r + j goes to row i, column j of its block."""
    height, width, channels = x.shape
    blocks = x.reshape(height, width, channels // factor**2, factor, factor).transpose(0, 3, 1, 4, 2)
    return blocks.reshape(height * factor, width * factor, channels // factor**2)
