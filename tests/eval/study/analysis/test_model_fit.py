import numpy as np
import pytest
from scipy.stats import kstest, power_divergence

from gencomp.eval.study.analysis.model_fit import model_fit, transitivity
from gencomp.eval.study.bradley_terry import Array, fit, preference

SCORES = np.array([0.8, 0.3, -0.2, -0.9])


def drawn(chance: Array, votes: int, seed: int) -> Array:
    """A table of wins with so many votes on each pair."""
    upper = np.triu(np.random.default_rng(seed).binomial(votes, chance), 1)
    return np.asarray(upper + np.tril(votes - upper.T, -1), np.float64)


def cycle(votes: float) -> Array:
    """Stone, scissors, paper."""
    return np.array([[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]]) * votes


def test_votes_of_the_model_fit_with_uniform_p() -> None:
    tables = [drawn(preference(SCORES), 80, seed) for seed in range(300)]
    found = [model_fit(wins, fit(wins, prior=1e-9)) for wins in tables]
    assert {f.degrees for f in found} == {3}
    assert kstest([f.p for f in found if f.p is not None], "uniform").pvalue > 0.01


def test_the_deviance_is_scipys() -> None:
    wins = drawn(preference(SCORES), 50, 3)
    scores = fit(wins)
    off = ~np.eye(4, dtype=bool)
    expected = (wins + wins.T) * preference(scores)
    reference = power_divergence(wins[off], expected[off], lambda_="log-likelihood").statistic
    assert model_fit(wins, scores).deviance == pytest.approx(reference)


def test_a_circle_of_preferences_does_not_fit_and_is_not_transitive() -> None:
    wins = cycle(40)
    found = model_fit(wins, fit(wins))
    assert found.p is not None
    assert found.p < 1e-6
    circle = transitivity(wins, fit(wins))
    assert (circle.triples, circle.weak, circle.moderate, circle.strong) == (1, 1, 1, 1)
    assert circle.weak_expected < 0.5


def test_a_clear_order_is_transitive() -> None:
    wins = preference(4 * SCORES) * (1 - np.eye(4)) * 1000
    found = transitivity(wins, 4 * SCORES)
    assert (found.triples, found.weak, found.moderate, found.strong) == (4, 0, 0, 0)
    assert found.weak_expected == 0


def test_chance_breaks_transitivity_as_often_as_is_expected() -> None:
    close = np.array([0.1, 0.03, -0.03, -0.1])
    tables = [drawn(preference(close), 20, seed) for seed in range(200)]
    assert np.mean([transitivity(wins, close, seed).weak for seed, wins in enumerate(tables)]) == pytest.approx(
        transitivity(tables[0], close).weak_expected, rel=0.25
    )


def test_pairs_that_nobody_judged_are_left_out() -> None:
    wins = np.zeros((4, 4))
    wins[0, 1], wins[1, 0], wins[2, 3] = 3, 2, 4
    assert model_fit(wins, fit(wins)).p is None
    assert transitivity(wins, fit(wins)).triples == 0
