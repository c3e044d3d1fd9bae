"""Probability tables: integer weights that sum to 2^16, whole or refused."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import ModelError
from gencomp.entropy import tables as T
from gencomp.entropy.coder import Draws, Encoder, Table
from gencomp.entropy.contract import Drawable, Evaluation, Quantizer
from gencomp.entropy.tables import quantise_pmf

from .models import MODELS
from .test_kinds import latents

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
    assert (T.sigma_of_level(0), T.sigma_of_level(63)) == (pytest.approx(0.11), pytest.approx(64.0))
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


drawable = pytest.mark.parametrize("name", sorted(name for name in MODELS if isinstance(MODELS[name](), Drawable)))
quantizer = pytest.mark.parametrize("name", sorted(name for name in MODELS if isinstance(MODELS[name](), Quantizer)))


def test_symbols_are_drawn_as_often_as_their_table_says() -> None:
    table = Table(quantise_pmf(np.array([0.5, 0.25, 0.0, 0.125, 0.125])))
    drawn = Draws(np.random.default_rng(0)).symbols(40_000, table)
    assert np.abs((np.bincount(drawn, minlength=5) / 40_000) - [0.5, 0.25, 0, 0.125, 0.125]).max() < 0.01
    encoder = Encoder()
    encoder.symbols(drawn, table)
    assert encoder.bits / 40_000 == pytest.approx(1.75, abs=0.02)  # the entropy: what is drawn is typical


def test_uniform_bits_fill_their_range() -> None:
    counts = np.repeat(np.array([0, 1, 3, 15], np.int32), 500)
    drawn = Draws(np.random.default_rng(0)).uniform_bits(len(counts), counts)
    assert (drawn >= 0).all()
    assert not (drawn >> counts).any()
    assert set(drawn[500:1000]) == {0, 1}
    assert drawn[1500:].max() > 30_000


@drawable
def test_a_draw_has_the_size_asked_for_and_is_that_of_its_seed(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model, Drawable)
    first, again = (model.draw(np.random.default_rng(3), 9, 5, 400) for _ in range(2))
    assert first.shape == (model.latent_channels, 9, 5)
    assert first.dtype == np.int32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, model.draw(np.random.default_rng(4), 9, 5, 400))
    how = Evaluation(tile=2, arithmetic="int64")
    assert np.array_equal(first, model.draw(np.random.default_rng(3), 9, 5, 400, how))


@quantizer
def test_quantised_latents_are_those_that_a_file_gives(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model, Quantizer)
    given = latents(model, 11, 6, 2)
    y_int = model.quantize(given, 300, Evaluation(tile=4))
    assert np.array_equal(y_int, MODELS[name]().encode(given, 300).y_int)
