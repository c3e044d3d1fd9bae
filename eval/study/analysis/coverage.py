"""Many simulated studies: how often do the intervals hold the truth, and what does a design achieve?"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..bradley_terry import ELO, ELO_MEAN, Array
from ..checks import rates
from ..plan import Study, StudyError
from .mos import mos, ratings
from .raters import screen
from .scores import Interval, ballots, score
from .simulate import Population, draw_behaviours, offsets, truth, votes

Show = Callable[[range], Iterable[int]]


class SimulatedStudy(NamedTuple):
    """One simulated study: truth and scores in Elo or grades (k,), ends of the intervals (k, 2), the share of
    differences whose interval holds the truth, and what screening did."""

    truth: Array
    scores: Array
    ends: Array
    differences_covered: float
    careless: int
    careless_left_out: int
    careful_left_out: int


def run(study: Study, population: Population, raters: int, rng: np.random.Generator, resamples: int) -> SimulatedStudy:
    """One study from raters to intervals."""
    worth = offsets(study, population, rng)
    known = truth(study, population, worth)
    behaviours = draw_behaviours(population, raters, rng)
    cast = votes(study, population, raters, worth, rng, behaviours)
    summaries = screen(study, cast)
    kept = {r.rater for r in summaries if r.kept}
    used = [v for v in cast if v.rater in kept]
    how = {"resamples": resamples, "seed": int(rng.integers(2**31))}
    place = {c.id: k for k, c in enumerate(study.conditions)}
    rows: list[tuple[float, Interval | None]]
    if study.task == "pairs":
        known = ELO_MEAN + ELO * known
        found = score(ballots(study, used), **how)
        rows = [(s.elo, s.interval) for s in found.scores]
        differences = [(d.first, d.second, d.interval) for d in found.differences]
    else:
        rated = mos(study, ratings(study, used), **how)
        rows = [(c.mos, c.interval) for c in rated.conditions if c.condition in place]
        differences = [(d.first, d.second, d.interval) for d in rated.differences if {d.first, d.second} <= set(place)]
    covered = [i.low <= known[place[a]] - known[place[b]] <= i.high for a, b, i in differences if i]
    careless = [b != "honest" for b in behaviours]
    out = [not r.kept for r in summaries]
    wrong = sum(o and not c for o, c in zip(out, careless, strict=True))
    points, ends = np.array([point for point, _ in rows]), np.array([ends or (np.nan, np.nan) for _, ends in rows])
    share = float(np.mean(covered)) if covered else np.nan
    return SimulatedStudy(known, points, ends, share, sum(careless), sum(out) - wrong, wrong)


def coverage(
    study: Study,
    population: Population,
    studies: int,
    raters: int,
    seed: int,
    resamples: int,
    progress: Show = iter,
) -> dict[str, Any]:
    """Many simulated studies: how often the 95 % intervals hold the truth, and what the design achieves.

    Study k depends on (seed, k) alone. coverage: share of all intervals (studies x conditions) that hold the truth;
    coverage_se: its standard error, studies taken as the units; half widths and errors in Elo,
    or in grades. without_intervals: studies in which screening left fewer than two raters; the others are counted.
    """
    numbers = progress(range(studies))
    ran = [run(study, population, raters, np.random.default_rng([seed, k]), resamples) for k in numbers]
    found = [outcome for outcome in ran if np.isfinite(outcome.ends).all()]
    if not found:
        raise StudyError("no study was left with two careful raters; simulate more raters, or fewer careless ones")
    truths, scores, ends = (np.array(column) for column in list(zip(*found, strict=True))[:3])
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
        "ranked_rightly": float((np.argsort(scores) == np.argsort(truths)).all(1).mean()),
        "careless_left_out": sum(o.careless_left_out for o in ran) / careless if careless else None,
        "careful_left_out": sum(o.careful_left_out for o in ran) / careful if careful else None,
        "without_intervals": studies - len(found),
        "interval": 0.95,
        "design": study.design.method,
        "trials": min(study.design.trials, len(study.pairs)),
        "checks": rates(study.design.checks, study.task)._asdict(),
        **{"studies": studies, "raters": raters, "seed": seed, "resamples": resamples},
        **{"task": study.task, "conditions": len(study.conditions), "images": len(study.scenes), "ties": study.ties},
        **{name: getattr(population, name) for name in ("scale", "taste_sd", "image_sd", "lapse", "careless")},
    }
