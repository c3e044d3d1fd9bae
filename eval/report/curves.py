"""Rate against quality: Bjontegaard deltas over PCHIP curves.

Bjontegaard 2001 (VCEG-M33), with the piecewise cubic interpolation that replaced its single cubic (as in JVET's common
test conditions). Quality grows with goodness: callers negate metrics of which less is better.
"""

import math
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
    """A Bjontegaard delta and the interval of the other axis over which it is the mean.

    share: that overlap's part of the whole range which the two curves span together, 0..1.
    """

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
    """Mean difference in rate at equal quality [%]: negative where `test` needs fewer bits than `anchor`.

    Its interval is that of quality. Raises CurveError.
    """
    for one in (anchor, test):
        if np.any(np.diff(one.quality) <= 0):
            raise CurveError("quality does not grow steadily with the rate")
    low, high, share = _overlap(anchor.quality, test.quality)
    means = [_mean(c.quality, np.log(c.rates), low, high) for c in (anchor, test)]
    return Delta(100 * math.expm1(means[1] - means[0]), low, high, share)


def bd_quality(anchor: Curve, test: Curve) -> Delta:
    """Mean difference in quality at equal rate, over log rate; its interval is that of the rate [bpp].

    Raises CurveError.
    """
    low, high, share = _overlap(np.log(anchor.rates), np.log(test.rates))
    means = [_mean(np.log(c.rates), c.quality, low, high) for c in (anchor, test)]
    return Delta(means[1] - means[0], math.exp(low), math.exp(high), share)


def _overlap(a: Array, b: Array) -> tuple[float, float, float]:
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if high <= low:
        raise CurveError("the curves do not overlap")
    return float(low), float(high), float((high - low) / (max(a[-1], b[-1]) - min(a[0], b[0])))


def _mean(x: Array, y: Array, low: float, high: float) -> float:
    """Mean of the interpolant of y(x) between two bounds."""
    return float(PchipInterpolator(x, y).integrate(low, high)) / (high - low)
