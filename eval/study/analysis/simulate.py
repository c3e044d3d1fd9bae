"""Simulated raters with a known scale, run through the same design, screening and scoring as people.

A rater r prefers condition i to j on image s with the chance logistic(b_i - b_j + o_si - o_sj + t_ri - t_rj):
b the known scale, o what is particular to an image, t the rater's own taste, o and t normal. A lapse is a coin toss.
The truth that an interval must cover is what endless raters of this kind would score on these images: the
Bradley-Terry fit to the expected votes, with the taste integrated out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from ..bradley_terry import ELO, ELO_MEAN, Array, fit
from ..design.trials import Kind, Tally, Trial, again, most_informative, session
from ..plan import Condition, Design, Rendering, Scene, Study, StudyError
from ..votes import Vote
from .raters import screen
from .scores import ballots, score

NODES = 41  # of the Gauss-Hermite rule over tastes; exact to 1e-9 here


@dataclass(frozen=True)
class Population:
    """Who votes. scale: Elo of each condition. Spreads in Elo. lapse: share of votes tossed; careless: of raters who
    toss all. tie_band: a rater says "no difference" within so many Elo of none, where the study offers it."""

    scale: tuple[float, ...]
    taste_sd: float = 60.0
    image_sd: float = 60.0
    lapse: float = 0.02
    careless: float = 0.0
    tie_band: float = 40.0


class Outcome(NamedTuple):
    """One simulated study: truth and scores in Elo (k,), ends of the intervals (k, 2), and what screening did."""

    truth: Array
    elo: Array
    ends: Array
    differences_covered: float
    careless: int
    careless_left_out: int
    careful_left_out: int


def synthetic(conditions: int, images: int, design: Design, ties: bool = False) -> Study:
    """A plan without images, for raters who need none."""
    names = [f"c{k}" for k in range(conditions)]
    renderings = {name: Rendering("0" * 32, None, {}) for name in names}
    scenes = tuple(
        Scene(f"s{k}", f"image {k}", 0, 0, 1, 1, "0" * 32, "0" * 32, "0" * 32, True, renderings) for k in range(images)
    )
    return Study(
        "simulated", "", "flip", ties, 0, design, tuple(Condition(n, n, "", None, None, {}) for n in names), scenes
    )


def offsets(study: Study, population: Population, rng: np.random.Generator) -> Array:
    """What each condition is worth on each image, in logits: shape (scenes, k)."""
    scale = (np.array(population.scale) - np.mean(population.scale)) / ELO
    return np.asarray(scale + rng.normal(0, population.image_sd / ELO, (len(study.scenes), len(scale))))


def truth(study: Study, population: Population, worth: Array) -> Array:
    """Scores in logits that endless careful raters would give, each pair judged equally often on each image."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    gap = worth[:, :, None] - worth[:, None, :]
    gap = gap[..., None] + np.sqrt(2) * population.taste_sd / ELO * nodes
    band = population.tie_band / ELO if study.ties else 0.0
    preferred = (expit(gap - band) + expit(gap + band)) / 2  # a tie is half a win
    shares = (preferred @ (weights / weights.sum())).mean(0)
    shares = (1 - population.lapse) * shares + population.lapse / 2
    return fit(shares * (1 - np.eye(len(shares))) * 1e6)


def votes(
    study: Study,
    population: Population,
    raters: int,
    worth: Array,
    rng: np.random.Generator,
    rest: Sequence[bool] | None = None,
) -> list[Vote]:
    """The votes of so many raters, one after the other. rest: which of them are careless; drawn if not given."""
    tally, cast = Tally(study), list[Vote]()
    careless = rest if rest is not None else _careless(population, raters, rng)
    for number in range(raters):
        name = rng.bytes(8).hex()
        taste = rng.normal(0, population.taste_sd / ELO, worth.shape[1])
        lapse = 1.0 if careless[number] else population.lapse
        given: list[Trial] = []
        plan = session(study, rng, tally.shown)
        for trial in plan:
            if isinstance(trial, Trial) and trial.kind == "pair":
                tally.ask(trial)
        for n, planned in enumerate(plan):
            trial = planned if isinstance(planned, Trial) else _due(study, planned, tally, given, rng)
            given.append(trial)
            choice = _choice(study, population, trial, worth + taste, lapse, tally, rng)
            cast.append(
                Vote(name, "simulated", n, trial, choice, int(rng.gamma(4, 1000)), 2, 1.0, "2000-01-01T00:00:00Z")
            )
            if trial.kind == "pair":
                tally.answer(trial, choice)
    return cast


def run(study: Study, population: Population, raters: int, rng: np.random.Generator, resamples: int) -> Outcome:
    """One study from raters to intervals."""
    worth = offsets(study, population, rng)
    known = truth(study, population, worth)
    careless = _careless(population, raters, rng)
    cast = votes(study, population, raters, worth, rng, careless)
    summaries = screen(cast)
    kept = {r.rater for r in summaries if r.kept}
    out = [not r.kept for r in summaries]
    scores = score(
        ballots(study, [v for v in cast if v.rater in kept]), resamples=resamples, seed=int(rng.integers(2**31))
    )
    ends = np.array([s.interval or (np.nan, np.nan) for s in scores.scores])
    place = {c.id: k for k, c in enumerate(study.conditions)}
    covered = [
        d.interval.low <= ELO * (known[place[d.first]] - known[place[d.second]]) <= d.interval.high
        for d in scores.differences
        if d.interval
    ]
    wrong = sum(o and not c for o, c in zip(out, careless, strict=True))
    return Outcome(
        ELO_MEAN + ELO * known,
        np.array([s.elo for s in scores.scores]),
        ends,
        float(np.mean(covered)) if covered else np.nan,
        sum(careless),
        sum(out) - wrong,
        wrong,
    )


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
    coverage_se: its standard error, studies taken as the units; half widths and errors in Elo. without_intervals:
    studies in which screening left fewer than two raters; the figures are those of the others.
    """
    ran = [
        run(study, population, raters, np.random.default_rng([seed, k]), resamples) for k in progress(range(studies))
    ]
    found = [outcome for outcome in ran if np.isfinite(outcome.ends).all()]
    if not found:
        raise StudyError("no study was left with two careful raters; simulate more raters, or fewer careless ones")
    truths, scores = np.array([o.truth for o in found]), np.array([o.elo for o in found])
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
        "design": study.design.method,
        "trials": study.design.trials,
        "checks": study.design.checks,
        "conditions": len(study.conditions),
        "images": len(study.scenes),
        "ties": study.ties,
        "scale": list(population.scale),
        "taste_sd": population.taste_sd,
        "image_sd": population.image_sd,
        "lapse": population.lapse,
        "careless": population.careless,
    }


def _careless(population: Population, raters: int, rng: np.random.Generator) -> list[bool]:
    return [bool(b) for b in rng.random(raters) < population.careless]


def _due(study: Study, kind: Kind, tally: Tally, given: Sequence[Trial], rng: np.random.Generator) -> Trial:
    """A trial of the active design, chosen as the server chooses it."""
    if kind == "repeat":
        return again(given, rng)
    trial = most_informative(study, tally, given, rng)
    tally.ask(trial)
    return trial


def _choice(
    study: Study,
    population: Population,
    trial: Trial,
    worth: Array,
    lapse: float,
    tally: Tally,
    rng: np.random.Generator,
) -> str:
    if rng.random() < lapse:
        return "a" if rng.random() < 0.5 else "b"
    if trial.answer:
        return trial.answer
    scene = int(trial.scene[1:])
    gap = worth[scene, tally.index[trial.first]] - worth[scene, tally.index[trial.second]]
    felt = gap + rng.logistic()
    if study.ties and abs(felt) < population.tie_band / ELO:
        return "tie"
    return "a" if felt > 0 else "b"
