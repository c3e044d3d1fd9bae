"""Probability tables: integer weights that sum to 2^16, whole or refused."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import ModelError
from gencomp.entropy import tables as T

masses = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=2, max_size=300).filter(lambda p: sum(p) > 0)


@settings(deadline=None)
@given(masses)
def test_every_quantised_weight_is_at_least_one_and_they_sum_to_the_total(pmf: list[float]) -> None:
    weights = T.quantise_pmf(pmf)
    assert weights.sum() == T.TOTAL
    assert weights.min() >= 1
    assert weights.dtype == np.int32


@settings(deadline=None)
@given(masses)
def test_no_move_of_one_unit_shortens_the_expected_code(pmf: list[float]) -> None:
    p = np.array(pmf) / np.sum(pmf)
    weights = T.quantise_pmf(pmf).astype(np.float64)
    gain = p * np.log2((weights + 1) / weights)
    loss = np.where(weights > 1, p * np.log2(weights / np.maximum(weights - 1, 0.5)), np.inf)
    assert gain.max() <= loss.min() * (1 + 1e-6)


def test_quantising_a_pmf_that_fits_changes_nothing() -> None:
    weights = np.array([1, 65_000, 300, 235])
    assert T.quantise_pmf(weights / 65_536).tolist() == weights.tolist()


@pytest.mark.parametrize("pmf", [[1.0], [], [0.0, 0.0], [0.5, -0.1], [0.5, math.nan], [math.inf, 1.0], [[0.5, 0.5]]])
def test_what_is_no_probability_vector_is_refused(pmf: list[float]) -> None:
    with pytest.raises(ValueError, match="probability"):
        T.quantise_pmf(pmf)


def test_gaussian_levels_span_the_scales_and_cost_little_above_the_gaussian() -> None:
    levels = T.gaussian_tables()
    widths = T.default_tables([T.quantise_pmf([1, 2, 1])]).half_widths
    assert len(levels) == 64
    assert (widths[0], widths[-1]) == (1, 296)
    assert np.all(np.diff(widths) >= 0)
    assert T.sigma_of_level(0) == pytest.approx(0.11)
    assert T.sigma_of_level(63) == pytest.approx(64.0)
    for level in (0, 20, 63):
        sigma, width = T.sigma_of_level(level), int(widths[level])
        edges = [0.5 * math.erf((r - 0.5) / sigma / math.sqrt(2)) for r in range(-width, width + 2)]
        p = np.diff(edges)
        quantised = levels[level][:-1] / T.TOTAL
        assert np.sum(p * np.log2(p / quantised)) < 0.002  # bits a symbol; most of it is the far tails' units


def test_gaussian_tables_are_symmetric_but_for_single_units() -> None:
    for weights in T.gaussian_tables():
        residuals = weights[:-1]
        assert np.abs(residuals - residuals[::-1]).max() <= 1


@cache
def _tables() -> T.Tables:
    return T.default_tables([T.quantise_pmf(np.ones(2 * k + 1)) for k in (1, 5, 40)])


def test_arrays_of_the_model_file_give_the_tables_back() -> None:
    before = _tables()
    after = T.from_arrays(T.to_arrays(before))
    for name in ("y", "z"):
        for a, b in zip(getattr(before, name), getattr(after, name), strict=True):
            assert np.array_equal(a, b)
    assert np.array_equal(before.escape, after.escape)
    assert after.z_half_widths.tolist() == [1, 5, 40]


def _spoil(name: str, array: np.ndarray | None) -> dict[str, np.ndarray]:
    arrays = dict(T.to_arrays(_tables()))
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    return arrays


@pytest.mark.parametrize("name", ["y_weights", "y_half_widths", "z_weights", "z_half_widths", "escape_weights"])
def test_a_missing_or_misshapen_array_is_refused(name: str) -> None:
    good = T.to_arrays(_tables())[name]
    bad = [None, good[:-1], good[:0], good[None], good.astype(np.float32), good * 0, -good, good + 1, good * 70_000]
    for array in bad:
        with pytest.raises(ModelError):
            T.from_arrays(_spoil(name, array))


def test_weights_that_move_between_tables_are_refused() -> None:
    weights = T.to_arrays(_tables())["y_weights"].copy()
    weights[1] -= 1
    weights[-2] += 1
    with pytest.raises(ModelError, match="sums to"):
        T.from_arrays(_spoil("y_weights", weights))
