"""Mean opinion scores of DSIS and ACR ratings, with intervals.

Of a stimulus (one condition on one image) over its N raters, as in BT.500-15 Annex 1 and P.910:

    MOS = mean of the grades,   interval: MOS -+ t(0.975, N - 1) s / sqrt(N)

Of a condition: the mean of its stimuli's MOS, so that every image weighs the same however often it was rated. A rater's
grades hang together, so the interval rests on the jackknife over raters (Efron and Tibshirani 1993, chapter 11), R
being their number and m_(r) the mean without rater r:

    m -+ t(0.975, R - 1) se,   se^2 = (R - 1) / R  sum_r (m_(r) - mean m_(.))^2

A bootstrap over raters is too narrow here, because it takes the few raters of one stimulus for as many as there are.

ACR with hidden reference gives the differential score, too (P.910, ACR-HR): grade - grade of the hidden original of the
same image by the same rater + 5.
"""

import math
from collections.abc import Iterable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from ..bradley_terry import Array
from ..design.trials import COUNTED
from ..plan import HIDDEN, Study
from ..votes import Vote
from .scores import TAIL, Interval, draw_raters


class Ratings(NamedTuple):
    """grades: (raters, scenes, conditions), nan where there is none. conditions: HIDDEN first in ACR."""

    grades: Array
    raters: list[str]
    scenes: list[str]
    conditions: list[str]


class ConditionMos(NamedTuple):
    """ratings: how many. dmos: None where no hidden original was rated."""

    condition: str
    mos: float
    interval: Interval | None
    sd: float
    ratings: int
    dmos: float | None
    dmos_interval: Interval | None


class StimulusMos(NamedTuple):
    """sd, interval: None for fewer than two ratings."""

    scene: str
    condition: str
    mos: float
    sd: float | None
    ratings: int
    interval: Interval | None


class MosDifference(NamedTuple):
    """How many grades first lies above second."""

    first: str
    second: str
    mos: float
    interval: Interval | None


class MosScores(NamedTuple):
    """For agreement with metrics, by a bootstrap over raters: resampled (resamples, conditions), by_image_resampled
    (resamples, scenes, conditions); nan where unknown."""

    conditions: list[ConditionMos]
    differences: list[MosDifference]
    stimuli: list[StimulusMos]
    by_image: Array
    resampled: Array
    by_image_resampled: Array
    raters: int


def ratings(study: Study, votes: Iterable[Vote]) -> Ratings:
    """The grades that count: checks, training and repeats are left out."""
    names = [HIDDEN] * (study.task == "acr") + [c.id for c in study.conditions]
    condition = {name: k for k, name in enumerate(names)}
    scene = {s.id: k for k, s in enumerate(study.scenes)}
    counted = [vote for vote in votes if vote.trial.kind in COUNTED]
    rater = {name: k for k, name in enumerate(dict.fromkeys(vote.rater for vote in counted))}
    grades = np.full((len(rater), len(scene), len(names)), np.nan)
    for vote in counted:
        grades[rater[vote.rater], scene[vote.trial.scene], condition[vote.trial.first]] = int(vote.choice)
    return Ratings(grades, list(rater), list(scene), names)


def mos(study: Study, given: Ratings, *, resamples: int = 1000, seed: int = 0) -> MosScores:
    """Means and intervals of conditions, their differences and stimuli."""
    raters = len(given.raters)
    counts = draw_raters(raters, resamples, [seed, 4]).astype(np.float64)
    by_image, images = _means(given.grades, np.ones((1, raters)))[0], _means(given.grades, counts)
    point, without = _over_images(by_image), _over_images(_means(given.grades, 1 - np.eye(raters)))
    differential = given.grades - given.grades[:, :, :1] + 5 if study.task == "acr" else None
    conditions = []
    for k, name in enumerate(given.conditions):
        grades = given.grades[:, :, k]
        dmos, dmos_interval = None, None
        if differential is not None and name != HIDDEN:
            one = differential[:, :, k : k + 1]
            dmos = float(_over_images(_means(one, np.ones((1, raters))))[0, 0])
            dmos_interval = jackknife(dmos, _over_images(_means(one, 1 - np.eye(raters)))[:, 0])
        ends = jackknife(float(point[k]), without[:, k], bounds=(1, 5))
        known = int(np.isfinite(grades).sum())
        spread = float(np.nanstd(grades)) if known else math.nan
        conditions.append(ConditionMos(name, float(point[k]), ends, spread, known, dmos, dmos_interval))
    differences = []
    for i, j in combinations(sorted(range(len(point)), key=lambda k: -point[k]), 2):
        gap = float(point[i] - point[j])
        ends = jackknife(gap, without[:, i] - without[:, j])
        differences.append(MosDifference(given.conditions[i], given.conditions[j], gap, ends))
    stimuli = [
        _stimulus(scene, name, grades[np.isfinite(grades)])
        for s, scene in enumerate(given.scenes)
        for name, grades in zip(given.conditions, given.grades[:, s].T, strict=True)
        if np.isfinite(grades).any()
    ]
    return MosScores(conditions, differences, stimuli, by_image, _over_images(images), images, raters)


def jackknife(point: float, without: Array, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval | None:
    """Interval from the estimates without each rater in turn; None if one of them is not defined, or of one rater."""
    raters = len(without)
    if raters < 2 or not np.isfinite(without).all():
        return None
    error = math.sqrt((raters - 1) / raters * float(((without - without.mean()) ** 2).sum()))
    half = float(stdtrit(raters - 1, TAIL)) * error
    return Interval(max(bounds[0], point - half), min(bounds[1], point + half))


def _means(grades: Array, weights: Array) -> Array:
    """Weighted means over raters of grades (raters, scenes, k), for each row of weights (n, raters): (n, scenes, k)."""
    known = np.isfinite(grades)
    with np.errstate(invalid="ignore"):
        total = np.tensordot(weights, np.where(known, grades, 0), 1)
        return np.asarray(total / np.tensordot(weights, known.astype(np.float64), 1))


def _over_images(by_image: Array) -> Array:
    """Means over the images that have any: (..., scenes, k) to (..., k). A resample may lack the raters of one."""
    known = np.isfinite(by_image)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, by_image, 0).sum(-2) / known.sum(-2))


def _stimulus(scene: str, name: str, grades: Array) -> StimulusMos:
    n, mean = len(grades), float(grades.mean())
    if n < 2:
        return StimulusMos(scene, name, mean, None, n, None)
    sd = float(grades.std(ddof=1))
    half = float(stdtrit(n - 1, TAIL)) * sd / math.sqrt(n)
    return StimulusMos(scene, name, mean, sd, n, Interval(mean - half, mean + half))
