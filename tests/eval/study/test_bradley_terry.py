from typing import Any

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.stats import kstest, power_divergence

from gencomp.eval.study.bradley_terry import Array, covariance, elo, fit, groups, model_fit, preference


def random_wins(seed: int, k: int = 5, votes: int = 400) -> Any:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 0.8, k)
    wins = np.zeros((k, k))
    for _ in range(votes):
        i, j = rng.choice(k, 2, replace=False)
        won = rng.random() < 1 / (1 + np.exp(truth[j] - truth[i]))
        wins[(i, j) if won else (j, i)] += 1
    return wins


def by_optimiser(wins: Any, prior: float = 0.0) -> Any:
    """The same likelihood, maximised by a general optimiser that knows nothing of its shape."""

    def loss(scores: Any) -> float:
        gap = scores[:, None] - scores[None, :]
        return float((wins * np.logaddexp(0, -gap)).sum() + prior / 2 * (scores**2).sum())

    scores = minimize(loss, np.zeros(len(wins)), method="BFGS", options={"gtol": 1e-9}).x
    return scores - scores.mean()


@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_a_general_optimiser(seed: int) -> None:
    wins = random_wins(seed)
    np.testing.assert_allclose(fit(wins, prior=1e-12), by_optimiser(wins), atol=1e-5)
    np.testing.assert_allclose(fit(wins, prior=0.7), by_optimiser(wins, 0.7), atol=1e-5)


def test_scores_agree_with_choix() -> None:
    wins = random_wins(7)
    pairs = [(i, j) for i, j in np.argwhere(wins) for _ in range(int(wins[i, j]))]
    np.testing.assert_allclose(fit(wins, prior=1e-12), choix.ilsr_pairwise(len(wins), pairs), atol=1e-6)


def test_a_tie_pulls_together_and_odds_of_ten_are_400_elo() -> None:
    ties = fit(np.array([[0.0, 5.0], [5.0, 0.0]]))
    assert ties[0] == pytest.approx(ties[1])
    tenfold = elo(fit(np.array([[0.0, 100.0], [10.0, 0.0]]), prior=1e-12))
    assert (tenfold[0] - tenfold[1], tenfold.mean()) == (pytest.approx(400), pytest.approx(1500))


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (4, 4), elements=st.integers(0, 30)), st.permutations(range(4)))
def test_scores_are_finite_and_follow_the_conditions_when_these_are_reordered(wins: Any, order: list[int]) -> None:
    wins = wins * (1 - np.eye(4))
    scores = fit(wins)
    assert np.isfinite(scores).all()
    assert scores.mean() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(fit(wins[np.ix_(order, order)]), scores[order], atol=1e-6)


def test_a_stack_is_fitted_like_its_parts() -> None:
    stack = np.array([random_wins(seed) for seed in range(3)])
    np.testing.assert_allclose(fit(stack), [fit(wins) for wins in stack], atol=1e-9)


def test_who_wins_every_vote_comes_first_with_a_finite_score() -> None:
    scores = fit(np.array([[0.0, 50, 50], [0, 0, 25], [0, 25, 0]]))
    assert scores.argmax() == 0
    assert np.isfinite(scores).all()


def test_a_centre_is_kept_where_there_are_no_votes() -> None:
    centre = np.array([0.5, -0.2, -0.3])
    np.testing.assert_allclose(fit(np.zeros((3, 3)), prior=1.0, centre=centre), centre)


def test_covariance_agrees_with_the_spread_of_repeated_studies() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([0.6, 0.1, -0.7])
    votes = rng.binomial(150, preference(truth)[None, [0, 0, 1], [1, 2, 2]], (600, 3))
    wins = np.zeros((600, 3, 3))
    for k, (i, j) in enumerate([(0, 1), (0, 2), (1, 2)]):
        wins[:, i, j], wins[:, j, i] = votes[:, k], 150 - votes[:, k]
    expected = covariance(150 * preference(truth) * (1 - np.eye(3)), truth)
    np.testing.assert_allclose(np.cov(fit(wins).T), expected, atol=0.1 * expected.max())


def test_conditions_that_no_vote_connects_are_told_apart() -> None:
    wins = np.zeros((4, 4))
    wins[0, 2] = wins[3, 1] = 1
    assert groups(wins) == [[0, 2], [1, 3]]


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


def test_a_circle_of_preferences_does_not_fit() -> None:
    wins = cycle(40)
    found = model_fit(wins, fit(wins))
    assert found.p is not None
    assert found.p < 1e-6


def test_pairs_that_nobody_judged_are_left_out() -> None:
    wins = np.zeros((4, 4))
    wins[0, 1], wins[1, 0], wins[2, 3] = 3, 2, 4
    assert model_fit(wins, fit(wins)).p is None
