"""Many simulated studies: how often do the intervals hold the truth, and what does a design achieve?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..bradley_terry import ELO, ELO_MEAN, Array
from ..checks import rates
from ..plan import Study, StudyError
from ..votes import Vote
from .mos import mos, ratings
from .raters import screen
from .scores import Interval, ballots, score
from .simulate import Population, draw_behaviours, offsets, truth, votes


class Outcome(NamedTuple):
    """One simulated study: truth and scores in Elo or grades (k,), ends of the intervals (k, 2), those of differences,
    and what screening did."""

    truth: Array
    scores: Array
    ends: Array
    differences_covered: float
    careless: int
    careless_left_out: int
    careful_left_out: int


def run(study: Study, population: Population, raters: int, rng: np.random.Generator, resamples: int) -> Outcome:
    """One study from raters to intervals."""
    worth = offsets(study, population, rng)
    known = truth(study, population, worth)
    behaviours = draw_behaviours(population, raters, rng)
    cast = votes(study, population, raters, worth, rng, behaviours)
    summaries = screen(study, cast)
    kept = {r.rater for r in summaries if r.kept}
    out = [not r.kept for r in summaries]
    used = [v for v in cast if v.rater in kept]
    scored = _pairs if study.task == "pairs" else _grades
    point, ends, differences = scored(study, used, resamples, int(rng.integers(2**31)))
    known = ELO_MEAN + ELO * known if study.task == "pairs" else known
    place = {c.id: k for k, c in enumerate(study.conditions)}
    covered = [low <= known[place[a]] - known[place[b]] <= high for a, b, (low, high) in differences]
    careless = [b != "honest" for b in behaviours]
    wrong = sum(o and not c for o, c in zip(out, careless, strict=True))
    share = float(np.mean(covered)) if covered else np.nan
    return Outcome(known, point, ends, share, sum(careless), sum(out) - wrong, wrong)


Scored = tuple[Array, Array, list[tuple[str, str, Interval]]]


def _pairs(study: Study, used: list[Vote], resamples: int, seed: int) -> Scored:
    found = score(ballots(study, used), resamples=resamples, seed=seed)
    ends = np.array([s.interval or (np.nan, np.nan) for s in found.scores])
    differences = [(d.first, d.second, d.interval) for d in found.differences if d.interval]
    return np.array([s.elo for s in found.scores]), ends, differences


def _grades(study: Study, used: list[Vote], resamples: int, seed: int) -> Scored:
    found = mos(study, ratings(study, used), resamples=resamples, seed=seed)
    conditions = [c for c in found.conditions if c.condition in {k.id for k in study.conditions}]
    ends = np.array([c.interval or (np.nan, np.nan) for c in conditions])
    ours = {c.condition for c in conditions}
    differences = [
        (d.first, d.second, d.interval) for d in found.differences if d.interval and {d.first, d.second} <= ours
    ]
    return np.array([c.mos for c in conditions]), ends, differences


def coverage(
    study: Study,
    population: Population,
    *,
    studies: int,
    raters: int,
    seed: int,
    resamples: int = 500,
    progress: Callable[[range], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Many simulated studies: how often the 95 % intervals hold the truth, and what the design achieves.

    Study k depends on (seed, k) alone. coverage: share of all intervals (studies x conditions) that hold the truth;
    coverage_se: its standard error, studies taken as the units; half widths and errors in Elo,
    or in grades. without_intervals: studies in which screening left fewer than two raters; the others are counted.
    """
    ran = [
        run(study, population, raters, np.random.default_rng([seed, k]), resamples) for k in progress(range(studies))
    ]
    found = [outcome for outcome in ran if np.isfinite(outcome.ends).all()]
    if not found:
        raise StudyError("no study was left with two careful raters; simulate more raters, or fewer careless ones")
    truths, scores = np.array([o.truth for o in found]), np.array([o.scores for o in found])
    ends = np.array([o.ends for o in found])
    inside = (ends[..., 0] <= truths) & (truths <= ends[..., 1])
    per_study = inside.mean(1)
    careless = sum(o.careless for o in ran)
    careful = raters * studies - careless
    return {
        "coverage": float(inside.mean()),
        "coverage_se": float(per_study.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None,
        "coverage_by_condition": [round(float(c), 4) for c in inside.mean(0)],
        "coverage_of_differences": float(np.mean([o.differences_covered for o in found])),
        "median_half_width": float(np.median((ends[..., 1] - ends[..., 0]) / 2)),
        "rms_error": float(np.sqrt(np.mean((scores - truths) ** 2))),
        "mean_error": [round(float(e), 3) for e in (scores - truths).mean(0)],
        "ranked_rightly": float(
            np.mean([(np.argsort(s) == np.argsort(t)).all() for s, t in zip(scores, truths, strict=True)])
        ),
        "careless_left_out": sum(o.careless_left_out for o in ran) / careless if careless else None,
        "careful_left_out": sum(o.careful_left_out for o in ran) / careful if careful else None,
        "studies": studies,
        "without_intervals": studies - len(found),
        "raters": raters,
        "seed": seed,
        "resamples": resamples,
        "interval": 0.95,
        "task": study.task,
        "design": study.design.method,
        "trials": min(study.design.trials, len(study.pairs)),
        "checks": rates(study.design.checks, study.task)._asdict(),
        "conditions": len(study.conditions),
        "images": len(study.scenes),
        "ties": study.ties,
        "scale": list(population.scale),
        "taste_sd": population.taste_sd,
        "image_sd": population.image_sd,
        "lapse": population.lapse,
        "careless": population.careless,
    }
