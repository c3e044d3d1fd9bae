"""Scores of the conditions on each image.

The votes on one image are few, so its scores are drawn towards the condition's over all images by a normal prior of one
logit: an image must earn its deviation. Intervals: bootstrap over raters, around the same prior.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..bradley_terry import Array, elo, fit
from ..plan import Study
from .scores import Ballots, Interval, count, draw_raters, interval

PRIOR = 1.0  # precision, in logits


class ImageScores(NamedTuple):
    """In logits. scores: (scenes, k), nan where the scene was not coded so; resampled: (resamples, scenes, k)."""

    scores: Array
    resampled: Array
    votes: Array


class ImageScore(NamedTuple):
    """A row of the table. votes: those that the condition took part in on this image."""

    scene: str
    image: str
    condition: str
    elo: float
    interval: Interval | None
    votes: float


def image_scores(study: Study, votes: Ballots, logits: Array, *, resamples: int = 300, seed: int = 0) -> ImageScores:
    """logits: the scores over all images, (k,)."""
    there = np.array([[c.id in scene.renderings for c in study.conditions] for scene in study.scenes])
    shape = (len(study.scenes), len(logits), len(logits))
    flat = np.ravel_multi_index((votes.scene, votes.winner, votes.loser), shape)

    def wins(weight: Array) -> Array:
        return np.asarray(np.bincount(flat, weight, minlength=int(np.prod(shape))), np.float64).reshape(shape)

    def scores(weight: Array) -> Array:
        return np.where(there, fit(wins(weight), prior=PRIOR, centre=np.broadcast_to(logits, shape[:2])), np.nan)

    raters = len(votes.raters)
    counts = np.empty((0, 1), np.int64)
    if raters > 1:
        counts = draw_raters(raters, resamples, np.random.default_rng([seed, 5]))
    samples = np.array([scores(votes.weight * row[votes.rater]) for row in counts]).reshape(-1, *shape[:2])
    table = wins(votes.weight)
    return ImageScores(scores(votes.weight), samples, (table + np.swapaxes(table, 1, 2)).sum(-1))


def image_table(study: Study, found: ImageScores, raters: int) -> list[ImageScore]:
    return [
        ImageScore(
            scene.id,
            scene.image,
            condition.id,
            float(elo(found.scores[s, c])),
            interval(elo(found.resampled[:, s, c]), raters),
            count(found.votes[s, c]),
        )
        for s, scene in enumerate(study.scenes)
        for c, condition in enumerate(study.conditions)
        if condition.id in scene.renderings
    ]
