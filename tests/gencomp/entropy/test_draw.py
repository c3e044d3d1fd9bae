"""Latents by chance: each symbol as likely as its table says, equal for equal seeds; quantised without bits."""

import numpy as np
import pytest

from gencomp.entropy.coder import Draws, Encoder, Table
from gencomp.entropy.contract import Drawable, Evaluation, Quantizer
from gencomp.entropy.tables import quantise_pmf

from .models import MODELS
from .test_kinds import latents

drawable = pytest.mark.parametrize("name", sorted(name for name in MODELS if isinstance(MODELS[name](), Drawable)))
quantizer = pytest.mark.parametrize("name", sorted(name for name in MODELS if isinstance(MODELS[name](), Quantizer)))


def test_symbols_are_drawn_as_often_as_their_table_says() -> None:
    table = Table(quantise_pmf(np.array([0.5, 0.25, 0.0, 0.125, 0.125])))
    drawn = Draws(np.random.default_rng(0)).symbols(40_000, table)
    shares = np.bincount(drawn, minlength=5) / 40_000
    assert np.abs(shares - [0.5, 0.25, 0, 0.125, 0.125]).max() < 0.01
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
    assert np.array_equal(
        first, model.draw(np.random.default_rng(3), 9, 5, 400, Evaluation(tile=2, arithmetic="int64"))
    )


@quantizer
def test_quantised_latents_are_those_that_a_file_gives(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model, Quantizer)
    given = latents(model, 11, 6, 2)
    y_int = model.quantize(given, 300, Evaluation(tile=4))
    assert np.array_equal(y_int, MODELS[name]().encode(given, 300).y_int)
