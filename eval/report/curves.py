"""Rate against quality: Bjontegaard deltas over PCHIP curves, and intervals by resampling images with replacement.

Bjontegaard 2001 (VCEG-M33), with the piecewise cubic interpolation that replaced its single cubic (as in JVET's common
test conditions). Quality grows with goodness: callers negate metrics of which less is better. For the bootstrap see
Efron and Tibshirani 1993, chapters 13 and 16.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]


class CurveError(ValueError):
    """Two curves cannot be compared: too few points, not monotone, or no overlap."""


class Curve(NamedTuple):
    """Points of one codec: rates in bits per pixel, ascending, and their qualities."""

    rates: Array
    quality: Array


class Delta(NamedTuple):
    """A Bjontegaard delta and the interval of the other axis over which it is the mean. share: that overlap's part of
    the whole range which the two curves span together, 0..1."""

    value: float
    low: float
    high: float
    share: float


def curve(rates: Array, quality: Array, window: tuple[float, float] | None = None) -> Curve:
    """A curve of points in any order; points of equal rate count once.

    `window` cuts it to rates between two bounds [bpp], with the interpolated quality at a bound that the curve crosses.
    Raises CurveError below two points.
    """
    rates, first = np.unique(np.asarray(rates, np.float64), return_index=True)
    quality = np.asarray(quality, np.float64)[first]
    if window is not None and len(rates) > 1:
        through = PchipInterpolator(np.log(rates), quality)
        bounds = [b for b in window if rates[0] < b < rates[-1]]
        inside = (rates >= window[0]) & (rates <= window[1])
        quality = np.concatenate([quality[inside], through(np.log(bounds))])
        rates = np.concatenate([rates[inside], bounds])
        order = np.argsort(rates)
        rates, quality = rates[order], quality[order]
    if len(rates) < 2:
        raise CurveError("fewer than two points")
    return Curve(rates, quality)


def bd_rate(anchor: Curve, test: Curve) -> Delta:
    """Mean difference in rate at equal quality [%]: negative where `test` needs fewer bits than `anchor`. Its interval
    is that of quality. Raises CurveError."""
    for one in (anchor, test):
        if np.any(np.diff(one.quality) <= 0):
            raise CurveError("quality does not grow steadily with the rate")
    low, high, share = _overlap(anchor.quality, test.quality)
    means = [_mean(c.quality, np.log(c.rates), low, high) for c in (anchor, test)]
    return Delta(100 * math.expm1(means[1] - means[0]), low, high, share)


def bd_quality(anchor: Curve, test: Curve) -> Delta:
    """Mean difference in quality at equal rate, over log rate; its interval is that of the rate [bpp]. Raises
    CurveError."""
    low, high, share = _overlap(np.log(anchor.rates), np.log(test.rates))
    means = [_mean(np.log(c.rates), c.quality, low, high) for c in (anchor, test)]
    return Delta(means[1] - means[0], math.exp(low), math.exp(high), share)


def _overlap(a: Array, b: Array) -> tuple[float, float, float]:
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if high <= low:
        raise CurveError("the curves do not overlap")
    return float(low), float(high), float((high - low) / (max(a[-1], b[-1]) - min(a[0], b[0])))


def _mean(x: Array, y: Array, low: float, high: float) -> float:
    return float(PchipInterpolator(x, y).integrate(low, high)) / (high - low)


def at_rate(points: Sequence[tuple[float, float]], bpp: float) -> float | None:
    """The value at a rate of a curve of points (bpp, value) that ascend in rate, linear in the rate's logarithm; None
    beyond its ends."""
    if not points or not points[0][0] <= bpp <= points[-1][0]:
        return None
    rates, values = zip(*points)
    return float(np.interp(np.log(bpp), np.log(rates), values))


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
    draw, values = np.random.default_rng(seed), []
    for _ in range(resamples):
        try:
            values.append(statistic(draw.integers(0, images, images)))
        except CurveError:
            continue
    if len(values) < 0.9 * resamples:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    below, above = (float(np.mean(side)) for side in (np.array(values) <= 0, np.array(values) >= 0))
    return Resampled(Interval(float(low), float(high)), min(1.0, max(2 * min(below, above), 1 / len(values))))


def mean_interval(values: Array, resamples: int = 1000) -> Interval | None:
    """95 % percentile interval of a mean over images."""
    if len(values) < 2:
        return None
    draws = np.random.default_rng(0).integers(0, len(values), (resamples, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return Interval(float(low), float(high))
