"""Integer convolutional networks: their definition, the proof that float64 evaluates them exactly, their file form.

A layer is a 'same' convolution, a requantisation by a fixed-point factor and perhaps a pixel shuffle (FORMAT.md,
section 6). Where every |acc M| + 2^(s-1) < 2^53, all values and all partial sums, in any order, with or without fused
multiply-add, are integers (times 2^-s) that float64 holds exactly; so matrix products in float64 are as exact as int64,
and far faster. `prove_bounds` proves that bound from the actual weights; a network without the proof is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gencomp.bitstream import ModelError

from .contract import IntArray
from .tables import checked_integers

MAX_WEIGHT = 2047
MAX_MULTIPLIER = (1 << 15) - 1
MAX_SHIFT = 46
MAX_BIAS = 1 << 46
MAX_ACTIVATION = (1 << 24) - 1
MAX_LAYERS = 64
MAX_CHANNELS = 4096
MAX_WEIGHTS = 1 << 25  # of a network: 268 MB as float64
KERNELS = (1, 3, 5)
EXACT = 1 << 53
FIELDS = {  # of a layer in the file: dimensions, least and largest value
    "weight": (4, -MAX_WEIGHT, MAX_WEIGHT),
    "bias": (1, -MAX_BIAS, MAX_BIAS),
    "multiplier": (1, 1, MAX_MULTIPLIER),
    "shift": (1, 1, MAX_SHIFT),
    "form": (1, -MAX_ACTIVATION, MAX_ACTIVATION),
}


@dataclass(frozen=True, eq=False)
class IntConv:
    """One integer layer.

    weight: int16 [O, I / groups, k, k], |w| <= 2047, k 1, 3 or 5. bias: int64 [O]. multiplier: int64 [O] in
    1..2^15 - 1. shift: int64 [O] in 1..46. lo, hi: the clamp of the output (a ReLU is lo = 0). groups: the channels
    of input and output fall into so many equal parts, each seeing its own; 1, or I = O for a depthwise layer, or
    between. shuffle: 1, or 2 for a pixel shuffle to O / 4 channels of twice the height and width.
    """

    weight: IntArray
    bias: IntArray
    multiplier: IntArray
    shift: IntArray
    lo: int
    hi: int
    groups: int = 1
    shuffle: int = 1

    @property
    def inputs(self) -> int:
        """I."""
        return self.weight.shape[1] * self.groups

    @property
    def outputs(self) -> int:
        """Channels after the shuffle."""
        return len(self.weight) // self.shuffle**2


def is_depthwise(layer: IntConv) -> bool:
    """Whether each output channel sees the input channel of its number alone."""
    return layer.groups == len(layer.weight) and layer.weight.shape[1] == 1


def is_pointwise(layer: IntConv) -> bool:
    """Whether it is a dense 1x1 convolution, so that each output channel and position can be had alone."""
    return layer.weight.shape[-1] == 1 and layer.groups == 1 and layer.shuffle == 1


@dataclass(frozen=True, eq=False)
class IntNet:
    """Layers one after another. input_bound: int64 [1] or [C], the largest |x| of each input channel."""

    layers: tuple[IntConv, ...]
    input_bound: IntArray

    @property
    def inputs(self) -> int:
        """Input channels."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.layers[-1].outputs


class ReceptiveField(NamedTuple):
    """How far outputs look and inputs reach.

    halo: how many input positions beyond a position act on its outputs. scale: output positions a side for one input
    position. reach: how many output positions beyond its own scale x scale block an input position acts on.
    """

    halo: int
    scale: int
    reach: int


def receptive_field(net: IntNet) -> ReceptiveField:
    """The receptive field, from the kernels and shuffles alone."""
    first, last, scale = 0, 1, 1  # input position 0 reaches outputs first .. last - 1
    for layer in net.layers:
        pad = layer.weight.shape[-1] // 2
        first, last = (first - pad) * layer.shuffle, (last + pad) * layer.shuffle
        scale *= layer.shuffle
    left, right = 0, scale  # the outputs of position 0 need inputs left .. right - 1
    for layer in reversed(net.layers):
        pad = layer.weight.shape[-1] // 2
        left, right = left // layer.shuffle - pad, -(-right // layer.shuffle) + pad
    return ReceptiveField(max(-left, right - 1), scale, max(-first, last - scale))


@lru_cache(maxsize=128)  # by identity: networks are immutable
def prove_bounds(net: IntNet) -> tuple[int, ...]:
    """Prove that the evaluation is exact: the largest |acc M| + 2^(s-1) of each layer; ModelError if one reaches 2^53.

    Of each output channel the worst case over all inputs within the bounds: sum |w| A + |b|, A the bound of the
    input channel.
    """
    bound = np.broadcast_to(net.input_bound.astype(np.int64), net.inputs)
    worst = []
    for index, layer in enumerate(net.layers):
        weight = np.abs(layer.weight.astype(np.int64)).sum((2, 3))  # [O, I / groups]
        seen = bound.reshape(layer.groups, -1).repeat(len(weight) // layer.groups, axis=0)
        acc = (weight * seen).sum(1) + np.abs(layer.bias)  # below 4096 * 25 * 2047 * 2^24 + 2^46 < 2^63
        terms = zip(acc.tolist(), layer.multiplier.tolist(), layer.shift.tolist(), strict=True)
        worst.append(max(a * m + (1 << (s - 1)) for a, m, s in terms))
        if worst[-1] >= EXACT:
            raise ModelError(f"integer layer {index} can reach {worst[-1]:.3g}, beyond the 2^53 that is exact")
        bound = np.full(layer.outputs, max(abs(layer.lo), abs(layer.hi)))
    return tuple(worst)


def to_arrays(net: IntNet, prefix: str) -> dict[str, IntArray]:
    """The network as integer arrays for the model file, names beginning with `prefix`; ModelError for weights that it
    cannot hold. Whether they make a whole and exact network, `from_arrays` says."""
    arrays: dict[str, IntArray] = {f"{prefix}.input_bound": net.input_bound.astype(np.int64)}
    for index, layer in enumerate(net.layers):
        if np.abs(layer.weight).max() > MAX_WEIGHT:
            raise ModelError(f"{prefix}.{index} has weights beyond {MAX_WEIGHT}")
        arrays[f"{prefix}.{index}.weight"] = layer.weight.astype(np.int16)
        for field in ("bias", "multiplier", "shift"):
            arrays[f"{prefix}.{index}.{field}"] = getattr(layer, field).astype(np.int64)
        arrays[f"{prefix}.{index}.form"] = np.array([layer.lo, layer.hi, layer.groups, layer.shuffle], np.int64)
    return arrays


def from_arrays(arrays: Mapping[str, IntArray], prefix: str) -> IntNet:
    """A network from the arrays of a model file, which may hold anything: ModelError unless it is whole and exact."""
    names = {name for name in arrays if name.startswith(f"{prefix}.")}
    count = len([name for name in names if name.endswith(".form")])
    if not 1 <= count <= MAX_LAYERS:
        raise ModelError(f"{prefix}: {count} integer layers, expected 1..{MAX_LAYERS}")
    known = {f"{prefix}.{i}.{field}" for i in range(count) for field in FIELDS} | {f"{prefix}.input_bound"}
    if unknown := names - known:
        raise ModelError(f"unknown array {min(unknown)!r}")
    if sum(arrays[name].size for name in names if name.endswith(".weight")) > MAX_WEIGHTS:
        raise ModelError(f"{prefix}: more than {MAX_WEIGHTS} weights")
    net = IntNet(
        tuple(_layer_from_arrays(arrays, f"{prefix}.{index}") for index in range(count)),
        checked_integers(arrays, f"{prefix}.input_bound", 1, 0, MAX_ACTIVATION),
    )
    channels = net.inputs
    if len(net.input_bound) not in (1, channels):
        raise ModelError(f"{prefix}: {len(net.input_bound)} input bounds of {channels} channels")
    for index, layer in enumerate(net.layers):
        if layer.inputs != channels:
            raise ModelError(f"{prefix}.{index} takes {layer.inputs} channels and is given {channels}")
        channels = layer.outputs
    prove_bounds(net)
    return net


def _layer_from_arrays(arrays: Mapping[str, IntArray], name: str) -> IntConv:
    weight, bias, multiplier, shift, form = (
        checked_integers(arrays, f"{name}.{field}", ndim, low, high) for field, (ndim, low, high) in FIELDS.items()
    )
    outputs, inputs, height, width = weight.shape
    if height != width or height not in KERNELS or max(outputs, inputs) > MAX_CHANNELS:
        raise ModelError(f"{name}: a kernel of {tuple(weight.shape)}")
    if {len(bias), len(multiplier), len(shift)} != {outputs}:
        raise ModelError(f"{name}: bias, multiplier and shift are not one each for {outputs} channels")
    if len(form) != 4 or form[0] > form[1]:
        raise ModelError(f"{name}.form is not (lo, hi, groups, shuffle)")
    lo, hi, groups, shuffle = form.tolist()
    if groups < 1 or outputs % groups or inputs * groups > MAX_CHANNELS:
        raise ModelError(f"{name}: {groups} groups of {outputs} channels")
    if shuffle not in (1, 2) or outputs % shuffle**2:
        raise ModelError(f"{name}: a shuffle by {shuffle} of {outputs} channels")
    return IntConv(weight.astype(np.int16), bias, multiplier, shift, lo, hi, groups, shuffle)
