"""Float networks to integer networks: the only place where floats become integers.

A layer a_out = relu?(W a_in + b) becomes an `IntConv` (see intnet.py). Integers stand for floats by units: input
channel i holds a_in / unit_in[i], output channel o holds a_out / unit_out[o]. With the input units folded into the
weights, W'[o, i] = W[o, i] unit_in[i], and one weight unit t[o] = max_i |W'[o, i]| / 2047 an output channel,

    acc = sum_i round(W' / t) x_i + round(b / t),    y = acc * (t / unit_out) = acc * M * 2^-s

Post-training quantisation after Jacob et al. 2018 (eq. 5 to 7), with a unit for each channel: hidden channels take
theirs from the largest activation on calibration images, outputs are given.

A transposed convolution of stride 2 is a convolution and a pixel shuffle, exactly. It spreads its input over every
second place and sums W[i, o, t] x[i, j] into place r = 2 j - p + t, t = 0 .. k - 1, in each dimension. An output at
r = 2 m + a, a = 0 or 1, so takes input j = m + d through

    t = r - 2 j + p = a + p - 2 d,

the same taps at every m: a 'same' convolution of kernel V[o a, i, d] = W[i, o, a + p - 2 d], zero where t lies outside
0 .. k - 1, gives the outputs of phase a as channels, and the pixel shuffle puts channel 4 o + 2 a + b at row 2 m + a
and column 2 n + b. Both pad with zeros outside the image. The output is 2 H high if the output padding is 2 + 2 p - k.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gencomp.entropy.intnet import MAX_MULTIPLIER, MAX_SHIFT, MAX_WEIGHT, IntConv, IntNet, prove_bounds
from gencomp.entropy.tables import Weights, quantise_pmf

MAX_HIDDEN = 32767  # activations between layers: 16 bits
CALIBRATED = 2047  # the integer of the largest activation seen in calibration: leaves a factor 16 of head room, and
# keeps units of the size of the latents' 1/64, since inputs of unlike units would share the bits of one weight scale


class FloatLayer(NamedTuple):
    """One convolution of a float network with what follows it."""

    conv: nn.Conv2d
    shuffle: int
    relu: bool


def layers_of(network: nn.Sequential) -> list[FloatLayer]:
    """Group a Sequential of convolutions, PixelShuffle and ReLU into layers; TypeError for anything else."""
    layers: list[FloatLayer] = []
    for module in network:
        match module:
            case nn.Conv2d():
                layers.append(FloatLayer(module, 1, False))
            case nn.ConvTranspose2d():
                layers.append(FloatLayer(as_convolution(module), 2, False))
            case nn.PixelShuffle() if layers:
                layers[-1] = layers[-1]._replace(shuffle=module.upscale_factor)
            case nn.ReLU() if layers:
                layers[-1] = layers[-1]._replace(relu=True)
            case _:
                raise TypeError(f"{type(module).__name__} has no integer form")
    return layers


@torch.no_grad()
def as_convolution(transposed: nn.ConvTranspose2d) -> nn.Conv2d:
    """The convolution [N, I, H, W] -> [N, 4 O, H, W] that, with a pixel shuffle by 2, equals a transposed convolution
    of stride 2 that doubles height and width (derived above); TypeError for another one."""
    weight = transposed.weight  # [I, O, k, k]
    inputs, outputs, kernel, _ = weight.shape
    pad, grown = int(transposed.padding[0]), int(transposed.output_padding[0])
    form = (transposed.stride, transposed.dilation, transposed.groups, grown)
    if form != ((2, 2), (1, 1), 1, 2 + 2 * pad - kernel):
        raise TypeError("a transposed convolution that does not double height and width has no integer form")
    taps = {((t - pad) % 2, (pad - t + (t - pad) % 2) // 2): t for t in range(kernel)}  # (a, d): t = a + p - 2 d
    reach = max(abs(d) for _, d in taps)
    conv = nn.Conv2d(inputs, 4 * outputs, 2 * reach + 1, padding=reach, dtype=weight.dtype, device=weight.device)
    phases = torch.zeros(outputs, 2, 2, inputs, 2 * reach + 1, 2 * reach + 1, dtype=weight.dtype, device=weight.device)
    for (a, down), vertical in taps.items():
        for (b, across), horizontal in taps.items():
            phases[:, a, b, :, down + reach, across + reach] = weight[:, :, vertical, horizontal].T
    conv.weight.copy_(phases.reshape(conv.weight.shape))
    conv.bias.zero_()  # type: ignore[union-attr]
    if transposed.bias is not None:
        conv.bias.copy_(transposed.bias.repeat_interleave(4))  # type: ignore[union-attr]
    return conv


@torch.no_grad()
def side_by_side(first: nn.Sequential, second: nn.Sequential) -> nn.Sequential:
    """Two networks of one form and one input as one network, whose outputs are those of the first, then the second.

    The first layers are stacked; from there on each network is a group of a grouped convolution.
    """
    merged: list[nn.Module] = []
    for index, (a, b) in enumerate(zip(layers_of(first), layers_of(second), strict=True)):
        if a[1:] != b[1:] or a.conv.weight.shape != b.conv.weight.shape or a.conv.groups != 1 or b.conv.groups != 1:
            raise TypeError("networks of unlike form cannot be merged")
        groups = 1 if index == 0 else 2
        outputs, inputs, kernel, _ = a.conv.weight.shape
        conv = nn.Conv2d(groups * inputs, 2 * outputs, kernel, padding=kernel // 2, groups=groups)
        conv = conv.to(a.conv.weight)
        conv.weight.copy_(torch.cat([a.conv.weight, b.conv.weight]))
        biases = [torch.zeros(outputs) if part.conv.bias is None else part.conv.bias for part in (a, b)]
        conv.bias.copy_(torch.cat([bias.to(conv.weight) for bias in biases]))  # type: ignore[union-attr]
        merged += [conv, *([nn.PixelShuffle(a.shuffle)] if a.shuffle > 1 else []), *([nn.ReLU()] if a.relu else [])]
    return nn.Sequential(*merged)


@torch.no_grad()
def with_zero_means(scale: nn.Sequential) -> nn.Sequential:
    """A network z_hat -> M scales that ends in a convolution, with M means of 0 before them."""
    (*before, last) = scale
    if not isinstance(last, nn.Conv2d) or last.groups != 1 or last.bias is None:
        raise TypeError(f"means cannot be put before the outputs of {type(last).__name__}")
    kernel, padding = int(last.kernel_size[0]), int(last.padding[0])
    wide = nn.Conv2d(last.in_channels, 2 * last.out_channels, kernel, padding=padding).to(last.weight)
    wide.weight.copy_(torch.cat([torch.zeros_like(last.weight), last.weight]))
    wide.bias.copy_(torch.cat([torch.zeros_like(last.bias), last.bias]))  # type: ignore[union-attr]
    return nn.Sequential(*before, wide)


@torch.no_grad()
def largest_activations(network: nn.Sequential, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """Largest |activation| of each layer's output channels (after shuffle and ReLU) over inputs [N, C, H, W]."""
    layers = layers_of(network)
    peaks = [np.zeros(1) for _ in layers]
    for x in inputs:
        for index, layer in enumerate(layers):
            x = nn.functional.pixel_shuffle(layer.conv(x), layer.shuffle)
            x = x.relu() if layer.relu else x
            peaks[index] = np.maximum(peaks[index], x.abs().amax((0, 2, 3)).double().cpu().numpy())
    return peaks


def convert(
    network: nn.Sequential,
    input_units: np.ndarray,
    input_bound: np.ndarray,
    peaks: Sequence[np.ndarray],
    output_units: np.ndarray | None = None,
) -> tuple[IntNet, np.ndarray]:
    """Integer form of a float network, and the units [O] of its outputs.

    input_units, input_bound [I]: value of the integer 1, and largest |integer|, of each input channel. peaks: from
    `largest_activations`. output_units [O]: given units of the last layer, else calibrated like a hidden one.
    ModelError if the result cannot be proved exact.
    """
    layers = layers_of(network)
    units = np.asarray(input_units, np.float64)
    converted = []
    for index, (layer, peak) in enumerate(zip(layers, peaks, strict=True)):
        # silent channels, or layers: a unit that still holds a surprise, and a bias beside it
        floor = 1e-3 * max(1.0, float(peak.max()))
        out = np.maximum(peak, floor) / CALIBRATED
        if index == len(layers) - 1 and output_units is not None:
            out = np.asarray(output_units, np.float64)
        converted.append(_convert_layer(layer, units, np.repeat(out, layer.shuffle**2)))
        units = out
    net = IntNet(tuple(converted), np.asarray(input_bound, np.int64))
    prove_bounds(net)
    return net, units


def _convert_layer(layer: FloatLayer, input_units: np.ndarray, output_units: np.ndarray) -> IntConv:
    weight = layer.conv.weight.detach().double().cpu().numpy()
    bias = np.zeros(len(weight)) if layer.conv.bias is None else layer.conv.bias.detach().double().cpu().numpy()
    groups = layer.conv.groups
    scaled = weight * input_units.reshape(groups, -1).repeat(len(weight) // groups, axis=0)[:, :, None, None]
    tap = np.maximum(np.abs(scaled).max((1, 2, 3)) / MAX_WEIGHT, output_units * 2.0**-40)
    multipliers, shifts = map(np.array, zip(*(_multiplier(float(r)) for r in tap / output_units)))
    return IntConv(
        weight=np.rint(scaled / tap[:, None, None, None]).astype(np.int16),
        bias=np.rint(bias / tap).astype(np.int64),
        multiplier=multipliers,
        shift=shifts,
        lo=0 if layer.relu else -MAX_HIDDEN,
        hi=MAX_HIDDEN,
        groups=groups,
        shuffle=layer.shuffle,
    )


def _multiplier(ratio: float) -> tuple[int, int]:
    """M in 1..2^15 - 1 and s in 1..46 with M 2^-s nearest to `ratio`, the largest M that fits."""
    shift = min(MAX_SHIFT, max(1, 14 - math.floor(math.log2(ratio))))
    if round(ratio * 2.0**shift) > MAX_MULTIPLIER and shift > 1:
        shift -= 1
    multiplier = round(ratio * 2.0**shift)
    return min(max(multiplier, 1), MAX_MULTIPLIER), shift


def hyper_table(mass: np.ndarray, tail: float = 2**-18) -> Weights:
    """Table of one hyper-latent channel from its masses over -K..K [2 K + 1]: cut to the narrowest range, at least
    -1..1, that leaves at most `tail` on each side."""
    centre, half = len(mass) // 2, 1
    while half < centre and max(mass[: centre - half].sum(), mass[centre + half + 1 :].sum()) > tail:
        half += 1
    return quantise_pmf(mass[centre - half : centre + half + 1])


def latent_table(mass: np.ndarray, tail: float = 2**-18) -> Weights:
    """Table of one latent channel, from its masses over -L..L [2 L + 1]: cut to the narrowest range, at least -1..1,
    that leaves at most `tail` in all; what is left goes to the escape symbol, the last."""
    centre = len(mass) // 2
    below, above = mass[:centre][::-1], mass[centre + 1 :]  # from the centre outwards
    beyond = np.append(np.cumsum((below + above)[::-1])[::-1], 0.0)  # what a half-width leaves, on both sides together
    half = max(1, int(np.argmax(beyond <= tail)))
    kept = mass[centre - half : centre + half + 1]
    return quantise_pmf([*kept, max(1 - float(kept.sum()), 0.0)])
