"""Integer convolutional networks: the same output, bit for bit, on every machine.

A layer is a 'same' convolution with zero padding, of integer weights, then a requantisation by a fixed-point factor,

    y = clamp(floor((acc M + 2^(s-1)) / 2^s), lo, hi),    acc = sum w x + b

and, if asked, a pixel shuffle. Where every |acc M| + 2^(s-1) < 2^53, all values and all partial sums, in any order,
with or without fused multiply-add, are integers (times 2^-s) that float64 holds exactly; so matrix products in
float64 are as exact as int64, and far faster. `prove_bounds` proves that bound from the actual weights; a network
without the proof is refused.

Two independent evaluations: "f64" (CPU and CUDA) and "i64" (CPU; the reference). Never float32 or half, never a float32
convolution (TF32, Winograd), never torch.round (half to even).
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from gencomp.bitstream import ModelError

Backend = Literal["f64", "i64"]

MAX_WEIGHT = 2047
MAX_MULTIPLIER = (1 << 15) - 1
MAX_SHIFT = 46
MAX_BIAS = 1 << 46
MAX_ACTIVATION = (1 << 24) - 1
MAX_LAYERS = 64
MAX_CHANNELS = 4096
KERNELS = (1, 3, 5)
EXACT = 1 << 53


class IntConv(NamedTuple):
    """One integer layer.

    weight: integer [O, I / groups, k, k], |w| <= 2047, k 1, 3 or 5. bias: int64 [O]. multiplier: int64 [O] in
    1..2^15 - 1. shift: int64 [O] in 1..46. lo, hi: the clamp of the output (a ReLU is lo = 0). groups: 1, or I = O
    for a depthwise layer. shuffle: 1, or 2 for a pixel shuffle to O / 4 channels of twice the height and width.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    multiplier: torch.Tensor
    shift: torch.Tensor
    lo: int
    hi: int
    groups: int = 1
    shuffle: int = 1


class IntNet(NamedTuple):
    """Layers one after another. input_bound: int64 [1] or [C], the largest |x| of each input channel."""

    layers: tuple[IntConv, ...]
    input_bound: torch.Tensor


class ReceptiveField(NamedTuple):
    """How far outputs look and inputs reach.

    halo: how many input positions beyond a position act on its outputs. scale: output positions a side for one input
    position. reach: how many output positions beyond its own scale x scale block an input position acts on.
    """

    halo: int
    scale: int
    reach: int


def forward(net: IntNet, x: torch.Tensor, backend: Backend = "f64") -> torch.Tensor:
    """Evaluate the network on x, integer [N, C, H, W]; int32 [N, O, H scale, W scale] on the device of x.

    Inputs are clamped to the network's input bound, as each layer clamps its output. "f64" runs on the device of x
    if that is a CPU or CUDA, else on the CPU; "i64" always on the CPU. ModelError if the network cannot be proved
    exact.
    """
    return forward_tiled(net, x, max(x.shape[2:]), backend)


def forward_tiled(net: IntNet, x: torch.Tensor, tile: int, backend: Backend = "f64") -> torch.Tensor:
    """As `forward`, in tiles of tile x tile input positions, to bound the memory; equal to it for every tile >= 1.

    A tile is evaluated with the input positions that reach its outputs, cut at the picture's edge: there every
    layer must pad with zeros, as it does for the whole, and not see its own output on an extended input.
    """
    if x.ndim != 4 or x.is_floating_point() or x.is_complex() or tile < 1:
        raise ValueError(f"integers [N, C, H, W] in tiles of at least 1, not {x.dtype} {tuple(x.shape)} in {tile}")
    halo, scale, _ = receptive_field(net)
    number, _, height, width = x.shape
    device = x.device if backend == "f64" and x.device.type == "cuda" else torch.device("cpu")
    with _undisturbed(device):
        ready = _prepared(net, backend, device)
        out = torch.empty(number, ready.outputs, height * scale, width * scale, dtype=torch.int32, device=x.device)
        for one, (top, bottom), (left, right) in product(range(number), _spans(height, tile), _spans(width, tile)):
            first_row, first_column = max(top - halo, 0), max(left - halo, 0)
            y = _evaluate(ready, x[one, :, first_row : bottom + halo, first_column : right + halo])
            rows = slice((top - first_row) * scale, (bottom - first_row) * scale)
            columns = slice((left - first_column) * scale, (right - first_column) * scale)
            out[one, :, top * scale : bottom * scale, left * scale : right * scale] = y[:, rows, columns]
        return out


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


def prove_bounds(net: IntNet) -> list[int]:
    """Prove that the evaluation is exact: the largest |acc M| + 2^(s-1) of each layer; ModelError if one reaches 2^53.

    Of each output channel the worst case over all inputs within the bounds: sum |w| A + |b|, A the bound of the
    input channel.
    """
    bound = _numbers(net.input_bound).astype(object)
    worst = []
    for index, layer in enumerate(net.layers):
        weight = np.abs(_numbers(layer.weight)).sum(axis=(2, 3)).astype(object)  # [O, I / groups]
        per_output = bound[:, None] if layer.groups > 1 else bound[None, :]
        acc = (weight * per_output).sum(axis=1) + np.abs(_numbers(layer.bias)).astype(object)
        half = [1 << (int(s) - 1) for s in layer.shift.tolist()]
        worst.append(max(int(a) * int(m) + h for a, m, h in zip(acc, layer.multiplier.tolist(), half)))
        if worst[-1] >= EXACT:
            raise ModelError(f"integer layer {index} can reach {worst[-1]:.3g}, beyond the 2^53 that is exact")
        bound = np.array([max(abs(layer.lo), abs(layer.hi))], object)
    return worst


class _Layer(NamedTuple):
    """A layer ready for a device. In float64, M 2^-s is folded into weight and bias, and + 1/2 into the bias."""

    weight: torch.Tensor  # [k, k, O, I], or [k, k, C, 1] of a depthwise layer
    bias: torch.Tensor  # [O, 1]
    multiplier: torch.Tensor | None  # [O, 1, 1], int64 alone
    shift: torch.Tensor | None
    lo: int
    hi: int
    depthwise: bool
    shuffle: int


class _Prepared(NamedTuple):
    layers: tuple[_Layer, ...]
    input_bound: torch.Tensor  # [1 or C, 1, 1]
    outputs: int


@lru_cache(maxsize=16)  # by identity of the tensors: networks are immutable
def _prepared(net: IntNet, backend: Backend, device: torch.device) -> _Prepared:
    prove_bounds(net)
    layers = tuple(_prepared_layer(layer, backend, device) for layer in net.layers)
    bound = net.input_bound.to(device, layers[0].weight.dtype)[:, None, None]
    return _Prepared(layers, bound, len(net.layers[-1].weight) // net.layers[-1].shuffle ** 2)


def _prepared_layer(layer: IntConv, backend: Backend, device: torch.device) -> _Layer:
    weight = np.ascontiguousarray(_numbers(layer.weight).transpose(2, 3, 0, 1))
    bias, multiplier, shift = (_numbers(vector)[:, None] for vector in (layer.bias, layer.multiplier, layer.shift))
    factors: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    if backend == "i64":
        factors = torch.from_numpy(multiplier[:, None]).to(device), torch.from_numpy(shift[:, None]).to(device)
    elif backend == "f64":
        weight = np.ldexp((weight * multiplier).astype(np.float64), -shift)
        bias = np.ldexp((bias * multiplier + (1 << (shift - 1))).astype(np.float64), -shift)
    else:
        raise ValueError(f"no backend {backend!r}: f64 or i64")
    taps, offset = torch.from_numpy(weight).to(device), torch.from_numpy(bias).to(device)
    return _Layer(taps, offset, *factors, layer.lo, layer.hi, layer.groups > 1, layer.shuffle)


def _evaluate(net: _Prepared, x: torch.Tensor) -> torch.Tensor:
    """The network on x, integer [C, H, W], in the arithmetic that it was prepared for."""
    x = x.to(net.input_bound.device, net.input_bound.dtype).contiguous()
    x = torch.minimum(torch.maximum(x, -net.input_bound), net.input_bound)
    for layer in net.layers:
        x = _convolve(layer, x)
        if layer.multiplier is None or layer.shift is None:
            x.floor_()
        else:
            x.mul_(layer.multiplier).add_(1 << layer.shift >> 1).bitwise_right_shift_(layer.shift)
        x.clamp_(layer.lo, layer.hi)
        if layer.shuffle > 1:
            x = F.pixel_shuffle(x, layer.shuffle)
    return x


def _convolve(layer: _Layer, x: torch.Tensor) -> torch.Tensor:
    """'Same' convolution of x [I, H, W]: one matrix product a tap, on shifted views of the padded input; [O, H, W].

    The padded rows lie one after another, so that a shift in two dimensions is an offset in one, and a tap's input
    needs no copy. The outputs between the rows' ends are waste and are cut off.
    """
    kernel = layer.weight.shape[0]
    channels, height, width = x.shape
    pad = kernel // 2
    if pad:
        x = F.pad(x, (pad, pad, pad, pad))
    row = width + 2 * pad
    x = x.reshape(channels, -1)
    out = layer.bias.repeat(1, height * row)
    length = height * row - 2 * pad
    for dy in range(kernel):
        for dx in range(kernel):
            shifted = x[:, dy * row + dx : dy * row + dx + length]
            if layer.depthwise:
                out[:, :length].addcmul_(shifted, layer.weight[dy, dx])
            else:
                out[:, :length].addmm_(layer.weight[dy, dx], shifted)
    return out.view(-1, height, row)[:, :, :width].contiguous()


def _spans(size: int, tile: int) -> list[tuple[int, int]]:
    return [(start, min(start + tile, size)) for start in range(0, size, tile)]


@contextlib.contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """No gradients and no autocast, whatever the caller has set; no emulated float64 on CUDA."""
    for name in ("CUBLAS_EMULATE_DOUBLE_PRECISION", "CUBLAS_EMULATION_STRATEGY"):
        if device.type == "cuda" and os.environ.get(name, "0") != "0":
            raise RuntimeError(f"{name} is set: float64 products would not be exact; unset it or use the CPU")
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def to_arrays(net: IntNet, prefix: str) -> dict[str, npt.NDArray[np.integer]]:
    """The network as integer arrays for the model file, names beginning with `prefix`; ModelError if not valid."""
    arrays: dict[str, npt.NDArray[np.integer]] = {f"{prefix}.input_bound": _numbers(net.input_bound)}
    for index, layer in enumerate(net.layers):
        for field in ("weight", "bias", "multiplier", "shift"):
            arrays[f"{prefix}.{index}.{field}"] = _numbers(getattr(layer, field))
        form = [layer.lo, layer.hi, layer.groups, layer.shuffle]
        arrays[f"{prefix}.{index}.form"] = np.array(form, np.int64)
    from_arrays(arrays, prefix)
    return {name: array.astype(np.int16) if name.endswith(".weight") else array for name, array in arrays.items()}


def _numbers(tensor: torch.Tensor) -> npt.NDArray[np.int64]:
    return tensor.cpu().numpy().astype(np.int64)


def from_arrays(arrays: Mapping[str, npt.NDArray[np.integer]], prefix: str) -> IntNet:
    """A network from the arrays of a model file, which may hold anything: ModelError unless it is whole and exact."""
    names = {name for name in arrays if name.startswith(f"{prefix}.")}
    count = len([name for name in names if name.endswith(".form")])
    if not 1 <= count <= MAX_LAYERS:
        raise ModelError(f"{prefix}: {count} integer layers, expected 1..{MAX_LAYERS}")
    fields = ("weight", "bias", "multiplier", "shift", "form")
    unknown = names - {f"{prefix}.input_bound"} - {f"{prefix}.{i}.{field}" for i in range(count) for field in fields}
    if unknown:
        raise ModelError(f"unknown array {min(unknown)!r}")
    net = IntNet(
        tuple(_layer_from_arrays(arrays, f"{prefix}.{index}") for index in range(count)),
        _integers(arrays, f"{prefix}.input_bound", 1, 0, MAX_ACTIVATION),
    )
    _check_channels(net, prefix)
    prove_bounds(net)
    return net


def _check_channels(net: IntNet, prefix: str) -> None:
    channels = net.layers[0].weight.shape[1] * net.layers[0].groups
    if len(net.input_bound) not in (1, channels):
        raise ModelError(f"{prefix}: {len(net.input_bound)} input bounds of {channels} channels")
    for index, layer in enumerate(net.layers):
        if (takes := layer.weight.shape[1] * layer.groups) != channels:
            raise ModelError(f"{prefix}.{index} takes {takes} channels and is given {channels}")
        channels = len(layer.weight) // layer.shuffle**2


def _layer_from_arrays(arrays: Mapping[str, npt.NDArray[np.integer]], name: str) -> IntConv:
    weight = _integers(arrays, f"{name}.weight", 4, -MAX_WEIGHT, MAX_WEIGHT)
    bias = _integers(arrays, f"{name}.bias", 1, -MAX_BIAS, MAX_BIAS)
    multiplier = _integers(arrays, f"{name}.multiplier", 1, 1, MAX_MULTIPLIER)
    shift = _integers(arrays, f"{name}.shift", 1, 1, MAX_SHIFT)
    form = _integers(arrays, f"{name}.form", 1, -MAX_ACTIVATION, MAX_ACTIVATION).tolist()
    outputs, inputs, height, width = weight.shape
    if height != width or height not in KERNELS or max(outputs, inputs) > MAX_CHANNELS:
        raise ModelError(f"{name}: a kernel of {tuple(weight.shape)}")
    if {len(bias), len(multiplier), len(shift)} != {outputs}:
        raise ModelError(f"{name}: bias, multiplier and shift are not one each for {outputs} channels")
    if len(form) != 4 or form[0] > form[1]:
        raise ModelError(f"{name}.form is not (lo, hi, groups, shuffle)")
    lo, hi, groups, shuffle = form
    if groups != 1 and (groups != outputs or inputs != 1):
        raise ModelError(f"{name}: {groups} groups of {outputs} channels, neither 1 nor depthwise")
    if shuffle not in (1, 2) or outputs % shuffle**2:
        raise ModelError(f"{name}: a shuffle by {shuffle} of {outputs} channels")
    return IntConv(weight.to(torch.int16), bias, multiplier, shift, lo, hi, groups, shuffle)


def _integers(arrays: Mapping[str, npt.NDArray[np.integer]], name: str, ndim: int, low: int, high: int) -> torch.Tensor:
    array = arrays.get(name)
    if array is None:
        raise ModelError(f"the model has no array {name!r}")
    if array.dtype.kind not in "iu" or array.ndim != ndim or array.size == 0:
        raise ModelError(f"array {name!r} is not {ndim}-dimensional integers")
    if array.min() < low or array.max() > high:
        raise ModelError(f"array {name!r} has values outside {low}..{high}")
    return torch.from_numpy(array.astype(np.int64))
