"""Which metric of the evaluation agrees with the raters?

Three questions, from coarse to fine:

conditions   metric (mean over the study's images) against score, over conditions. Few points: look at the interval.
images       metric against score of each condition on each image, both as deviations from their image's mean,
             because a score is known only relative to the others on the same image. Scores of one image rest on few
             votes and are drawn towards the condition's score (a normal prior of one logit).
votes        share of single votes that the metric predicts: the condition it prefers on that image is the one chosen.

Signs are turned so that a positive correlation means that metric and raters agree. Intervals: bootstrap over raters;
for `images`, over raters and images at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ...metrics.table import direction_of
from ..bradley_terry import Array
from ..plan import Study
from .image_scores import ImageScores
from .mos import MosScores
from .scores import Ballots, Index, Interval, draw_raters, interval


class Agrees(NamedTuple):
    """A coefficient with its interval; None where it is not defined (too few points, a constant metric)."""

    value: float | None
    interval: Interval | None


class MetricAgreement(NamedTuple):
    """level: conditions or images, where n counts the points and pearson, spearman and kendall (tau-b) are given; or
    votes, where n counts the votes and `predicts` is given."""

    metric: str
    level: str
    n: int
    pearson: Agrees | None
    spearman: Agrees | None
    kendall: Agrees | None
    predicts: Agrees | None


def metric_agreement(
    study: Study, votes: Ballots, logits: Array, resampled: Array, by_image: ImageScores, *, seed: int = 0
) -> list[MetricAgreement]:
    """Every metric at every level it is known at. `resampled`: scores of the bootstrap over raters."""
    resamples = len(by_image.resampled) or 1
    table = metric_table(study)
    rows = [
        _conditions(name, values, logits, resampled, len(votes.raters))
        for name, values in condition_metrics(study, table).items()
    ]
    if not len(votes.rater):
        return rows
    scenes = np.random.default_rng([seed, 6]).integers(len(study.scenes), size=(resamples, len(study.scenes)))
    units = min(len(votes.raters), len(study.scenes))
    rows += [_images(n, values, by_image.scores, by_image.resampled, units, scenes) for n, values in table.items()]
    rows += [_votes(name, values, votes, resamples, seed) for name, values in table.items()]
    return rows


def grade_agreement(study: Study, scores: MosScores, *, seed: int = 0) -> list[MetricAgreement]:
    """The same for mean opinion scores, without the level of votes. Of ACR the hidden original takes no part."""
    own = slice(scores.by_image.shape[1] - len(study.conditions), None)
    table = metric_table(study)
    point = np.array([c.mos for c in scores.conditions])[own]
    rows = [
        _conditions(name, values, point, scores.resampled[:, own], scores.raters)
        for name, values in condition_metrics(study, table).items()
    ]
    drawn = scores.by_image_resampled[:300, :, own]
    scenes = np.random.default_rng([seed, 6]).integers(len(study.scenes), size=(len(drawn), len(study.scenes)))
    units = min(scores.raters, len(study.scenes))
    return rows + [_images(n, values, scores.by_image[:, own], drawn, units, scenes) for n, values in table.items()]


def oriented(metric: str, values: Array) -> Array:
    """The metric turned so that more is better. Where nearer to one is better: minus the distance in log."""
    direction = direction_of(metric)
    if direction == "one":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(-np.abs(np.log(values)))
    return values if direction == "higher" else -values


def metric_table(study: Study) -> dict[str, Array]:
    """Each metric as (scenes, conditions), more is better, nan where unknown."""
    names = sorted({name for scene in study.scenes for r in scene.renderings.values() for name in r.metrics})
    order = [condition.id for condition in study.conditions]
    table = {}
    for name in names:
        values = np.full((len(study.scenes), len(order)), np.nan)
        for s, scene in enumerate(study.scenes):
            for c, rendering in scene.renderings.items():
                values[s, order.index(c)] = rendering.metrics.get(name, np.nan)
        table[name] = oriented(name, values)
    return table


def condition_metrics(study: Study, table: dict[str, Array]) -> dict[str, Array]:
    """Each metric as (conditions,): means over the images that all conditions share, and measures over the set."""
    metrics = {}
    for name, values in table.items():
        shared = np.isfinite(values).all(1)
        if shared.any():
            metrics[name] = values[shared].mean(0)
    for name in sorted({name for condition in study.conditions for name in condition.measures}):
        values = np.array([condition.measures.get(name, np.nan) for condition in study.conditions])
        metrics.setdefault(name, oriented(name, values))
    return metrics


def coefficients(x: Array, y: Array) -> tuple[float, float, float]:
    """Pearson, Spearman and Kendall (tau-b); nan where not defined (fewer than three points, a constant).

    Written out because scipy's compute a p-value with each, fifty times the work in a bootstrap; the tests hold them
    to scipy's.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return (np.nan, np.nan, np.nan)
    orders = [np.sign(v[:, None] - v[None, :]).astype(np.float32).ravel() for v in (x, y)]
    ranks = [rankdata(v) - (len(v) + 1) / 2 for v in (x, y)]
    return _cosine(x - x.mean(), y - y.mean()), _cosine(*ranks), _cosine(*orders)


def _cosine(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def _agrees(value: float, samples: Array, units: int, least: float = -1.0) -> Agrees:
    return Agrees(value, interval(samples, units, bounds=(least, 1.0))) if np.isfinite(value) else Agrees(None, None)


def _three(metric: str, level: str, n: int, point: Sequence[float], samples: Array, units: int) -> MetricAgreement:
    found = [_agrees(value, samples[:, k], units) for k, value in enumerate(point)]
    return MetricAgreement(metric, level, n, found[0], found[1], found[2], None)


def _conditions(metric: str, values: Array, logits: Array, resampled: Array, raters: int) -> MetricAgreement:
    samples = np.array([coefficients(values, row) for row in resampled[:300]]).reshape(-1, 3)
    return _three(metric, "conditions", int(np.isfinite(values).sum()), coefficients(values, logits), samples, raters)


def _images(metric: str, values: Array, scores: Array, samples: Array, units: int, scenes: Index) -> MetricAgreement:
    drawn = [
        coefficients(*_centred(values[chosen], sample[chosen])) for sample, chosen in zip(samples, scenes, strict=False)
    ]
    x, y = _centred(values, scores)
    return _three(
        metric, "images", int(np.isfinite(x).sum()), coefficients(x, y), np.array(drawn).reshape(-1, 3), units
    )


def _centred(values: Array, scores: Array) -> tuple[Array, Array]:
    """Deviations from the image's mean over the conditions that have both, flattened; nan elsewhere."""
    known = np.isfinite(values) & np.isfinite(scores)
    count = np.maximum(known.sum(1, keepdims=True), 1)

    def deviations(table: Array) -> Array:
        held = np.where(known, table, 0)
        return np.where(known & (count > 1), held - held.sum(1, keepdims=True) / count, np.nan).ravel()

    return deviations(values), deviations(scores)


def _votes(metric: str, values: Array, votes: Ballots, resamples: int, seed: int) -> MetricAgreement:
    gap = values[votes.scene, votes.winner] - values[votes.scene, votes.loser]
    known = np.isfinite(gap)
    right = np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))
    raters = len(votes.raters)
    hit = np.bincount(votes.rater[known], (right * votes.weight)[known], minlength=raters)
    cast = np.bincount(votes.rater[known], votes.weight[known], minlength=raters)
    samples = np.empty(0)
    if raters > 1:
        counts = draw_raters(raters, resamples, np.random.default_rng([seed, 5]))
        with np.errstate(invalid="ignore"):
            samples = counts @ hit / (counts @ cast)
    share = hit.sum() / cast.sum() if cast.sum() else np.nan
    return MetricAgreement(
        metric, "votes", round(float(cast.sum())), None, None, None, _agrees(float(share), samples, raters, 0.0)
    )
