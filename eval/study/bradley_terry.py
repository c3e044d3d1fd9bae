"""Bradley-Terry scores from a table of wins.

Bradley and Terry (1952), Biometrika 39, eq. 3: the chance that i is preferred to j is

    P(i > j) = 1 / (1 + exp(-(b_i - b_j)))

Only differences of scores mean anything, so scores have mean zero here. Newton's method on the log likelihood (concave;
Hunter 2004, Annals of Statistics 32, section 2) with a very wide normal prior, so that a codec that won every trial
gets a large score instead of an infinite one. All functions work on stacks of tables at once: a bootstrap of a
thousand resamples is one call.

Fit: the deviance of the table of wins from the model (section 4),

    G2 = 2 sum_ij w_ij ln(w_ij / (n_ij p_ij)),

over ordered pairs, against chi-square with (pairs compared) - (conditions) + (groups of connected conditions) degrees
of freedom. The test takes votes as independent; a rater's hang together, so a small p says less than it seems to, and
a large one can be trusted.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import chdtrc, expit, xlogy

Array = NDArray[np.float64]

ELO = 400 / math.log(10)  # Elo points per logit: 400 points are odds of ten to one
ELO_MEAN = 1500.0
JOD = 1 / math.log(3)  # just-objectionable differences per logit: at one, three of four raters agree
PRIOR = 0.01  # precision of the prior on each score, in logits: standard deviation 10 logits, about 1700 Elo


def fit(wins: Array, *, prior: float = PRIOR, centre: Array | None = None, iterations: int = 200) -> Array:
    """Scores in logits, shape (..., k), from wins of shape (..., k, k): wins[i, j] counts i preferred to j.

    A tie is half a win for each. The prior pulls towards `centre` (..., k), zero unless given; with no centre the
    scores have mean zero.
    """
    wins = np.asarray(wins, np.float64)
    played = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(-1)
    target = np.zeros(wins.shape[:-1]) if centre is None else np.broadcast_to(centre, wins.shape[:-1])
    eye = np.eye(wins.shape[-1])
    scores = target.copy()
    for _ in range(iterations):
        chance = preference(scores)
        gradient = won - (played * chance).sum(-1) - prior * (scores - target)
        weight = played * chance * (1 - chance)
        curvature = weight.sum(-1)[..., None] * eye - weight + prior * eye
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        # Far from the optimum of nearly separable data Newton overshoots; a bounded step keeps it on the way.
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(-1, keepdims=True), 1e-300))
        scores = scores + step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    return scores if centre is not None else scores - scores.mean(-1, keepdims=True)


def preference(scores: Array) -> Array:
    """Chance (..., k, k) that row is preferred to column, from scores (..., k) in logits."""
    difference = scores[..., :, None] - scores[..., None, :]
    return np.asarray(expit(difference))


def covariance(wins: Array, scores: Array, *, prior: float = PRIOR) -> Array:
    """Covariance (k, k) of the scores by the Fisher information, votes taken as independent, scores of mean zero."""
    played = wins + wins.T
    chance = preference(scores)
    weight = played * chance * (1 - chance)
    k = len(scores)
    inverse = np.linalg.inv(np.diag(weight.sum(-1)) - weight + prior * np.eye(k))
    centring = np.eye(k) - 1 / k
    return np.asarray(centring @ inverse @ centring)


def elo(scores: Array) -> Array:
    """Logits to the Elo scale with mean 1500."""
    return ELO_MEAN + ELO * scores


def groups(played: NDArray[np.generic]) -> list[list[int]]:
    """Conditions that votes connect, directly or through others. Scores of different groups cannot be compared."""
    count, label = connected_components(np.asarray(played) > 0, directed=False)
    return [np.flatnonzero(label == k).tolist() for k in range(count)]


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
