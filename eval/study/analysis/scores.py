"""Scores of the conditions on the Elo scale, with intervals by bootstrap over raters.

A rater's votes hang together, so raters are drawn, not votes. With few raters a plain percentile interval is too short,
because the spread within n drawn raters is sqrt((n - 1) / n) of the true one and because its quantiles are the normal
distribution's, not Student's (Hesterberg 2015, "What teachers should know about the bootstrap", The American
Statistician 69). His remedy, quantiles further out, asks for the outermost samples of a bootstrap when raters are fewer
than ten, so the interval's ends are moved out from its median by the same factor instead. The intervals speak of these
images and of raters like these; that other images would give other scores is outside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from ..bradley_terry import ELO, Array, elo, fit
from ..plan import Study
from ..votes import Vote

Index = NDArray[np.intp]
LEVEL = 0.95


class Ballots(NamedTuple):
    """Votes on pairs as columns: one row per vote, two of weight 1/2 for a tie. Indices into the three lists."""

    rater: Index
    scene: Index
    winner: Index
    loser: Index
    weight: Array
    raters: list[str]
    scenes: list[str]
    conditions: list[str]

    def tables(self) -> Array:
        """Wins by rater: shape (raters, k, k)."""
        k = len(self.conditions)
        wins = np.zeros((len(self.raters), k, k))
        np.add.at(wins, (self.rater, self.winner, self.loser), self.weight)
        return wins


class Interval(NamedTuple):
    low: float
    high: float


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


def ballots(study: Study, votes: Iterable[Vote]) -> Ballots:
    """The votes that count towards the scores: ordinary pairs; checks, training and repeats are left out."""
    condition = {c.id: k for k, c in enumerate(study.conditions)}
    scene = {s.id: k for k, s in enumerate(study.scenes)}
    raters: dict[str, int] = {}
    rows = []
    for vote in votes:
        if vote.trial.kind != "pair":
            continue
        row = raters.setdefault(vote.rater, len(raters))
        a, b = condition[vote.trial.first], condition[vote.trial.second]
        both = {"a": [(a, b, 1.0)], "b": [(b, a, 1.0)], "tie": [(a, b, 0.5), (b, a, 0.5)]}[vote.choice]
        rows += [(row, scene[vote.trial.scene], winner, loser, weight) for winner, loser, weight in both]
    columns = list(zip(*rows, strict=True)) or [()] * 5
    rater, scene_of, winner, loser = (np.array(column, np.intp) for column in columns[:4])
    weight = np.array(columns[4], np.float64)
    return Ballots(rater, scene_of, winner, loser, weight, list(raters), list(scene), list(condition))


def draw_raters(raters: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each rater is in each resample: shape (resamples, raters)."""
    return rng.multinomial(raters, np.full(raters, 1 / raters), size=resamples)


def interval(
    samples: Array, units: int, level: float = LEVEL, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Interval | None:
    """Percentile interval from bootstrap samples over so many units, widened for few units (module docstring).

    None for fewer than two units. bounds: ends that the quantity cannot pass.
    """
    samples = samples[np.isfinite(samples)]
    if units < 2 or not len(samples):
        return None
    low, middle, high = np.quantile(samples, [(1 - level) / 2, 0.5, (1 + level) / 2])
    stretch = widening(units, level)
    ends = np.clip([middle - stretch * (middle - low), middle + stretch * (high - middle)], *bounds)
    return Interval(float(ends[0]), float(ends[1]))


def widening(units: int, level: float = LEVEL) -> float:
    """How much further the ends of an interval over so many units must lie from its middle than the quantiles do."""
    tail = (1 + level) / 2
    return float(math.sqrt(units / (units - 1)) * stdtrit(units - 1, tail) / ndtri(tail))


def count(votes: float) -> float:
    """A number of votes as an int, unless a tie that counts half is among them."""
    return int(votes) if votes == int(votes) else float(votes)


def score(votes: Ballots, *, resamples: int = 1000, seed: int = 0, level: float = LEVEL) -> Scores:
    """Fit the scores and their intervals."""
    tables, raters = votes.tables(), len(votes.raters)
    wins = tables.sum(0)
    logits = fit(wins)
    resampled = np.empty((0, len(logits)))
    if raters > 1:
        counts = draw_raters(raters, resamples, np.random.default_rng([seed, 4]))
        resampled = fit(np.tensordot(counts.astype(np.float64), tables, 1))
    played = wins + wins.T
    scores = [
        Score(
            name,
            float(elo(logits[k])),
            interval(elo(resampled[:, k]), raters, level),
            count(played[k].sum()),
            count(wins[k].sum()),
        )
        for k, name in enumerate(votes.conditions)
    ]
    order = sorted(range(len(logits)), key=lambda k: -logits[k])
    differences = [
        Difference(
            votes.conditions[i],
            votes.conditions[j],
            float(ELO * (logits[i] - logits[j])),
            interval(ELO * (resampled[:, i] - resampled[:, j]), raters, level),
            count(played[i, j]),
            float(wins[i, j] / played[i, j]) if played[i, j] else None,
        )
        for position, i in enumerate(order)
        for j in order[position + 1 :]
    ]
    return Scores(scores, differences, wins, logits, resampled, raters)


class Needed(NamedTuple):
    """What would narrow the widest interval to the wanted one, if further raters vote as those before did."""

    wanted_half_width: float
    widest_half_width: float
    raters: int
    votes: int
    more_raters: int
    more_votes: int


def needed(scores: Sequence[Score], raters: int, wanted: float) -> Needed | None:
    """Intervals shrink with the square root of the number of raters (and with Student's t for few)."""
    intervals = [s.interval for s in scores if s.interval]
    if not intervals or raters < 2:
        return None
    widest = max((high - low) / 2 for low, high in intervals)
    error = widest / stdtrit(raters - 1, 0.975) * math.sqrt(raters - 1)  # of one rater, in effect
    count = raters
    while count < 1_000_000 and error * stdtrit(count - 1, 0.975) / math.sqrt(count - 1) > wanted:
        count = max(count + 1, int(count * 1.02))
    votes = sum(s.votes for s in scores) / 2
    each = votes / raters
    return Needed(wanted, widest, count, round(each * count), count - raters, round(each * (count - raters)))
