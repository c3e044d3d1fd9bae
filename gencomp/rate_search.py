"""The largest quality step whose file fits: by coding the image again and again, or a sketch of it where that is dear.

Sizes rise with the step but for a byte here and there, about exponentially.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import STEPS

LARGE = 1_500_000
"""Pixels above which a sketch is coded first."""
BEYOND = 3  # steps that are looked at above the one that bisection ends at
CODINGS = 3  # of a large image
TILE, TILES = 128, 4  # a sketch: so many pixels a side of a tile, so many tiles a side

Size = Callable[[int], float]


def largest_step(size: Size, limit: float, beyond: int = BEYOND, last: int = STEPS) -> int | None:
    """The largest step 0..last with size(step) <= limit; None where even step 0 is larger. Looks `beyond` steps further
    than bisection, as sizes are not quite monotone."""
    size = functools.cache(size)
    if size(0) > limit:
        return None
    if size(last) <= limit:
        return last
    low, _ = close_in(size, limit, 0, last)
    return max(step for step in range(low, min(low + beyond, last) + 1) if size(step) <= limit)


def close_in(
    size: Size, wanted: float, low: int, high: int, settled: Callable[[int, int], bool] = lambda low, high: False
) -> tuple[int, int]:
    """From steps with size(low) <= wanted < size(high) to such neighbours, or until settled(low, high). Bisection, two
    times of three where the size would be if its logarithm were linear."""
    tries = 0
    while high - low > 1 and not settled(low, high):
        tries += 1
        guess = (low + high) // 2
        if tries % 3:
            a, b, at = (math.log(value or 1) for value in (size(low), size(high), wanted))
            share = (at - a) / (b - a) if b > a else 0.5
            guess = min(high - 1, max(low + 1, round(low + share * (high - low))))
        low, high = (guess, high) if size(guess) <= wanted else (low, guess)
    return low, high


def largest_step_by_sketch(
    size: Size, sketch: Size, share: float, limit: float, codings: int = CODINGS, persist: bool = True
) -> int | None:
    """About the largest step with size(step) <= limit, which always holds; None where even step 0 is larger.

    sketch: size of the sketch at a step, which is cheap; share: how much of the whole the sketch is, at first: every
    coding says better. Asks `size` `codings` times at most, and ends before where the next step would not fit by the
    sketch; persist: where none of these fit, goes on until one does.
    """
    sketch = functools.cache(sketch)
    ratio, aim, tried = 1 / share, limit, 0
    low, high = -1, STEPS + 1  # the largest known to fit, the smallest known not to
    while high - low > 1 and (tried < codings or (persist and low < 0)):
        wanted = largest_step(lambda step, ratio=ratio: ratio * sketch(step), aim, beyond=0) or 0  # type: ignore[misc]
        if low >= 0 and wanted <= low:
            break
        guess = min(max(wanted, low + 1), high - 1)
        got, tried = size(guess), tried + 1
        ratio = got / max(1, sketch(guess))
        low, high = (guess, high) if got <= limit else (low, guess)
        if low < 0 and tried >= codings - 1:  # better a little too small than not at all
            aim = limit * max(0.0, 1 - 0.01 * 2 ** (tried - codings + 1))
    return low if low >= 0 else None


def sketch_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Tiles from all over an image [H, W, 3], put together into one of at most 512x512; a part of either side."""
    rows, columns = (_spread(length) for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[rows][:, columns])


def _spread(length: int) -> npt.NDArray[np.int64]:
    """Indices of TILES pieces of TILE, evenly spread; all where the side is no longer than they."""
    if length <= TILE * TILES:
        return np.arange(length)
    starts = np.linspace(0, length - TILE, TILES).round().astype(np.int64)
    return (starts[:, None] + np.arange(TILE)).ravel()
