"""Integer networks evaluated with numpy: the same output, bit for bit, on every machine.

A network is evaluated in tiles, to bound the memory; arrays lie channels last, [H, W, C]. The layers are in
`convolve.py`.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from .contract import Arithmetic, Evaluation, IntArray
from .convolve import Numbers, ReadyLayer, convolve, prepared_layer
from .intnet import IntNet, prove_bounds, receptive_field


def evaluate(net: IntNet, inputs: Sequence[IntArray], how: Evaluation) -> npt.NDArray[np.int32]:
    """The network on integers [H, W, C] (the inputs, concatenated over channels): int32 [H scale, W scale, O].

    Inputs are clamped to the network's input bound, as each layer clamps its output. ModelError if the network is not
    proved exact, or a sum is wrong.
    """
    height, width = inputs[0].shape[:2]
    scale = receptive_field(net).scale
    out = np.empty((height * scale, width * scale, net.outputs), np.int32)
    for rows, columns, values in tiles(net, inputs, how):
        out[rows, columns] = values
    return out


def tiles(net: IntNet, inputs: Sequence[IntArray], how: Evaluation) -> Iterator[tuple[slice, slice, Numbers]]:
    """As `evaluate`, tile by tile: the rows and columns that a tile fills, and its values [rows, columns, O].

    A tile is evaluated with the positions that reach its outputs, cut at the image's edge: there every layer pads with
    zeros, as it does for the whole.
    """
    halo, scale, _ = receptive_field(net)
    height, width = inputs[0].shape[:2]
    for (top, bottom), (left, right) in product(_spans(height, how.tile), _spans(width, how.tile)):
        seen_top, seen_left = max(top - halo, 0), max(left - halo, 0)
        seen = [part[seen_top : bottom + halo, seen_left : right + halo] for part in inputs]
        rows = slice((top - seen_top) * scale, (bottom - seen_top) * scale)
        columns = slice((left - seen_left) * scale, (right - seen_left) * scale)
        values = evaluate_whole(net, seen, how)[rows, columns]
        yield slice(top * scale, bottom * scale), slice(left * scale, right * scale), values


def evaluate_whole(net: IntNet, parts: Sequence[Numbers], how: Evaluation) -> Numbers:
    """The network on integers [H, W, C] (the parts, concatenated over channels), in one piece."""
    bound, layers = _prepared(net, how.arithmetic)
    x: Numbers = np.concatenate(parts, axis=2, dtype=bound.dtype, casting="unsafe")
    np.clip(x, -bound, bound, out=x)
    for layer in layers:
        x = convolve(layer, x, how.check)
        if layer.shuffle > 1:
            x = _shuffled(x, layer.shuffle)
    return x


def _spans(size: int, tile: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + tile, size)) for start in range(0, size, tile))


@lru_cache(maxsize=128)  # by identity: networks are immutable
def _prepared(net: IntNet, arithmetic: Arithmetic) -> tuple[Numbers, tuple[ReadyLayer, ...]]:
    """The input bound [1 or C], and the layers."""
    if arithmetic not in ("float64", "int64"):
        raise ValueError(f"no arithmetic {arithmetic!r}: float64 or int64")
    worst = prove_bounds(net)
    layers = tuple(prepared_layer(layer, reach, arithmetic) for layer, reach in zip(net.layers, worst))
    return net.input_bound.astype(arithmetic), layers


def _shuffled(x: Numbers, factor: int) -> Numbers:
    """Pixel shuffle: [H, W, C r r] -> [H r, W r, C]; channel c r r + i r + j goes to row i, column j of its block."""
    height, width, channels = x.shape
    blocks = x.reshape(height, width, channels // factor**2, factor, factor).transpose(0, 3, 1, 4, 2)
    return blocks.reshape(height * factor, width * factor, channels // factor**2)
