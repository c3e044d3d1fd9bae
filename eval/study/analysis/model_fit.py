"""Does a scale describe the votes at all? Goodness of fit of the Bradley-Terry model.

The deviance of the table of wins from the model (Bradley and Terry 1952, section 4),

    G2 = 2 sum_ij w_ij ln(w_ij / (n_ij p_ij)),

over ordered pairs, against chi-square with (pairs compared) - (conditions) + (groups of connected conditions) degrees
of freedom. The test takes votes as independent; a rater's hang together, so a small p says less than it seems to, and
a large one can be trusted.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, xlogy

from ..bradley_terry import Array, groups, preference


class ModelFit(NamedTuple):
    """p: None where nothing is left to test (no more pairs than scores)."""

    deviance: float
    degrees: int
    p: float | None


def model_fit(wins: Array, scores: Array) -> ModelFit:
    """wins (k, k), scores (k,) in logits."""
    played = wins + wins.T
    deviance = 2 * float((xlogy(wins, wins) - xlogy(wins, played * preference(scores))).sum())
    degrees = int((np.triu(played, 1) > 0).sum()) - len(wins) + len(groups(played))
    return ModelFit(max(0.0, deviance), degrees, float(chdtrc(degrees, max(0.0, deviance))) if degrees > 0 else None)


def p_value(p: float) -> str:
    """As it is printed: "p < 0.001", else with two digits that mean something."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
