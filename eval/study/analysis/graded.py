"""All that the ratings of a study (DSIS, ACR) say, as one object: screening, outliers, MOS, agreement with metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from ..checks import rates
from ..plan import GRADES, HIDDEN, Study, StudyError
from ..votes import Vote
from .analyse import plain
from .correlation import MetricAgreement, grade_agreement
from .mos import MosScores, mos, ratings
from .outliers import Correlated, Far, bt500, p910
from .raters import RaterSummary, screen

Rule = Literal["none", "bt500", "p910"]
RULES: tuple[str, ...] = get_args(Rule)


class Outlier(NamedTuple):
    """A rater before both standards' rules, whether or not one of them is used."""

    rater: str
    bt500: Far
    p910: Correlated


class Graded(NamedTuple):
    """rule: by which outliers were left out, on top of the screening. unscreened: with nobody left out."""

    study: Study
    votes: int
    raters: list[RaterSummary]
    outliers: list[Outlier]
    rule: Rule
    scores: MosScores
    unscreened: MosScores
    metrics: list[MetricAgreement]
    warnings: list[str]
    resamples: int
    seed: int
    min_checks: float | None


def graded(
    study: Study,
    votes: Sequence[Vote],
    *,
    rule: Rule = "none",
    min_checks: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Graded:
    """Screen the raters, leave out outliers if a rule is named, then score. Raises StudyError if nothing is left."""
    summaries = screen(study, votes, min_checks)
    kept = {rater.rater for rater in summaries if rater.kept}
    counted = ratings(study, [vote for vote in votes if vote.rater in kept])
    if not counted.raters:
        why = ": every rater was left out" if summaries else " yet; serve the study, or try `gencomp study simulate`"
        raise StudyError(f"no votes to analyse{why}")
    found = zip(counted.raters, bt500(counted.grades), p910(counted.grades), strict=True)
    outliers = [Outlier(*row) for row in found]
    gone = {o.rater: rule for o in outliers if rule != "none" and getattr(o, rule).out}
    summaries = [
        r._replace(kept=False, reasons=f"an outlier by {gone[r.rater]}") if r.rater in gone else r for r in summaries
    ]
    used = [vote for vote in votes if vote.rater in kept - set(gone)]
    if not used:
        raise StudyError("no votes to analyse: every rater was left out")
    scores = mos(study, ratings(study, used), resamples=resamples, seed=seed)
    unscreened = (
        scores if len(used) == len(votes) else mos(study, ratings(study, votes), resamples=resamples, seed=seed)
    )
    return Graded(
        study,
        sum(s.ratings for s in scores.stimuli),
        summaries,
        outliers,
        rule,
        scores,
        unscreened,
        grade_agreement(study, scores, seed=seed),
        _warnings(summaries, scores),
        resamples,
        seed,
        min_checks,
    )


def _warnings(raters: Sequence[RaterSummary], scores: MosScores) -> list[str]:
    found = []
    if scores.raters < 2:
        found.append("One rater only: no intervals, because they come from the spread between raters.")
    elif scores.raters < 15:
        found.append(f"{scores.raters} raters only: BT.500-15 asks for 15 at least.")
    if thin := sum(s.ratings < 2 for s in scores.stimuli):
        found.append(f"{thin} images have a single rating, and so no interval of their own.")
    if simulated := sum(rater.source == "simulated" for rater in raters):
        found.append(f"{simulated} of {len(raters)} raters are simulated.")
    return found


def to_json(found: Graded) -> dict[str, Any]:
    """The analysis as plain data; intervals as [low, high] or null."""
    study = found.study
    keys = ("bpp", "codec", "setting", "realism")
    facts: dict[str, dict[str, Any]] = {c.id: {key: getattr(c, key) for key in keys} for c in study.conditions}
    facts[HIDDEN] = {"bpp": None, "codec": "hidden original", "setting": "", "realism": None}
    images = {scene.id: scene.image for scene in study.scenes}
    return {
        "study": study.id,
        "title": study.title,
        "task": study.task,
        "grades": dict(zip("54321", GRADES[study.task], strict=True)),
        "votes": found.votes,
        "raters": {"all": len(found.raters), "kept": found.scores.raters, "min_checks": found.min_checks},
        "outliers": found.rule,
        "checks": rates(study.design.checks, study.task)._asdict(),
        "interval": 0.95,
        "resamples": found.resamples,
        "seed": found.seed,
        "warnings": found.warnings,
        "scores": [plain(s) | facts[s.condition] for s in found.scores.conditions],
        "scores_without_screening": [plain(s) for s in found.unscreened.conditions],
        "differences": [plain(d) for d in found.scores.differences],
        "images": [{"image": images[s.scene]} | plain(s) for s in found.scores.stimuli],
        "metrics": [plain(m) for m in found.metrics],
        "rater_table": [plain(r) for r in found.raters],
        "outlier_table": [
            {"rater": o.rater}
            | {f"bt500_{key}": value for key, value in o.bt500._asdict().items()}
            | {f"p910_{key}": _known(value) for key, value in o.p910._asdict().items()}
            for o in found.outliers
        ],
    }


def _known(value: float) -> float | None:
    """None for nan, which JSON has not."""
    return value if value == value else None
