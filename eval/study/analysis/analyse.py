"""All that the votes of a study say, as one object: screening, scores, agreement, equal quality, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..bradley_terry import ELO, ELO_MEAN, JOD, groups
from ..checks import rates
from ..plan import Study, StudyError
from ..votes import Vote
from .correlation import MetricAgreement, metric_agreement
from .equal_quality import EqualQuality, equal_quality
from .image_scores import ImageScore, image_scores, image_table
from .model_fit import ModelFit, Transitivity, model_fit, p_value, transitivity
from .raters import Agreement, RaterSummary, agreement, screen
from .scores import Needed, Score, Scores, ballots, count, needed, score


class Analysis(NamedTuple):
    """warnings: what a reader must know before quoting a figure."""

    study: Study
    votes: int
    raters: list[RaterSummary]
    scores: Scores
    unscreened: Scores
    agreement: Agreement
    fit: ModelFit
    transitivity: Transitivity
    images: list[ImageScore]
    equal_quality: list[EqualQuality]
    metrics: list[MetricAgreement]
    needed: Needed | None
    warnings: list[str]
    resamples: int
    seed: int
    min_checks: float | None


def analyse(
    study: Study,
    votes: Sequence[Vote],
    *,
    min_checks: float | None = None,
    wanted: float = 50.0,
    resamples: int = 1000,
    seed: int = 0,
) -> Analysis:
    """Screen the raters, then score what is left. wanted: half width in Elo of the widest interval one would like.

    Raises StudyError if no vote is left.
    """
    raters = screen(study, votes, min_checks)
    kept = {rater.rater for rater in raters if rater.kept}
    used = [vote for vote in votes if vote.rater in kept]
    counted = ballots(study, used)
    if not counted.raters:
        raise StudyError(
            "no votes to analyse"
            + (": every rater was left out" if raters else " yet; serve the study, or try `gencomp study simulate`")
        )
    scores = score(counted, resamples=resamples, seed=seed)
    unscreened = scores if len(used) == len(votes) else score(ballots(study, votes), resamples=resamples, seed=seed)
    by_image = image_scores(study, counted, scores.logits, resamples=min(resamples, 300), seed=seed)
    return Analysis(
        study,
        sum(vote.trial.kind == "pair" for vote in used),
        raters,
        scores,
        unscreened,
        agreement(used),
        model_fit(scores.wins, scores.logits),
        transitivity(scores.wins, scores.logits, seed),
        image_table(study, by_image, scores.raters),
        equal_quality(study.conditions, scores.logits, scores.resampled, scores.raters),
        metric_agreement(study, counted, scores.logits, scores.resampled, by_image, seed=seed),
        needed(scores.scores, scores.raters, wanted),
        _warnings(study, raters, scores, votes),
        resamples,
        seed,
        min_checks,
    )


def _warnings(study: Study, raters: Sequence[RaterSummary], scores: Scores, votes: Sequence[Vote]) -> list[str]:
    found = []
    parts = groups(scores.wins + scores.wins.T)
    if len(parts) > 1:
        names = [" + ".join(study.conditions[k].id for k in part) for part in parts]
        found.append(f"No votes connect {' and '.join(names)}: their scores cannot be compared.")
    if scores.raters < 2:
        found.append("One rater only: no intervals, because they come from the spread between raters.")
    elif scores.raters < 10:
        found.append(f"{scores.raters} raters only: the intervals are rough below about ten.")
    bad = model_fit(scores.wins, scores.logits).p
    if bad is not None and bad < 0.01:
        found.append(
            f"The Bradley-Terry model does not describe these votes well ({p_value(bad)}, votes taken as independent): "
            "preferences may follow more than one scale; look at the pairs."
        )
    swept = [s.condition for s in scores.scores if s.votes and s.wins in (0.0, s.votes)]
    if swept:
        found.append(f"{' and '.join(swept)} won or lost every vote: the score says only that it lies far outside.")
    if simulated := sum(rater.source == "simulated" for rater in raters):
        found.append(f"{simulated} of {len(raters)} raters are simulated.")
    if any(vote.trial.kind == "check" for vote in votes) is False and study.design.checks:
        found.append("No attention check was answered yet: nobody could be screened.")
    return found


def to_json(analysis: Analysis) -> dict[str, Any]:
    """The analysis as plain data; intervals as [low, high] or null."""
    study, scores = analysis.study, analysis.scores
    return {
        "study": study.id,
        "title": study.title,
        "votes": analysis.votes,
        "raters": {"all": len(analysis.raters), "kept": scores.raters, "min_checks": analysis.min_checks},
        "checks": rates(study.design.checks, study.task)._asdict(),
        "interval": 0.95,
        "resamples": analysis.resamples,
        "seed": analysis.seed,
        "warnings": analysis.warnings,
        "scores": [
            plain(s) | _jod(s) | {"bpp": c.bpp, "codec": c.codec, "setting": c.setting, "realism": c.realism}
            for s, c in zip(scores.scores, study.conditions, strict=True)
        ],
        "scores_without_screening": [plain(s) for s in analysis.unscreened.scores],
        "differences": [plain(d) for d in scores.differences],
        "wins": {
            "conditions": [c.id for c in study.conditions],
            "table": [[count(n) for n in row] for row in scores.wins],
        },
        "agreement": plain(analysis.agreement),
        "model_fit": plain(analysis.fit),
        "transitivity": plain(analysis.transitivity),
        "images": [plain(i) for i in analysis.images],
        "equal_quality": [plain(e) for e in analysis.equal_quality],
        "metrics": [plain(m) for m in analysis.metrics],
        "needed": plain(analysis.needed) if analysis.needed else None,
        "rater_table": [plain(r) for r in analysis.raters],
    }


def _jod(score: Score) -> dict[str, Any]:
    """The score in just-objectionable differences from the mean of the conditions (Perez-Ortiz and Mantiuk 2017)."""
    ends = [(end - ELO_MEAN) / ELO * JOD for end in (score.elo, *(score.interval or ()))]
    return {"jod": ends[0], "jod_interval": ends[1:] or None}


def plain(value: Any) -> Any:
    """NamedTuples to dictionaries all the way down, intervals to lists."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        if value._fields == ("low", "high"):
            return list(value)
        return {name: plain(part) for name, part in zip(value._fields, value, strict=True)}
    return value
