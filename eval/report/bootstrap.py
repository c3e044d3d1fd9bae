"""Intervals and significance by resampling images with replacement (Efron and Tibshirani 1993, chapters 13 and 16)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .curves import CurveError


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


class Resampled(NamedTuple):
    """What resampling says of a difference: its interval, and the probability of one as large if there were none."""

    interval: Interval
    p: float


def resample(
    statistic: Callable[[NDArray[np.intp]], float], images: int, resamples: int = 1000, seed: int = 0
) -> Resampled | None:
    """95 % percentile interval and two-sided p of a statistic of a set of images.

    `statistic` takes the indices of a resample and may raise CurveError; p is twice the smaller share of resamples on
    one side of zero, at least 1 / resamples. Codecs are compared on the same resample: the bootstrap is paired. None
    with fewer than two images, or when the statistic is defined on less than nine resamples of ten.
    """
    if images < 2:
        return None
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        try:
            values.append(statistic(draw.integers(0, images, images)))
        except CurveError:
            continue
    if len(values) < 0.9 * resamples:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    below = float(np.mean(np.array(values) <= 0))
    above = float(np.mean(np.array(values) >= 0))
    return Resampled(Interval(float(low), float(high)), min(1.0, max(2 * min(below, above), 1 / len(values))))


def mean_interval(values: NDArray[np.float64], resamples: int = 1000) -> Interval | None:
    """95 % percentile interval of a mean over images."""
    if len(values) < 2:
        return None
    draws = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return Interval(float(low), float(high))
