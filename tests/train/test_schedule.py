"""Schedules: functions of the step alone."""

import pytest

from gencomp.train.schedule import fitted, learning_rate_factor, stage_at, stage_spans
from gencomp.train.settings import recipe


def test_learning_rate_rises_holds_and_falls_in_each_stage() -> None:
    chosen = recipe("tiny", {"steps": "200", "realism.begin": "100", "warmup": "10", "decay": "0.5"})
    factors = [learning_rate_factor(chosen, step) for step in range(200)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:49] == [1.0] * 39
    assert factors[75] == pytest.approx(0.5)
    assert factors[100:] == factors[:100]
    assert [stage_at(chosen, s) for s in (0, 99, 100, 199)] == [0, 0, 1, 1]
    assert stage_spans(chosen) == [(0, 100), (100, 200)]


def test_hific_schedule_is_a_tenth_from_half_of_each_stage() -> None:
    chosen = recipe("hific-lo")
    steps = (0, 499_999, 500_000, 999_999, 1_000_000, 1_500_000)
    assert [learning_rate_factor(chosen, s) for s in steps] == [1.0, 1.0, 0.1, 0.1, 1.0, 0.1]


def test_warm_up_fits_short_runs() -> None:
    assert fitted(200, 0, 100_000) == 200
    assert fitted(200, 50, 150) == 10
    factors = [learning_rate_factor(recipe("base", {"steps": "100"}), step) for step in range(100)]
    assert max(factors) == 1.0
    assert factors[9] == 1.0
