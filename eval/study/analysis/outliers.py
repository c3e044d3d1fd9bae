"""Raters whose grades do not go with the others', by the rules of the standards.

bt500   BT.500-15 Annex 1, 2.3.1. A rater's grade of a stimulus counts in P if it lies at or above the stimulus's mean
        plus twice its standard deviation, in Q if at or below the mean less that much; where the kurtosis of the grades
        is outside 2 to 4, sqrt(20) takes the place of 2. Out: (P + Q) / ratings > 0.05 and |P - Q| / (P + Q) < 0.3,
        that is, one who is far off often, and on both sides.
p910    The rule by correlation of P.913 that P.910 (10/2023) shares. r1: Pearson correlation of the rater's grades with
        the stimuli's means, r2: the same over conditions. Out: r1 < 0.75 and r2 < 0.8, the worst first, then all anew.

Both know nothing of checks; a study may use them on top.
"""

from typing import NamedTuple

import numpy as np

from ..bradley_terry import Array

FAR_SHARE, BOTH_SIDES = 0.05, 0.3
LEAST_R1, LEAST_R2 = 0.75, 0.8


class Far(NamedTuple):
    """share: (P + Q) / ratings. balance: |P - Q| / (P + Q), 1 where nothing is far."""

    share: float
    balance: float
    out: bool


class Correlated(NamedTuple):
    """nan where not defined: fewer than three stimuli, or always the same grade."""

    r1: float
    r2: float
    out: bool


def bt500(grades: Array) -> list[Far]:
    """One row per rater; grades (raters, scenes, conditions), nan where there is none."""
    table = grades.reshape(len(grades), -1)
    table = table[:, np.isfinite(table).sum(0) > 1]
    mean, deviation = np.nanmean(table, 0), np.nanstd(table, 0, ddof=1)
    centred = table - mean
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = np.nanmean(centred**4, 0) / np.nanmean(centred**2, 0) ** 2
    far = np.where((kurtosis >= 2) & (kurtosis <= 4), 2.0, np.sqrt(20)) * deviation
    spread = deviation > 0  # where all agree nobody is far
    high = ((centred >= far) & spread).sum(1)
    low = ((centred <= -far) & spread).sum(1)
    found = []
    for p, q, n in zip(high.tolist(), low.tolist(), np.isfinite(table).sum(1).tolist(), strict=True):
        share, balance = (p + q) / max(n, 1), abs(p - q) / (p + q) if p + q else 1.0
        found.append(Far(share, balance, share > FAR_SHARE and balance < BOTH_SIDES))
    return found


def p910(grades: Array) -> list[Correlated]:
    """One row per rater, with the correlations at which it left, or those against all that stayed."""
    stays = np.ones(len(grades), bool)
    found = [Correlated(np.nan, np.nan, False)] * len(grades)
    while True:
        shortfall = {}
        for rater in np.flatnonzero(stays):
            r1, r2 = _correlations(grades[rater], grades[stays])
            found[rater] = Correlated(r1, r2, False)
            if not (r1 >= LEAST_R1 or r2 >= LEAST_R2):
                shortfall[rater] = LEAST_R1 - np.nan_to_num(r1) + LEAST_R2 - np.nan_to_num(r2)
        if not shortfall or stays.sum() < 3:
            return found
        worst = max(shortfall, key=lambda rater: shortfall[rater])
        found[worst] = found[worst]._replace(out=True)
        stays[worst] = False


def _correlations(own: Array, everybody: Array) -> tuple[float, float]:
    known = np.isfinite(own)
    means = np.where(known, np.nanmean(np.where(known, everybody, 0.0), 0), np.nan)
    pooled = [np.nanmean(table, 0) for table in (own[:, known.any(0)], means[:, known.any(0)])]
    return _pearson(own[known], means[known]), _pearson(pooled[0], pooled[1])


def _pearson(x: Array, y: Array) -> float:
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
