"""Codecs at different rates: at what share of another's bits does a codec look as good?

A codec's scores at its rates make a curve. Score grows with the logarithm of the rate to good approximation, so the
curve is linear in log bpp between points, made non-decreasing first by pooling adjacent violators (a dip is noise).
A point of one codec is laid on another's curve: bpp of the point / bpp at which the other has the same score.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from ..bradley_terry import Array, elo
from ..plan import Condition
from .scores import LEVEL, Interval, interval


class EqualQuality(NamedTuple):
    """condition needs `percent` of the bits of `reference` (a codec's curve) for the same score.

    bpp: of the condition. reference_bpp: where the reference's curve has its score; None if it has not within its
    rates; `beyond` then says "better" (than the reference at its highest rate) or "worse" (than at its lowest).
    inside: share of the bootstrap resamples in which the score lay on the curve; the others count as the curve's end.
    low_open, high_open: where more of them lie beyond an end than the interval leaves out there, the true end of the
    interval is below `low`, or above `high`, by an amount that these rates cannot tell.
    """

    condition: str
    reference: str
    bpp: float
    reference_bpp: float | None = None
    percent: float | None = None
    interval: Interval | None = None
    inside: float | None = None
    low_open: bool = False
    high_open: bool = False
    beyond: str = ""


def curve_of(codec: str, realism: float | None) -> str:
    """The codec whose rates belong on one curve."""
    return codec if realism is None else f"{codec} realism {realism:g}"


def equal_quality(conditions: Sequence[Condition], logits: Array, resampled: Array, raters: int) -> list[EqualQuality]:
    """Every condition on the curve of every other codec that was shown at two or more rates."""
    curves: dict[str, list[tuple[float, int]]] = {}
    for k, condition in enumerate(conditions):
        if condition.bpp:
            curves.setdefault(curve_of(condition.codec, condition.realism), []).append((condition.bpp, k))
    found = []
    for reference, curve in curves.items():
        curve.sort(key=lambda point: point[0])
        rates, points = np.log([bpp for bpp, _ in curve]), [k for _, k in curve]
        if len(points) < 2 or not np.all(np.diff(rates) > 1e-6):
            continue
        for k, condition in enumerate(conditions):
            if not condition.bpp or curve_of(condition.codec, condition.realism) == reference:
                continue
            rate, side = rate_at(elo(logits[points]), rates, float(elo(logits[k])))
            if side:
                found.append(EqualQuality(condition.id, reference, condition.bpp, beyond=side))
                continue
            drawn = [rate_at(elo(row[points]), rates, float(elo(row[k]))) for row in resampled]
            shares = interval(np.log(condition.bpp) - np.array([r for r, _ in drawn]), raters)
            sides = [s for _, s in drawn]
            left_out = (1 - LEVEL) / 2 * len(sides)
            bpp, ends = float(np.exp(rate)), Interval(*(100 * math.exp(end) for end in shares)) if shares else None
            inside = sides.count("") / len(sides) if sides else None
            low, high = (sides.count(side) > left_out for side in ("better", "worse"))
            point = condition.id, reference, condition.bpp
            found.append(EqualQuality(*point, bpp, 100 * condition.bpp / bpp, ends, inside, low, high))
    return found


def rate_at(scores: Array, rates: Array, score: float) -> tuple[float, str]:
    """Log rate at which the curve has this score, and "" ; beyond the curve its end and "better" or "worse"."""
    rising = isotonic_regression(scores).x
    if score > rising[-1]:
        return float(rates[-1]), "better"
    if score < rising[0]:
        return float(rates[0]), "worse"
    upper = int(np.searchsorted(rising, score))
    if rising[upper] == score:
        return float(rates[upper]), ""
    share = (score - rising[upper - 1]) / (rising[upper] - rising[upper - 1])
    return float(rates[upper - 1] + share * (rates[upper] - rates[upper - 1])), ""
