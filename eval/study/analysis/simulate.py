"""Simulated raters with a known scale, run through the same design, screening and scoring as people.

A rater r prefers condition i to j on image s with the chance logistic(b_i - b_j + o_si - o_sj + t_ri - t_rj):
b the known scale, o what is particular to an image, t the rater's own taste, o and t normal. A rating is the same
worth b_i + o_si + t_ri in grades, STEEP of them per logit, about the middle grade, with the rater's own bias and noise,
normal too, rounded to a grade. A lapse is a coin toss, or a grade drawn at random.

The truth that an interval must cover is what endless raters of this kind would say of these images: the Bradley-Terry
fit to the expected votes, or the expected mean grade.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import expit, ndtr

from ..bradley_terry import ELO, ELO_MEAN, Array, fit
from ..checks import rates
from ..design.trials import COUNTED, Counts, Trial, again, most_informative, session
from ..plan import HIDDEN, LAYOUTS, MAX_DENSITY, OWN, Condition, Design, Rendering, Scene, Study, StudyError, Task
from ..votes import Vote
from .mos import mos, ratings
from .raters import screen
from .scores import Interval, ballots, score

NODES = 41  # of the Gauss-Hermite rule over tastes; exact to 1e-9 here
STEEP = 1.2  # grades per logit
BIAS_SD, NOISE_SD = 0.4, 0.6  # of ratings, in grades
TOP = 4.8  # the hidden original, in grades
AT = "2000-01-01T00:00:00Z"

Rng = np.random.Generator
# honest: looks, lapses now and then. coin: tosses every answer, in good time. clicker: tosses, once a second.
# straight: always the first answer. turns: A, B, A, B, and so on.
Behaviour = Literal["honest", "coin", "clicker", "straight", "turns"]


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


def synthetic(conditions: int, images: int, design: Design, ties: bool = False, task: Task = "pairs") -> Study:
    """A plan without images, for raters who need none."""
    names = [f"c{k}" for k in range(conditions)]
    renderings = {name: Rendering("0" * 32, None, {}) for name in names}
    own = dict.fromkeys(OWN, "0" * 32)
    place: dict[str, Any] = {**own, "check": True, "renderings": renderings}
    scenes = tuple(Scene(f"s{k}", f"image {k}", 0, 0, 1, 1, **place) for k in range(images))
    coded = tuple(Condition(n, n, "", None, None, {}) for n in names)
    return Study("simulated", "", task, LAYOUTS[task][0], ties, 0, MAX_DENSITY, design, (), coded, scenes)


def offsets(study: Study, population: Population, rng: Rng) -> Array:
    """What each condition is worth on each image, in logits: shape (scenes, k)."""
    scale = (np.array(population.scale) - np.mean(population.scale)) / ELO
    return np.asarray(scale + rng.normal(0, population.image_sd / ELO, (len(study.scenes), len(scale))))


def truth(study: Study, population: Population, worth: Array) -> Array:
    """Scores in logits, or mean grades, that endless careful raters would give, each item judged equally often."""
    if study.task != "pairs":
        return _mean_grades(population, worth).mean(0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    gap = worth[:, :, None] - worth[:, None, :]
    gap = gap[..., None] + np.sqrt(2) * population.taste_sd / ELO * nodes
    band = population.tie_band / ELO if study.ties else 0.0
    preferred = (expit(gap - band) + expit(gap + band)) / 2  # a tie is half a win
    shares = (preferred @ (weights / weights.sum())).mean(0)
    shares = (1 - population.lapse) * shares + population.lapse / 2
    return fit(shares * (1 - np.eye(len(shares))) * 1e6)


def _mean_grades(population: Population, worth: Array) -> Array:
    """Expected grades (scenes, k): 1 plus the chances of each higher one."""
    spread = np.sqrt((STEEP * population.taste_sd / ELO) ** 2 + BIAS_SD**2 + NOISE_SD**2)
    above = ndtr((3 + STEEP * worth[..., None] - np.arange(1.5, 5)) / spread)
    return np.asarray((1 - population.lapse) * (1 + above.sum(-1)) + population.lapse * 3)


def votes(
    study: Study, population: Population, raters: int, worth: Array, rng: Rng, behaviours: Sequence[Behaviour] = ()
) -> list[Vote]:
    """The votes of so many raters, one after the other. behaviours: of each; drawn by the population if not given."""
    tally, cast = Counts(study), list[Vote]()
    for behaviour in behaviours or draw_behaviours(population, raters, rng):
        name = rng.bytes(8).hex()
        taste = rng.normal(0, population.taste_sd / ELO, worth.shape[1])
        bias = rng.normal(0, BIAS_SD)
        given: list[Trial] = []
        plan = session(study, rng, tally.shown)
        for trial in plan:
            if isinstance(trial, Trial) and trial.kind in COUNTED:
                tally.ask(trial)
        for n, planned in enumerate(plan):
            if isinstance(planned, Trial):
                trial = planned
            elif planned == "repeat":
                trial = again(given, rng)
            else:  # of the active design, chosen as the server chooses it
                tally.ask(trial := most_informative(study, tally, given, rng))
            given.append(trial)
            if behaviour == "honest" and rng.random() >= population.lapse:
                here = dict(zip(tally.index, worth[int(trial.scene[1:])] + taste, strict=True))
                choice = _choice(study, population, trial, here, bias, rng)
            else:
                choice = _careless_choice(study, behaviour, n, rng)
            ms = int(rng.normal(1000, 80)) if behaviour == "clicker" else int(300 + rng.gamma(4, 1000))
            cast.append(Vote(name, "simulated", n, trial, choice, ms, ms, 2, 1.0, AT))
            tally.answer(trial, choice)
    return cast


def draw_behaviours(population: Population, raters: int, rng: Rng) -> list[Behaviour]:
    return ["coin" if careless else "honest" for careless in rng.random(raters) < population.careless]


def _careless_choice(study: Study, behaviour: Behaviour, n: int, rng: Rng) -> str:
    tossed = [choice for choice in study.choices if choice != "tie"]
    if behaviour == "straight":
        return tossed[0]
    return tossed[n % 2 if behaviour == "turns" else int(rng.integers(len(tossed)))]


def _choice(study: Study, population: Population, trial: Trial, worth: dict[str, float], bias: float, rng: Rng) -> str:
    """What a rater of this bias says who looks; worth: by the rater's taste, of each condition on this image."""
    if trial.right:
        return trial.right[0]
    if study.task != "pairs":
        felt = TOP if trial.first == HIDDEN else 3 + STEEP * worth[trial.first] + bias
        return str(int(np.clip(np.round(felt + rng.normal(0, NOISE_SD)), 1, 5)))
    felt = worth[trial.first] - worth[trial.second] + rng.logistic()
    if study.ties and abs(felt) < population.tie_band / ELO:
        return "tie"
    return "a" if felt > 0 else "b"


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
