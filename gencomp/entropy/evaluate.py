"""Integer networks evaluated with numpy in one of two arithmetics: the same output, bit for bit, on every machine.

"float64": matrix products by BLAS, exact by the proof of `intnet.prove_bounds`. "int64": the definition as it stands,
without BLAS, slow, the reference.

A network is evaluated in tiles, to bound the memory; arrays lie channels last, [H, W, C]. In a layer the rows of the
padded input lie one after another, so that a shift in two dimensions is an offset in one: a tap of the kernel is one
matrix product on a view of the input, without a copy. What is computed between the rows' ends is waste and is cut off.
The layer goes through some positions at a time, so that the sums stay in the processor's cache, and every product is so
small that BLAS takes one thread for it: its threads would wait for one another on a busy machine, which costs many
times the work.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .check import probe_of, verify_depthwise, wrong_sum
from .contract import Arithmetic, Evaluation, IntArray
from .intnet import IntConv, IntNet, is_depthwise, prove_bounds, receptive_field

Numbers = npt.NDArray[Any]  # float64 or int64, integers in value

POSITIONS = 128  # that a layer goes through at a time
ROWS, DEPTH, SIZE = 32, 256, 1 << 18  # of one product: positions, most inputs, most multiplications (of OpenBLAS, the
# size from which it would start threads)


class Tap(NamedTuple):
    """What one tap adds to the sums of some outputs: the input channels from `first` on, times weight [parts, I', O'].

    The outputs are cut into equal parts, the last one filled up with zeros. probe: weight times r (see check.py)."""

    tap: tuple[int, int]
    inputs: slice
    weight: Numbers
    probe: Numbers


class Group(NamedTuple):
    """Outputs that share their inputs."""

    outputs: slice
    terms: Sequence[Tap]
    probe: Numbers  # r, [O / groups, VECTORS]


class ReadyLayer(NamedTuple):
    """A layer ready for its arithmetic: y = clamp(floor(acc scale + offset)), in int64 clamp((acc scale + offset) >>
    shift)."""

    groups: Sequence[Group]  # none of a depthwise layer
    depthwise: Numbers  # [k k, C], empty of another
    scale: Numbers  # [O]: M 2^-s; M
    offset: Numbers  # [O]: (b M + 2^(s-1)) 2^-s; b M + 2^(s-1)
    shift: Numbers | None  # [O], of int64 alone
    kernel: int
    lo: int
    hi: int
    shuffle: int


def prepared_layer(layer: IntConv, worst: int, arithmetic: Arithmetic) -> ReadyLayer:
    """worst: from `prove_bounds`."""
    scale, shift = layer.multiplier.astype(np.int64), layer.shift.astype(np.int64)
    offset = layer.bias * scale + (1 << (shift - 1))
    weight = layer.weight.astype(arithmetic)
    outputs, _, kernel, _ = weight.shape
    depthwise = weight[:0]
    groups: Sequence[Group] = ()
    if is_depthwise(layer):
        depthwise = np.ascontiguousarray(weight.reshape(outputs, kernel**2).T)
    else:
        groups = [_group(part, g, worst // int(scale.min())) for g, part in enumerate(np.split(weight, layer.groups))]
    form = kernel, layer.lo, layer.hi, layer.shuffle
    if arithmetic == "int64":
        return ReadyLayer(groups, depthwise, scale, offset, shift, *form)
    floats = np.ldexp(scale.astype(np.float64), -shift), np.ldexp(offset.astype(np.float64), -shift)
    return ReadyLayer(groups, depthwise, *floats, None, *form)


def _group(weight: Numbers, number: int, worst: int) -> Group:
    """Group `number`, of weight [O / groups, I / groups, k, k]."""
    outputs, inputs, kernel, _ = weight.shape
    probe, terms = probe_of(outputs, worst, weight.dtype), []
    cuts = -(-inputs // DEPTH)
    depth = -(-inputs // cuts)
    parts = -(-outputs * ROWS * depth // SIZE)
    width = -(-outputs // parts)
    for dy, dx in product(range(kernel), repeat=2):
        for first in range(0, inputs, depth):
            piece = weight[:, first : first + depth, dy, dx]  # [O', I']
            filled = np.zeros((parts * width, piece.shape[1]), weight.dtype)
            filled[:outputs] = piece
            start = number * inputs + first
            cut = np.ascontiguousarray(filled.reshape(parts, width, -1).transpose(0, 2, 1))
            taken = slice(start, start + piece.shape[1])
            terms.append(Tap((dy, dx), taken, cut, piece.T.astype(probe.dtype) @ probe))
    return Group(slice(number * outputs, (number + 1) * outputs), terms, probe)


def convolve(layer: ReadyLayer, x: Numbers, check: bool) -> Numbers:
    """The layer without its pixel shuffle on x [H, W, I]: [H, W, O]. check: verify the sums (see check.py)."""
    return _depthwise(layer, x, check) if len(layer.depthwise) else _dense(layer, x, check)


def _dense(layer: ReadyLayer, x: Numbers, check: bool) -> Numbers:
    height, width, channels = x.shape
    pad = layer.kernel // 2
    row = width + 2 * pad
    flat = _padded(x, pad).reshape(-1, channels) if pad else x.reshape(-1, channels)
    out = np.empty((height * row, len(layer.scale)), x.dtype)
    last = len(flat) - (layer.kernel - 1) * (row + 1)  # beyond it, a tap would look beyond the end: all waste
    for start in range(0, last, POSITIONS):
        stop = min(start + POSITIONS, last)
        for group in layer.groups:
            acc = _sums(group, flat, row, start, stop)
            if check:
                _verify(group, flat, row, start, acc)
            _requantise(layer, group.outputs, acc, out[start:stop, group.outputs])
    return np.ascontiguousarray(out.reshape(height, row, -1)[:, :width])


def _sums(group: Group, flat: Numbers, row: int, start: int, stop: int) -> Numbers:
    """Sums [stop - start, O / groups] without bias at positions start..stop."""
    parts, _, width = group.terms[0].weight.shape
    acc = np.empty((stop - start, parts, width), flat.dtype)
    more = np.empty_like(acc) if len(group.terms) > 1 else acc
    for number, term in enumerate(group.terms):
        at = term.tap[0] * row + term.tap[1]
        _multiply(flat[start + at : stop + at, term.inputs], term.weight, more if number else acc)
        if number:
            acc += more
    return acc.reshape(stop - start, parts * width)[:, : group.outputs.stop - group.outputs.start]


def _multiply(rows: Numbers, weight: Numbers, out: Numbers) -> None:
    """rows [P, I] times weight [parts, I, O'] into out [P, parts, O'], in products of ROWS rows and one part each."""
    whole = len(rows) // ROWS * ROWS
    for first, size, last in ((0, ROWS, whole), (whole, len(rows) - whole, len(rows))):
        if first < last:
            some = rows[first:last].reshape(-1, 1, size, rows.shape[1])
            np.matmul(some, weight, out=out[first:last].reshape(-1, size, *out.shape[1:]).transpose(0, 2, 1, 3))


def _verify(group: Group, flat: Numbers, row: int, start: int, acc: Numbers) -> None:
    """ModelError unless the sums from position `start` on are right."""
    size = ROWS if len(acc) % ROWS == 0 else len(acc)
    found = acc.astype(group.probe.dtype, copy=False).reshape(-1, size, acc.shape[1]) @ group.probe
    for term in group.terms:
        at = start + term.tap[0] * row + term.tap[1]
        rows = flat[at : at + len(acc), term.inputs].astype(term.probe.dtype, copy=False)
        found -= (rows @ term.probe).reshape(found.shape)
    if found.any():
        raise wrong_sum()


def _depthwise(layer: ReadyLayer, x: Numbers, check: bool) -> Numbers:
    """'Same' convolution of x [H, W, C], each channel by its own kernel, some rows at a time."""
    height, width, channels = x.shape
    kernel = layer.kernel
    x = _padded(x, kernel // 2)
    out = np.empty((height, width, channels), x.dtype)
    step = max(1, POSITIONS // width)
    space = np.empty((2, step, width, channels), x.dtype)
    for top in range(0, height, step):
        part = out[top : top + step]
        seen = x[top : top + len(part) + kernel - 1]
        acc, term = space[:, : len(part)]
        acc[:] = 0
        for weight, (dy, dx) in zip(layer.depthwise, product(range(kernel), repeat=2)):
            acc += np.multiply(seen[dy : dy + len(part), dx : dx + width], weight, out=term)
        if check:
            verify_depthwise(layer.depthwise, seen, acc)
        _requantise(layer, slice(None), acc, part)
    return out


def _padded(x: Numbers, pad: int) -> Numbers:
    if pad == 0:
        return x
    height, width, channels = x.shape
    out = np.zeros((height + 2 * pad, width + 2 * pad, channels), x.dtype)
    out[pad : pad + height, pad : pad + width] = x
    return out


def _requantise(layer: ReadyLayer, outputs: slice, acc: Numbers, out: Numbers) -> None:
    """Sums [.., O'] without bias, overwritten, to outputs [.., O']."""
    acc *= layer.scale[outputs]
    acc += layer.offset[outputs]
    if layer.shift is None:
        np.floor(acc, out=acc)
    else:
        acc >>= layer.shift[outputs]
    np.clip(acc, layer.lo, layer.hi, out=out)


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
