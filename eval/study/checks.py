"""Attention checks in numbers: who passes by chance, and who fails though honest.

A check has a right answer. A rater who does not look gives it with the chance `guess`; an honest one always, but for
lapses: a share of answers that are given without looking. Both are binomial over the checks of a rater, so that the
plan can say before the first vote how many careless raters slip through and how many honest ones are lost.
"""

from typing import NamedTuple

from scipy.special import bdtr

from .plan import Task

LAPSE = 0.02  # share of an honest rater's answers that are given without looking
FALSE_ALARM = 0.005  # the most honest raters that the checks may cost
SLIPS = 0.00025  # the most careless raters that the default number of checks lets through
GUESS: dict[Task, float] = {"pairs": 1 / 2, "dsis": 2 / 5, "acr": 2 / 5}  # a rating passes on two of the five grades


class CheckRates(NamedTuple):
    """required: right answers of `checks` that a rater needs. false_alarm: chance that an honest rater falls short.
    slips: chance that a rater who answers at random does not."""

    checks: int
    required: int
    false_alarm: float
    slips: float


def rates(checks: int, task: Task, *, lapse: float = LAPSE, share: float | None = None) -> CheckRates:
    """The strictest demand that loses no more than FALSE_ALARM of the honest raters; or the given share of checks."""
    guess = GUESS[task]
    wrong = lapse * (1 - guess)
    allowed = next((k for k in range(checks + 1) if _more_than(k, checks, wrong) <= FALSE_ALARM), checks)
    if share is not None:
        allowed = int(checks * (1 - share) + 1e-9)
    careful, careless = _more_than(allowed, checks, wrong), _more_than(allowed, checks, 1 - guess)
    return CheckRates(checks, checks - allowed, careful, 1 - careless)


def enough(task: Task) -> int:
    """The fewest checks that let no more than SLIPS of the careless raters through."""
    return next(n for n in range(1, 100) if rates(n, task).slips <= SLIPS)


def _more_than(k: int, n: int, chance: float) -> float:
    """P(X > k) of a binomial."""
    return float(1 - bdtr(k, n, chance)) if n else 0.0
