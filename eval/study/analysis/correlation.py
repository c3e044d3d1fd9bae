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

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ...metrics.table import direction_of
from ..bradley_terry import Array
from ..plan import Study
from .mos import MosScores
from .scores import Ballots, ImageScores, Interval, draw_raters, interval


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
    raters, drawn = len(votes.raters), by_image.resampled
    rows = _over_points(study, logits, resampled, by_image.scores, drawn, raters, seed)
    counts = draw_raters(raters, len(drawn), [seed, 5])
    return rows + [_votes(name, values, votes, counts) for name, values in metric_table(study).items()]


def grade_agreement(study: Study, scores: MosScores, *, seed: int = 0) -> list[MetricAgreement]:
    """The same for mean opinion scores, without the level of votes. Of ACR the hidden original takes no part."""
    own = slice(scores.by_image.shape[1] - len(study.conditions), None)
    point, drawn = np.array([c.mos for c in scores.conditions])[own], scores.by_image_resampled[:300, :, own]
    by_image = scores.by_image[:, own]
    return _over_points(study, point, scores.resampled[:, own], by_image, drawn, scores.raters, seed)


def _over_points(
    study: Study, point: Array, resampled: Array, by_image: Array, drawn: Array, raters: int, seed: int
) -> list[MetricAgreement]:
    """The levels of conditions and of images. point (k,), resampled (n, k): over all images; by_image (scenes, k),
    drawn (n, scenes, k): on each."""
    table, rows = metric_table(study), []
    for name, values in condition_metrics(study, table).items():
        samples = [coefficients(values, row) for row in resampled[:300]]
        known = int(np.isfinite(values).sum())
        rows.append(_three(name, "conditions", known, coefficients(values, point), samples, raters))
    scenes = np.random.default_rng([seed, 6]).integers(len(study.scenes), size=(len(drawn), len(study.scenes)))
    for name, values in table.items():
        pairs = [_centred(values[chosen], sample[chosen]) for sample, chosen in zip(drawn, scenes, strict=True)]
        x, y = _centred(values, by_image)
        samples = [coefficients(*pair) for pair in pairs]
        units = min(raters, len(study.scenes))
        rows.append(_three(name, "images", int(np.isfinite(x).sum()), coefficients(x, y), samples, units))
    return rows


def oriented(metric: str, values: Array) -> Array:
    """The metric turned so that more is better."""
    return values if direction_of(metric) == "higher" else -values


def metric_table(study: Study) -> dict[str, Array]:
    """Each metric as (scenes, conditions), more is better, nan where unknown."""
    names = sorted({name for scene in study.scenes for r in scene.renderings.values() for name in r.metrics})
    order = [condition.id for condition in study.conditions]
    coded = [[scene.renderings.get(condition) for condition in order] for scene in study.scenes]
    return {
        name: oriented(name, np.array([[r.metrics.get(name, np.nan) if r else np.nan for r in row] for row in coded]))
        for name in names
    }


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


def _three(
    metric: str, level: str, n: int, point: Sequence[float], samples: Sequence[Sequence[float]], units: int
) -> MetricAgreement:
    drawn = np.array(samples).reshape(-1, 3)
    found = [_agrees(value, drawn[:, k], units) for k, value in enumerate(point)]
    return MetricAgreement(metric, level, n, found[0], found[1], found[2], None)


def _centred(values: Array, scores: Array) -> tuple[Array, Array]:
    """Deviations from the image's mean over the conditions that have both, flattened; nan elsewhere."""
    known = np.isfinite(values) & np.isfinite(scores)
    count = np.maximum(known.sum(1, keepdims=True), 1)

    def deviations(table: Array) -> Array:
        held = np.where(known, table, 0)
        return np.where(known & (count > 1), held - held.sum(1, keepdims=True) / count, np.nan).ravel()

    return deviations(values), deviations(scores)


def _votes(metric: str, values: Array, votes: Ballots, counts: NDArray[np.int64]) -> MetricAgreement:
    """counts: how often each rater is in each resample."""
    gap = values[votes.scene, votes.winner] - values[votes.scene, votes.loser]
    known, right = np.isfinite(gap), np.where(gap > 0, 1.0, np.where(gap == 0, 0.5, 0.0))
    raters = len(votes.raters)
    hit = np.bincount(votes.rater[known], (right * votes.weight)[known], minlength=raters)
    cast = np.bincount(votes.rater[known], votes.weight[known], minlength=raters)
    with np.errstate(invalid="ignore"):
        share, samples = hit.sum() / cast.sum(), counts @ hit / (counts @ cast)
    predicts = _agrees(float(share), samples, raters, 0.0)
    return MetricAgreement(metric, "votes", round(float(cast.sum())), None, None, None, predicts)
