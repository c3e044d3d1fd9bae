"""Known answers: what a model gives for fixed inputs, as a digest that a model file stores."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .contract import IntArray


def answer(values: Iterable[IntArray]) -> str:
    """SHA-256 over the arrays as little-endian int32 in C order, one after another."""
    digest = hashlib.sha256()
    for array in values:
        digest.update(np.ascontiguousarray(array, "<i4").tobytes())
    return digest.hexdigest()


def scatter(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.int64]:
    """Fixed pseudo-random int64 in 0..2^31 - 1: a hash, since library generators change with versions."""
    numbers = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(seed << 32)
    mixed = (numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return mixed.astype(np.int64).reshape(shape)
