"""Scores of the conditions on the Elo scale, over all images and on each, with intervals by bootstrap over raters.

A rater's votes hang together, so raters are drawn, not votes. With few raters a plain percentile interval is too short,
because the spread within n drawn raters is sqrt((n - 1) / n) of the true one and because its quantiles are the normal
distribution's, not Student's (Hesterberg 2015, "What teachers should know about the bootstrap", The American
Statistician 69). His remedy, quantiles further out, asks for the outermost samples of a bootstrap when raters are fewer
than ten, so the interval's ends are moved out from its median by the same factor instead. The intervals speak of these
images and of raters like these; that other images would give other scores is outside them.

The votes on one image are few, so its scores are drawn towards the condition's over all images by a normal prior of one
logit: an image must earn its deviation. Intervals: around the same prior.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from ...report.curves import Interval
from ..bradley_terry import ELO, Array, elo, fit
from ..plan import Study
from ..votes import Vote

Index = NDArray[np.intp]
LEVEL = 0.95
TAIL = (1 + LEVEL) / 2
IMAGE_PRIOR = 1.0  # precision, in logits


class Ballots(NamedTuple):
    """Votes on pairs as columns: one row per vote, two of weight 1/2 for a tie. raters: names; the other indices are
    those of the plan."""

    rater: Index
    scene: Index
    winner: Index
    loser: Index
    weight: Array
    raters: list[str]
    conditions: list[str]

    def tables(self) -> Array:
        """Wins by rater: shape (raters, k, k)."""
        k = len(self.conditions)
        wins = np.zeros((len(self.raters), k, k))
        np.add.at(wins, (self.rater, self.winner, self.loser), self.weight)
        return wins


class Score(NamedTuple):
    """One condition's score; interval None where fewer than two raters voted. votes: those it took part in."""

    condition: str
    elo: float
    interval: Interval | None
    votes: float
    wins: float


class Difference(NamedTuple):
    """How far first lies above second, in Elo, and how often raters preferred it (ties half). None: never compared."""

    first: str
    second: str
    elo: float
    interval: Interval | None
    votes: float
    preferred: float | None


class Scores(NamedTuple):
    """logits: (k,). resampled: (resamples, k), for everything that is derived from scores."""

    scores: list[Score]
    differences: list[Difference]
    wins: Array
    logits: Array
    resampled: Array
    raters: int


class ImageScores(NamedTuple):
    """In logits. scores: (scenes, k), nan where the scene was not coded so; resampled: (resamples, scenes, k). table: a
    row for each condition on an image; its votes are those that it took part in there."""

    scores: Array
    resampled: Array
    table: list[dict[str, Any]]


class Needed(NamedTuple):
    """What would narrow the widest interval to the wanted one, if further raters vote as those before did."""

    wanted_half_width: float
    widest_half_width: float
    raters: int
    votes: int
    more_raters: int
    more_votes: int


def ballots(study: Study, votes: Iterable[Vote]) -> Ballots:
    """The votes that count towards the scores: ordinary pairs; checks, training and repeats are left out."""
    condition = {c.id: k for k, c in enumerate(study.conditions)}
    scene = {s.id: k for k, s in enumerate(study.scenes)}
    raters: dict[str, int] = {}
    rows = []
    for vote in votes:
        if vote.trial.kind == "pair":
            place = raters.setdefault(vote.rater, len(raters)), scene[vote.trial.scene]
            a, b = condition[vote.trial.first], condition[vote.trial.second]
            both = {"a": [(a, b, 1.0)], "b": [(b, a, 1.0)], "tie": [(a, b, 0.5), (b, a, 0.5)]}[vote.choice]
            rows += [(*place, *outcome) for outcome in both]
    table = np.array(rows, np.float64).reshape(-1, 5).T
    rater, scene_of, winner, loser = table[:4].astype(np.intp)
    return Ballots(rater, scene_of, winner, loser, table[4], list(raters), list(condition))


def draw_raters(raters: int, resamples: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """How often each rater is in each resample: shape (resamples, raters); none at all of a single rater."""
    shares = np.full(raters, 1 / raters)
    return np.random.default_rng(seed).multinomial(raters, shares, size=resamples if raters > 1 else 0)


def interval(samples: Array, units: int, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval | None:
    """Percentile interval from bootstrap samples over so many units, widened for few units (module docstring). None for
    fewer than two units. bounds: ends that the quantity cannot pass."""
    samples = samples[np.isfinite(samples)]
    if units < 2 or not len(samples):
        return None
    low, middle, high = np.quantile(samples, [(1 - LEVEL) / 2, 0.5, TAIL])
    stretch = widening(units)
    ends = np.clip([middle - stretch * (middle - low), middle + stretch * (high - middle)], *bounds)
    return Interval(float(ends[0]), float(ends[1]))


def widening(units: int) -> float:
    """How much further the ends of an interval over so many units must lie from its middle than the quantiles do."""
    return float(math.sqrt(units / (units - 1)) * stdtrit(units - 1, TAIL) / ndtri(TAIL))


def count(votes: float) -> float:
    """A number of votes as an int, unless a tie that counts half is among them."""
    return int(votes) if votes == int(votes) else float(votes)


def score(votes: Ballots, *, resamples: int = 1000, seed: int = 0) -> Scores:
    """Fit the scores and their intervals."""
    tables, raters = votes.tables(), len(votes.raters)
    wins = tables.sum(0)
    logits, played = fit(wins), wins + wins.T
    resampled = fit(np.tensordot(draw_raters(raters, resamples, [seed, 4]).astype(np.float64), tables, 1))
    ends = [interval(elo(samples), raters) for samples in resampled.T]
    sums = map(count, played.sum(1)), map(count, wins.sum(1))
    rows = zip(votes.conditions, elo(logits).tolist(), ends, *sums, strict=True)
    differences = []
    for i, j in combinations(sorted(range(len(logits)), key=lambda k: -logits[k]), 2):
        gap, between = float(ELO * (logits[i] - logits[j])), interval(ELO * (resampled[:, i] - resampled[:, j]), raters)
        preferred = float(wins[i, j] / played[i, j]) if played[i, j] else None
        names = votes.conditions[i], votes.conditions[j]
        differences.append(Difference(*names, gap, between, count(played[i, j]), preferred))
    return Scores([Score(*row) for row in rows], differences, wins, logits, resampled, raters)


def image_scores(study: Study, votes: Ballots, logits: Array, *, resamples: int = 300, seed: int = 0) -> ImageScores:
    """logits: the scores over all images, (k,)."""
    there = np.array([[c.id in scene.renderings for c in study.conditions] for scene in study.scenes])
    shape = (len(study.scenes), len(logits), len(logits))
    flat = np.ravel_multi_index((votes.scene, votes.winner, votes.loser), shape)

    def wins(weight: Array) -> Array:
        return np.asarray(np.bincount(flat, weight, minlength=math.prod(shape)), np.float64).reshape(shape)

    def scores(weight: Array) -> Array:
        return np.where(there, fit(wins(weight), prior=IMAGE_PRIOR, centre=np.broadcast_to(logits, shape[:2])), np.nan)

    raters, point, table = len(votes.raters), scores(votes.weight), wins(votes.weight)
    counts = draw_raters(raters, resamples, [seed, 5])
    samples = np.array([scores(votes.weight * row[votes.rater]) for row in counts]).reshape(-1, *shape[:2])
    cast = (table + np.swapaxes(table, 1, 2)).sum(-1)
    rows = []
    for s, c in np.argwhere(there).tolist():
        row = {"scene": study.scenes[s].id, "image": study.scenes[s].image, "condition": study.conditions[c].id}
        ends = interval(elo(samples[:, s, c]), raters)
        rows.append({**row, "elo": float(elo(point[s, c])), "interval": ends, "votes": count(cast[s, c])})
    return ImageScores(point, samples, rows)


def needed(scores: Sequence[Score], raters: int, wanted: float) -> Needed | None:
    """Intervals shrink with the square root of the number of raters (and with Student's t for few)."""
    intervals = [s.interval for s in scores if s.interval]
    if not intervals or raters < 2:
        return None
    widest = max((high - low) / 2 for low, high in intervals)
    error, count = widest / stdtrit(raters - 1, TAIL) * math.sqrt(raters - 1), raters  # of one rater, in effect
    while count < 1_000_000 and error * stdtrit(count - 1, TAIL) / math.sqrt(count - 1) > wanted:
        count = max(count + 1, int(count * 1.02))
    each = sum(s.votes for s in scores) / 2 / raters
    return Needed(wanted, widest, count, round(each * count), count - raters, round(each * (count - raters)))
