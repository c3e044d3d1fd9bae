"""All that the votes of a study say, as the plain data of analysis.json: screening, scores, agreement, metrics.

Intervals are [low, high] or null. The page, the tables and the figures are made of this data alone.
"""

from collections.abc import Sequence
from typing import Any, Literal

from ..bradley_terry import ELO, ELO_MEAN, JOD, groups, model_fit, p_value
from ..checks import rates
from ..design.trials import COUNTED
from ..plan import GRADES, HIDDEN, Study, StudyError
from ..votes import Vote
from .correlation import grade_agreement, metric_agreement
from .equal_quality import equal_quality
from .mos import mos, ratings
from .outliers import Correlated, Far, bt500, p910
from .raters import RaterSummary, agreement, screen
from .scores import LEVEL, Interval, Score, Scores, ballots, count, image_scores, needed, score

Rule = Literal["none", "bt500", "p910"]


def analyse(
    study: Study,
    votes: Sequence[Vote],
    *,
    min_checks: float | None = None,
    wanted: float = 50.0,
    rule: Rule = "none",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Screen the raters, leave out outliers of ratings if a rule is named, then score what is left. wanted: half width
    in Elo of the widest interval one would like. Raises StudyError if no vote is left."""
    raters = screen(study, votes, min_checks)
    kept = {rater.rater for rater in raters if rater.kept}
    if not any(vote.rater in kept and vote.trial.kind in COUNTED for vote in votes):
        why = ": every rater was left out" if raters else " yet; serve the study, or try `gencomp study simulate`"
        raise StudyError(f"no votes to analyse{why}")
    how = {"resamples": resamples, "seed": seed}
    if study.task == "pairs":
        found, remarks = _pairs(study, votes, kept, wanted, how)
    else:
        found, remarks, raters = _graded(study, votes, raters, rule, how)
    if simulated := sum(rater.source == "simulated" for rater in raters):
        remarks.append(f"{simulated} of {len(raters)} raters are simulated.")
    if study.task == "pairs" and study.design.checks and all(vote.trial.kind != "check" for vote in votes):
        remarks.append("No attention check was answered yet: nobody could be screened.")
    heard = sum(rater.kept and rater.votes > 0 for rater in raters)
    head: dict[str, Any] = {"study": study.id, "title": study.title, "checks": rates(study.design.checks, study.task)}
    head |= {"raters": {"all": len(raters), "kept": heard, "min_checks": min_checks}, "rater_table": raters}
    return dict(plain(head | {"interval": LEVEL, "warnings": remarks} | how | found))


def _pairs(
    study: Study, votes: Sequence[Vote], kept: set[str], wanted: float, how: dict[str, int]
) -> tuple[dict[str, Any], list[str]]:
    used = [vote for vote in votes if vote.rater in kept]
    counted, seed = ballots(study, used), how["seed"]
    scores = score(counted, **how)
    unscreened = scores if len(used) == len(votes) else score(ballots(study, votes), **how)
    by_image = image_scores(study, counted, scores.logits, resamples=min(how["resamples"], 300), seed=seed)
    fitted, facts = model_fit(scores.wins, scores.logits), _facts(study)
    wins = [[count(n) for n in row] for row in scores.wins]
    found = {
        "votes": sum(vote.trial.kind == "pair" for vote in used),
        "scores": [s._asdict() | _jod(s) | facts[s.condition] for s in scores.scores],
        "scores_without_screening": unscreened.scores,
        "differences": scores.differences,
        "wins": {"conditions": [c.id for c in study.conditions], "table": wins},
        "agreement": agreement(used),
        "model_fit": fitted,
        "images": by_image.table,
        "equal_quality": equal_quality(study.conditions, scores.logits, scores.resampled, scores.raters),
        "metrics": metric_agreement(study, counted, scores.logits, scores.resampled, by_image, seed=seed),
        "needed": needed(scores.scores, scores.raters, wanted),
    }
    return found, _remarks_on_pairs(study, scores, fitted.p)


def _remarks_on_pairs(study: Study, scores: Scores, p: float | None) -> list[str]:
    found, parts = [], groups(scores.wins + scores.wins.T)
    if len(parts) > 1:
        names = [" + ".join(study.conditions[k].id for k in part) for part in parts]
        found.append(f"No votes connect {' and '.join(names)}: their scores cannot be compared.")
    found += _few(scores.raters, 10, "the intervals are rough below about ten")
    if p is not None and p < 0.01:
        found.append(
            f"The Bradley-Terry model does not describe these votes well ({p_value(p)}, votes taken as independent): "
            "preferences may follow more than one scale; look at the pairs."
        )
    if swept := [s.condition for s in scores.scores if s.votes and s.wins in (0.0, s.votes)]:
        found.append(f"{' and '.join(swept)} won or lost every vote: the score says only that it lies far outside.")
    return found


def _jod(score: Score) -> dict[str, Any]:
    """The score in just-objectionable differences from the mean of the conditions (Perez-Ortiz and Mantiuk 2017)."""
    ends = [(end - ELO_MEAN) / ELO * JOD for end in (score.elo, *(score.interval or ()))]
    return {"jod": ends[0], "jod_interval": ends[1:] or None}


def _graded(
    study: Study, votes: Sequence[Vote], raters: list[RaterSummary], rule: Rule, how: dict[str, int]
) -> tuple[dict[str, Any], list[str], list[RaterSummary]]:
    kept = {rater.rater for rater in raters if rater.kept}
    counted = ratings(study, [vote for vote in votes if vote.rater in kept])
    outliers: dict[str, dict[str, Far | Correlated]] = {
        rater: {"bt500": far, "p910": correlated}
        for rater, far, correlated in zip(counted.raters, bt500(counted.grades), p910(counted.grades), strict=True)
    }
    gone = {rater for rater, found in outliers.items() if rule != "none" and found[rule].out}
    raters = [r._replace(kept=False, reasons=f"an outlier by {rule}") if r.rater in gone else r for r in raters]
    used = [vote for vote in votes if vote.rater in kept - gone]
    if not used:
        raise StudyError("no votes to analyse: every rater was left out")
    scores = mos(study, ratings(study, used), **how)
    unscreened = scores if len(used) == len(votes) else mos(study, ratings(study, votes), **how)
    facts = _facts(study) | {HIDDEN: {"bpp": None, "codec": "hidden original", "setting": "", "realism": None}}
    images = {scene.id: scene.image for scene in study.scenes}
    remarks = _few(scores.raters, 15, "BT.500-15 asks for 15 at least")
    if thin := sum(s.ratings < 2 for s in scores.stimuli):
        remarks.append(f"{thin} images have a single rating, and so no interval of their own.")
    found = {
        "task": study.task,
        "grades": dict(zip("54321", GRADES[study.task], strict=True)),
        "votes": sum(s.ratings for s in scores.stimuli),
        "outliers": rule,
        "scores": [s._asdict() | facts[s.condition] for s in scores.conditions],
        "scores_without_screening": unscreened.conditions,
        "differences": scores.differences,
        "images": [{"image": images[s.scene]} | s._asdict() for s in scores.stimuli],
        "metrics": grade_agreement(study, scores, seed=how["seed"]),
        "outlier_table": [
            {"rater": rater} | {f"{name}_{key}": value for name in by for key, value in by[name]._asdict().items()}
            for rater, by in outliers.items()
        ],
    }
    return found, remarks, raters


def _facts(study: Study) -> dict[str, dict[str, Any]]:
    keys = ("bpp", "codec", "setting", "realism")
    return {c.id: {key: getattr(c, key) for key in keys} for c in study.conditions}


def _few(raters: int, least: int, why: str) -> list[str]:
    if raters < 2:
        return ["One rater only: no intervals, because they come from the spread between raters."]
    return [f"{raters} raters only: {why}."] if raters < least else []


def plain(value: Any) -> Any:
    """NamedTuples to dictionaries all the way down, intervals to lists, nan to None, which JSON has not."""
    if isinstance(value, Interval):
        return list(value)
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    return None if value != value else value
