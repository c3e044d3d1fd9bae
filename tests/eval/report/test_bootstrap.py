"""Resampling: intervals that cover, p values that hold their level, refusals."""

import numpy as np
import pytest

from gencomp.eval.report.curves import CurveError, mean_interval, resample


def test_intervals_of_a_mean_cover_it_and_p_holds_its_level() -> None:
    covered = significant = 0
    for trial in range(60):
        sample = np.random.default_rng(trial).normal(size=40)
        found = resample(lambda index, s=sample: float(s[index].mean()), 40, resamples=300, seed=trial)  # type: ignore[misc]
        assert found is not None
        covered += found.interval.low <= 0 <= found.interval.high
        significant += found.p < 0.05
    assert 50 <= covered <= 60  # 95 % of 60 is 57
    assert significant <= 10


def test_a_clear_difference_is_significant() -> None:
    sample = np.random.default_rng(0).normal(-3, 1, 24)
    found = resample(lambda index: float(sample[index].mean()), 24, resamples=400)
    assert found is not None
    assert found.p == pytest.approx(1 / 400)
    assert found.interval.high < 0


def test_what_cannot_be_resampled_is_refused() -> None:
    assert resample(lambda index: 0.0, 1) is None
    assert mean_interval(np.ones(1)) is None

    def undefined(index: np.ndarray) -> float:
        raise CurveError("never")

    assert resample(undefined, 10, resamples=20) is None
