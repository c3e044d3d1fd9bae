"""A small entropy model of each kind, of random integers."""

from collections.abc import Callable
from functools import cache

import numpy as np

from gencomp.entropy.constants import KNOTS, LEVELS
from gencomp.entropy.contract import EntropyModel
from gencomp.entropy.factorized import Factorized
from gencomp.entropy.hybrid import Hybrid
from gencomp.entropy.hyperprior import Hyperprior
from gencomp.entropy.intnet import IntConv, IntNet
from gencomp.entropy.tables import Tables, escape_table, gaussian_tables, quantise_pmf

from .nets import hashed

CHANNELS, HYPER, FEATURES = 8, 3, 6


def layer(outputs: int, inputs: int, seed: int, *, kernel: int = 1, shuffle: int = 1, hi: int = 100) -> IntConv:
    """A layer whose outputs are small: means within a few units, levels over their whole range."""
    weight = hashed((outputs, inputs, kernel, kernel), -60, 60, seed).astype(np.int16)
    bias = hashed((outputs,), 0, 30 << 12, seed + 1)
    ones = np.ones(outputs, np.int64)
    return IntConv(weight, bias, ones << 3, ones * 12, -hi, hi, 1, shuffle)


@cache
def tables(z: bool = True) -> Tables:
    """Gaussian levels; z of half-widths 1, 3 and 9."""
    z_tables = tuple(quantise_pmf(np.ones(2 * k + 1)) for k in (1, 3, 9))
    return Tables(gaussian_tables(), z_tables if z else (), escape_table())


def synthesis(outputs: int, quality: int, hi: int = 100) -> IntNet:
    """Twice a pixel shuffle."""
    inputs = HYPER + quality
    layers = (layer(8, inputs, 1, kernel=3, shuffle=2), layer(4 * outputs, 2, 2, kernel=3, shuffle=2, hi=hi))
    return IntNet(layers, np.full(inputs, 200))


@cache
def context() -> EntropyModel:
    """Four passes."""
    nets = []
    for index in range(4):
        inputs = FEATURES + CHANNELS * (index > 0)
        first = layer(5, inputs, 10 * index + 5, kernel=3)
        nets.append(IntNet((first, layer(2 * CHANNELS, 5, 10 * index + 6)), np.full(inputs, 500)))
    return Hyperprior(tables(), synthesis(FEATURES, KNOTS), tuple(nets))


@cache
def hyperprior() -> EntropyModel:
    """One pass with a context network."""
    context = IntNet((layer(2 * CHANNELS, FEATURES, 7),), np.array([300]))
    return Hyperprior(tables(), synthesis(FEATURES, KNOTS), (context,))


@cache
def direct() -> EntropyModel:
    """One pass without, levels by thresholds, no quality: HiFiC's form."""
    return Hyperprior(tables(), synthesis(2 * CHANNELS, 0), (), np.arange(-LEVELS // 2 + 1, LEVELS // 2) * 2)


@cache
def factorized() -> EntropyModel:
    """Channels of unlike widths."""
    return Factorized(Tables(gaussian_tables(CHANNELS, 0.3, 9), (), escape_table()), hashed((CHANNELS,), -200, 200, 3))


@cache
def factorized_sets() -> EntropyModel:
    """Three sets for as many qualities, each wider than the one before."""
    spread = Tables(gaussian_tables(3 * CHANNELS, 0.3, 30.0), (), escape_table())
    return Factorized(spread, hashed((3, CHANNELS), -200, 200, 4))


@cache
def hybrid() -> Hybrid:
    """JPEG planes beside a hyperprior."""
    inner = hyperprior()
    assert isinstance(inner, Hyperprior)
    return Hybrid(np.geomspace(40, 2, KNOTS).astype(np.int64), inner)


MODELS: dict[str, Callable[[], EntropyModel]] = {"context": context, "hyperprior": hyperprior, "direct": direct}
MODELS |= {"factorized": factorized, "factorized-sets": factorized_sets}
ALL = MODELS | {"hybrid": hybrid}  # of no conformance file: JPEG has conformance tests of its own
