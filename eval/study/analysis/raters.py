"""What is known of each rater's care, who is left out for it, and how far raters agree with each other.

checks      fewer attention checks right than all but FALSE_ALARM of honest raters have (`checks.py`)
stopped     left after so few checks that a coin tosser would likely have passed them, where the study gives enough
time        most answers came sooner than two images can be looked at, by the shorter of the page's and server's clocks
looks       answers without a flip, where what is judged shares a place on the screen
pattern     the same answer nearly always; one side, or a change of side, more or less often than PATTERN allows for
            sides drawn by chance (which they are: an honest rater's sides are coin tosses, whatever is preferred)

The false alarms of `checks` and `pattern` follow from the binomial distribution and do not depend on what was judged:
nobody is left out for an opinion.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from scipy.special import bdtr

from ..checks import rates
from ..design.trials import COUNTED
from ..plan import Study, Task
from ..votes import Vote


class RaterSummary(NamedTuple):
    """checks, repeats: given; passed, consistent: answered rightly, and as the first time. Shares are None if 0 of 0.

    with_others: share of this rater's votes that agree with what most other raters chose on the same pair and image
    (where they are split, 1 / the number of leading choices).
    chose_a: share of choices for the image labelled A; far from a half, the rater may not be looking.
    reasons: why the rater is left out (`screening.py`); kept if there are none.
    """

    rater: str
    source: str
    votes: int
    checks: int
    passed: int
    repeats: int
    consistent: int
    with_others: float | None
    chose_a: float | None
    median_s: float | None
    dpr: float | None
    kept: bool
    reasons: str


class Agreement(NamedTuple):
    """Over pairs on an image that two or more raters judged (items). pairwise: chance that two raters chose alike; a
    tie is half alike to a choice.

    u: Kendall's coefficient of agreement, 2 pairwise - 1 (Kendall and Babington Smith 1940, Biometrika 31): 1 if all
    agree, 0 if all toss coins. ceiling: share of the votes that go with the more frequent choice on their pair and
    image (ties half): no metric can predict more of these votes, since it says the same to every rater.
    """

    items: int
    pairwise: float | None
    u: float | None
    ceiling: float | None


def screen(study: Study, votes: Sequence[Vote], min_checks: float | None = None) -> list[RaterSummary]:
    """Every rater with votes, and why each is left out or not (`screening.reasons`)."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    items = _items(votes)
    return [_summary(rater, own, items, "; ".join(reasons(study, own, min_checks))) for rater, own in by_rater.items()]


def agreement(votes: Iterable[Vote]) -> Agreement:
    judged = [Counter(choices.values()) for choices in _items(votes).values()]
    items = [counts for counts in judged if counts.total() > 1]
    alike = couples = 0
    for counts in items:
        n, ties = counts.total(), counts["tie"]
        alike += sum(c * (c - 1) for c in counts.values()) + ties * (n - ties)
        couples += n * (n - 1)
    leading = sum(max((c for k, c in counts.items() if k != "tie"), default=0) + counts["tie"] / 2 for counts in judged)
    ceiling = leading / sum(counts.total() for counts in judged) if judged else None
    if not items:
        return Agreement(0, None, None, ceiling)
    return Agreement(len(items), alike / couples, 2 * alike / couples - 1, ceiling)


def _summary(rater: str, votes: Sequence[Vote], items: dict[tuple[str, ...], dict[str, str]], why: str) -> RaterSummary:
    kinds: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        kinds[vote.trial.kind].append(vote)
    others = []
    for key, choice in map(_canonical, kinds["pair"]):
        if rest := Counter(c for other, c in items[key].items() if other != rater):
            leading = [c for c, count in rest.items() if count == max(rest.values())]
            others.append(1 / len(leading) if choice in leading else 0.0)
    first = dict(map(_canonical, [*kinds["pair"], *kinds["rating"]]))
    again = [(first.get(key), choice) for key, choice in map(_canonical, kinds["repeat"])]
    sided = [vote.choice for kind in ("pair", "repeat", "check") for vote in kinds[kind] if vote.choice in ("a", "b")]
    timed = [vote.seconds for kind in (*COUNTED, "repeat") for vote in kinds[kind]]
    passed, consistent = sum(v.choice in v.trial.right for v in kinds["check"]), sum(_alike(a, b) for a, b in again)
    counts = sum(len(kinds[kind]) for kind in COUNTED), len(kinds["check"]), passed, len(again), consistent
    shares = sum(others) / len(others) if others else None, sided.count("a") / len(sided) if sided else None
    median_s, dpr = median(timed) if timed else None, median(vote.dpr for vote in votes)
    return RaterSummary(rater, votes[0].source, *counts, *shares, median_s, dpr, not why, why)


def _canonical(vote: Vote) -> tuple[tuple[str, ...], str]:
    """The pair on its image, whichever side each stood on, and what was chosen."""
    trial = vote.trial
    chosen = {"a": trial.first, "b": trial.second}.get(vote.choice, vote.choice)
    return (trial.scene, *sorted((trial.first, trial.second))), chosen


def _alike(first: str | None, second: str) -> bool:
    """Whether two answers to one question agree; grades may be one apart."""
    if first is not None and first.isdigit() and second.isdigit():
        return abs(int(first) - int(second)) <= 1
    return first == second


def _items(votes: Iterable[Vote]) -> dict[tuple[str, ...], dict[str, str]]:
    items: dict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for vote in votes:
        if vote.trial.kind == "pair":
            key, chosen = _canonical(vote)
            items[key][vote.rater] = chosen
    return items


FAST_S: dict[Task, float] = {"pairs": 1.5, "dsis": 1.5, "acr": 1.0}
UNSEEN = 0.1  # share of answers without a flip
SAME = 0.95  # share of one answer
PATTERN = 1e-4  # chance of an honest rater's sides, two-sided
LEAST = 10  # answers from which on time, looks and patterns are judged
UNDECIDED = 0.05  # checks that more of the careless raters pass say nothing yet


def reasons(study: Study, votes: Sequence[Vote], min_checks: float | None = None) -> list[str]:
    """Why this rater is left out, in words; empty: kept. votes: all of one rater, by trial. min_checks: share of the
    checks that must be right; None: as many as the false alarm allows."""
    given = [vote for vote in votes if vote.trial.kind != "training"]
    return [text for text in (_checks(study, given, min_checks), *_looking(study, given), _pattern(given)) if text]


def _checks(study: Study, votes: Sequence[Vote], share: float | None) -> str:
    checks = [vote for vote in votes if vote.trial.kind == "check"]
    passed = sum(vote.choice in vote.trial.right for vote in checks)
    if passed < rates(len(checks), study.task, share=share).required:
        return f"{passed} of {len(checks)} attention checks right"
    whole = rates(study.design.checks, study.task).slips
    if share is None and whole <= UNDECIDED < rates(len(checks), study.task).slips:
        return f"stopped after {len(checks)} of {study.design.checks} attention checks"
    return ""


def _looking(study: Study, votes: Sequence[Vote]) -> list[str]:
    if len(votes) < LEAST:
        return []
    fast = sum(vote.seconds < FAST_S[study.task] for vote in votes)
    blind = sum(vote.flips == 0 for vote in votes) if study.flips else 0
    return [
        f"{fast} of {len(votes)} answers in less than {FAST_S[study.task]:g} s" if fast > len(votes) / 2 else "",
        f"{blind} of {len(votes)} answers without a look at both" if blind > UNSEEN * len(votes) else "",
    ]


def _pattern(votes: Sequence[Vote]) -> str:
    choices = [vote.choice for vote in votes]
    if len(choices) < LEAST:
        return ""
    most = max(set(choices), key=choices.count)
    if choices.count(most) >= SAME * len(choices):
        return f"the answer {most} {choices.count(most)} times of {len(choices)}"
    sides = [choice for choice in choices if choice in ("a", "b")]
    turns = sum(a != b for a, b in pairwise(sides))
    if _tails(sides.count("a"), len(sides)) < PATTERN:
        return f"side A {sides.count('a')} times of {len(sides)}"
    if _tails(turns, len(sides) - 1) < PATTERN:
        return f"a change of side {turns} times of {len(sides) - 1}"
    return ""


def _tails(k: int, n: int) -> float:
    """Two-sided chance that a fair coin falls as unevenly as k of n."""
    return 1.0 if n < 1 else min(1.0, 2 * float(bdtr(min(k, n - k), n, 0.5)))
