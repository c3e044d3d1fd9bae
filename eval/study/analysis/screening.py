"""Who is left out, and why. Each rule is one that a rater who looks does not break.

checks      fewer attention checks right than all but FALSE_ALARM of honest raters have (`checks.py`)
stopped     left after so few checks that a coin tosser would likely have passed them, where the study gives enough
time        most answers came sooner than two images can be looked at, by the shorter of the page's and server's clocks
looks       answers without a flip, where what is judged shares a place on the screen
pattern     the same answer nearly always; one side, or a change of side, more or less often than PATTERN allows for
            sides drawn by chance (which they are: an honest rater's sides are coin tosses, whatever is preferred)

The false alarms of `checks` and `pattern` follow from the binomial distribution and do not depend on what was judged:
nobody is left out for an opinion.
"""

from collections.abc import Sequence
from itertools import pairwise

from scipy.special import bdtr

from ..checks import rates
from ..plan import Study, Task
from ..votes import Vote

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
