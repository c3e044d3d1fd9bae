"""Does a scale describe the votes at all? Goodness of fit of the Bradley-Terry model, and transitivity of preferences.

Fit: the deviance of the table of wins from the model (Bradley and Terry 1952, section 4),

    G2 = 2 sum_ij w_ij ln(w_ij / (n_ij p_ij)),

over ordered pairs, against chi-square with (pairs compared) - (conditions) + (groups of connected conditions) degrees
of freedom. The test takes votes as independent; a rater's hang together, so a small p says less than it seems to, and
a large one can be trusted.

Transitivity: of three conditions with i preferred to j and j to k by most votes, i should be preferred to k: at all
(weak), at least as often as the less clear of the two (moderate), as the clearer one (strong). Chance alone breaks
these where conditions are close, so the counts stand beside those of tables drawn from the fitted model.
"""

from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, xlogy

from ..bradley_terry import Array, groups, preference

DRAWS = 500


class ModelFit(NamedTuple):
    """p: None where nothing is left to test (no more pairs than scores)."""

    deviance: float
    degrees: int
    p: float | None


class Transitivity(NamedTuple):
    """Of `triples` with votes on all three pairs, how many break each rule; expected: under the model, on average."""

    triples: int
    weak: int
    moderate: int
    strong: int
    weak_expected: float
    moderate_expected: float
    strong_expected: float


def model_fit(wins: Array, scores: Array) -> ModelFit:
    """wins (k, k), scores (k,) in logits."""
    played = wins + wins.T
    deviance = 2 * float((xlogy(wins, wins) - xlogy(wins, played * preference(scores))).sum())
    degrees = int((np.triu(played, 1) > 0).sum()) - len(wins) + len(groups(played))
    return ModelFit(max(0.0, deviance), degrees, float(chdtrc(degrees, max(0.0, deviance))) if degrees > 0 else None)


def p_value(p: float) -> str:
    """As it is printed: "p < 0.001", else with two digits that mean something."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def transitivity(wins: Array, scores: Array, seed: int = 0) -> Transitivity:
    """wins (k, k), scores (k,) in logits."""
    played = wins + wins.T
    triples = [t for t in combinations(range(len(wins)), 3) if all(played[i, j] for i, j in combinations(t, 2))]
    if not triples:
        return Transitivity(0, 0, 0, 0, 0.0, 0.0, 0.0)
    rng = np.random.default_rng([seed, 8])
    upper = rng.binomial(np.rint(np.triu(played, 1)).astype(int), preference(scores), (DRAWS, *wins.shape))
    lower = np.swapaxes(np.triu(np.rint(played) - upper, 1), 1, 2)
    drawn = (np.triu(upper, 1) + lower).astype(np.float64)
    seen, expected = _broken(wins[None], triples)[0], _broken(drawn, triples).mean(0)
    return Transitivity(len(triples), *map(int, seen), *map(float, expected))


def _broken(wins: Array, triples: list[tuple[int, int, int]]) -> Array:
    """How many triples break each rule, for each table of wins (n, k, k): shape (n, 3)."""
    played = wins + np.swapaxes(wins, 1, 2)
    share = np.divide(wins, played, out=np.full(wins.shape, 0.5), where=played > 0)
    broken = np.zeros((len(wins), len(triples), 3), bool)
    for place, triple in enumerate(triples):
        for i, j, k in permutations(triple):
            first, second, across = share[:, i, j], share[:, j, k], share[:, i, k]
            chain = (first > 0.5) & (second > 0.5)
            rules = np.stack([np.full(len(wins), 0.5), np.minimum(first, second), np.maximum(first, second)], 1)
            broken[:, place] |= chain[:, None] & (across[:, None] < rules)
    return broken.sum(1)
