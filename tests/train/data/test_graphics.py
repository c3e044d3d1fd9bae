"""Rendered graphics: deterministic, of any size, and unlike photographs."""

import numpy as np
import pytest

from gencomp.train.data.graphics import rendered


def test_graphics_are_a_function_of_the_generator() -> None:
    assert np.array_equal(rendered(np.random.default_rng(3), 96), rendered(np.random.default_rng(3), 96))
    assert not np.array_equal(rendered(np.random.default_rng(3), 96), rendered(np.random.default_rng(4), 96))


@pytest.mark.parametrize("side", [64, 192, 448])
def test_graphics_have_the_size_that_is_asked_for(side: int) -> None:
    image = rendered(np.random.default_rng(0), side)
    assert image.shape == (side, side, 3)
    assert image.dtype == np.uint8


def test_graphics_are_flat_colour_with_hard_edges() -> None:
    """Half of the pixels at least equal their neighbour exactly, and steps of over 100 grey levels are common."""
    flat, hard = [], []
    for number in range(40):
        steps = np.abs(np.diff(rendered(np.random.default_rng(number), 128).astype(int), axis=1)).max(-1)
        flat.append((steps == 0).mean())
        hard.append((steps > 100).any())
    assert np.mean(flat) > 0.5
    assert np.mean(hard) > 0.8
