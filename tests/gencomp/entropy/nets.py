"""Integer networks to test with, made of hashes so that no library's random numbers matter."""

import hashlib

import numpy as np
from hypothesis import strategies as st

from gencomp.entropy import intnet as I
from gencomp.entropy.contract import Arithmetic
from gencomp.entropy.evaluate import Evaluation, evaluate
from gencomp.entropy.intnet import IntConv, IntNet

ARITHMETICS: tuple[Arithmetic, ...] = ("float64", "int64")


def forward(net: IntNet, x: np.ndarray, arithmetic: Arithmetic = "float64", tile: int = 1000) -> np.ndarray:
    """Integers [C, H, W] -> int32 [O, H', W']."""
    return evaluate(net, [x.transpose(1, 2, 0)], Evaluation(tile, arithmetic, check=True)).transpose(2, 0, 1)


def hashed(shape: tuple[int, ...], low: int, high: int, seed: int) -> np.ndarray:
    """Fixed pseudo-random int64 in low..high, the same in every version of every library."""
    mixed = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(seed << 40)
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(33)
    return (mixed % np.uint64(high - low + 1)).astype(np.int64).reshape(shape) + low


def layer(
    outputs: int, inputs: int, kernel: int, *, seed: int, groups: int = 1, shuffle: int = 1, relu: bool = True
) -> IntConv:
    """A layer of random integers whose outputs fill their range."""
    return IntConv(
        weight=hashed((outputs, inputs // groups, kernel, kernel), -2047, 2047, seed).astype(np.int16),
        bias=hashed((outputs,), -(10**6), 10**6, seed + 1),
        multiplier=hashed((outputs,), 1, 32_767, seed + 2),
        shift=hashed((outputs,), 18, 26, seed + 3),
        lo=0 if relu else -32_768,
        hi=32_767,
        groups=groups,
        shuffle=shuffle,
    )


def example_net() -> IntNet:
    """Every kernel, dense and depthwise, shuffled and not."""
    layers = (
        layer(24, 3, 1, seed=1, shuffle=2),
        layer(6, 6, 5, seed=2, groups=6, relu=False),
        layer(8, 6, 3, seed=3),
        layer(12, 8, 1, seed=4, shuffle=2, relu=False),
        layer(3, 3, 3, seed=5, groups=3),
        layer(5, 3, 5, seed=6, relu=False),
    )
    return IntNet(layers, np.array([100, 2_000, 7]))


def example_input(height: int = 5, width: int = 7, number: int = 2) -> np.ndarray:
    """Integers [number, 3, height, width], some beyond the network's input bound."""
    return hashed((number, 3, height, width), -200, 200, 9).astype(np.int32)


EXAMPLE_DIGEST = "7d99507ebe00bc1a"  # of example_net on example_input


def digest(outputs: list[np.ndarray]) -> str:
    """Of outputs [O, H, W], one after another."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(y, "<i4").tobytes() for y in outputs)).hexdigest()[:16]


def example_digest(arithmetic: Arithmetic, tile: int = 1000) -> str:
    """EXAMPLE_DIGEST, if this machine evaluates exactly."""
    return digest([forward(example_net(), one, arithmetic, tile) for one in example_input()])


@st.composite
def nets(draw: st.DrawFn) -> IntNet:
    """Networks of up to four layers of every form."""
    channels = inputs = draw(st.integers(1, 4))
    layers = []
    for index in range(draw(st.integers(1, 4))):
        kernel, shuffle = draw(st.sampled_from(I.KERNELS)), draw(st.sampled_from([1, 1, 2]))
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, 3)) * shuffle**2
        seed, relu = draw(st.integers(0, 2**20)), draw(st.booleans())
        layers.append(layer(outputs, channels, kernel, seed=seed + index, groups=groups, shuffle=shuffle, relu=relu))
        channels = outputs // shuffle**2
    return IntNet(tuple(layers), np.full(inputs, 300))
