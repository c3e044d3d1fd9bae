"""How the encoder checks its own sums, for a few percent of their cost (Freivalds 1977).

A wrong matrix product X W is found by comparing it with X along one vector r:

    (X W) r = X (W r)

Two products with a vector against one with a matrix: for 192 channels one hundredth of the multiplications. Here the
comparison is over integers and exact, for r is so small that every sum stays below 2^53 (else int64 is used, whose
wrap-around is exact too). All entries of r differ from zero, so an error in one channel of a position is found with
certainty, and errors in several channels stay hidden only where they are orthogonal to r: about one position in 2 max
|r|. An arithmetic that rounds (single precision, emulated double, a broken library, a failing core) errs at many
positions, and the two sides take different routines, shapes and orders of summation, so that both would have to err
alike. Each channel of a depthwise layer is compared in its sum over positions instead.

Not seen here: an error of an element-wise operation (multiply, add, floor, clamp: they are correctly rounded by IEEE
754, and the model's known answer runs through them at load). The range coder is checked by decoding what it wrote.
The decoder's check is that answer: what a model gives for fixed inputs, as a digest that its file stores.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import ModelError

from .coder import Encoder
from .contract import IntArray

Numbers = npt.NDArray[Any]

EXACT = 1 << 53
LARGEST = 127  # |r|
VECTORS = 2  # with one, BLAS would take another routine, which starts threads sooner


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


def probe_of(outputs: int, worst: int, kind: npt.DTypeLike) -> Numbers:
    """r, integers [outputs, VECTORS], for sums (without bias) of at most `worst`: of the type of the sums if that
    holds every sum against r exactly, else int64."""
    room = EXACT // (outputs * max(1, worst))
    chance = scatter((outputs, VECTORS), outputs)
    probe = (1 + (chance >> 8) % min(max(room, 1), LARGEST)) * (1 - 2 * (chance & 1))
    return probe.astype(kind if room else np.int64)


def verify_depthwise(weight: Numbers, x: Numbers, acc: Numbers) -> None:
    """ModelError unless acc [H, W, C] is x [H + k - 1, W + k - 1, C] under weight [k k, C], summed over positions."""
    height, width, channels = acc.shape
    kernel = x.shape[0] - height + 1
    seen = np.empty((kernel, kernel, channels), np.int64)  # what each tap has seen in all
    for dx in range(kernel):
        rows = np.zeros((len(x) + 1, channels), np.int64)
        np.cumsum(x[:, dx : dx + width].sum(1), axis=0, out=rows[1:], dtype=np.int64)  # sums of 24-bit values: exact
        seen[:, dx] = rows[height:] - rows[:-height]
    expected = (weight.astype(np.int64) * seen.reshape(-1, channels)).sum(0)
    if not np.array_equal(acc.sum(0).astype(np.int64).sum(0), expected):
        raise wrong_sum()


def verify_stream(payload: bytes, encoder: Encoder) -> None:
    """ModelError unless the payload reads back as what its encoder, if it has kept it, wrote."""
    if encoder.keeps and not encoder.reads_back(payload):
        raise ModelError("the coded data did not decode to what was coded on this machine: nothing was written")


def wrong_sum() -> ModelError:
    """The error of an encoder that does not trust its machine."""
    return ModelError("this machine does not compute exactly: nothing was written")
