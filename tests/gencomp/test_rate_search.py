"""The search for a rate, with made-up sizes."""

import math
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gencomp import codec as module
from gencomp.bitstream import STEPS
from gencomp.entropy.contract import Coded
from gencomp.rate_search import CODINGS, largest_step, largest_step_by_sketch, sketch_of

SCALES, SLOPES, LIMITS = st.floats(5, 5000), st.floats(0.5, 8), st.integers(1, 2_000_000)


def sizes(scale: float, slope: float, wobble: int = 0, seed: int = 0) -> list[int]:
    """Bytes by step: exponential, but for `wobble` bytes here and there."""
    noise = np.random.default_rng(seed).integers(0, wobble + 1, STEPS + 1)
    return [round(scale * math.exp(slope * step / STEPS)) + int(noise[step]) for step in range(STEPS + 1)]


@given(SCALES, SLOPES, LIMITS)
def test_the_largest_step_is_found(scale: float, slope: float, limit: int) -> None:
    table = sizes(scale, slope)
    fitting = [step for step in range(STEPS + 1) if table[step] <= limit]
    assert largest_step(table.__getitem__, limit) == (fitting[-1] if fitting else None)


@given(st.floats(500, 5000), st.floats(4, 8), LIMITS, st.integers(0, 99))
def test_a_byte_here_and_there_does_not_hide_it(scale: float, slope: float, limit: int, seed: int) -> None:
    table = sizes(scale, slope, wobble=1, seed=seed)
    fitting = [step for step in range(STEPS + 1) if table[step] <= limit]
    assert largest_step(table.__getitem__, limit) == (fitting[-1] if fitting else None)


@settings(deadline=None)
@given(SCALES, SLOPES, LIMITS, st.floats(0.3, 3), st.floats(-0.3, 0.3))
def test_a_sketch_finds_a_step_that_fits_or_says_that_none_does(
    scale: float, slope: float, limit: int, wrong: float, bend: float
) -> None:
    table = sizes(scale, slope)
    size = Mock(side_effect=table.__getitem__)
    found = largest_step_by_sketch(size, lambda s: 0.05 * wrong * table[s] * math.exp(bend * s / STEPS), 0.05, limit)
    assert len({call.args for call in size.call_args_list}) == size.call_count, "coded twice"
    if table[0] > limit:
        assert found is None
    else:
        assert found is not None
        assert table[found] <= limit


@settings(deadline=None)
@given(st.floats(2e4, 2e5), st.floats(3, 5), st.floats(0.02, 0.98), st.floats(0.7, 1.4), st.floats(-0.1, 0.1))
def test_a_fair_sketch_takes_three_codings_and_comes_within_a_percent(
    scale: float, slope: float, place: float, wrong: float, bend: float
) -> None:
    table = sizes(scale, slope)
    limit, size = math.floor(scale * math.exp(slope * place)), Mock(side_effect=table.__getitem__)
    found = largest_step_by_sketch(size, lambda s: 0.05 * wrong * table[s] * math.exp(bend * s / STEPS), 0.05, limit)
    assert found is not None
    assert size.call_count <= CODINGS
    assert 0.98 * limit <= table[found] <= limit


def test_a_sketch_comes_from_all_over_and_keeps_small_images_whole() -> None:
    image = np.arange(2000 * 3000 * 3, dtype=np.uint32).astype(np.uint8).reshape(2000, 3000, 3)
    sketch = sketch_of(image)
    assert sketch.shape == (512, 512, 3)
    assert np.array_equal(sketch[:128, :128], image[:128, :128])
    assert np.array_equal(sketch[-128:, -128:], image[-128:, -128:])
    assert np.array_equal(sketch_of(image[:40, :70]), image[:40, :70])


def test_large_images_are_coded_three_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 100_000)  # in place of 1.5 megapixels, which take long here
    codec = module.load(Path(__file__).parent.parent / "golden" / "tiny.safetensors", device="cpu")
    image = np.asarray(Image.radial_gradient("L").resize((1024, 300)).convert("RGB"))
    sides, code = [], codec._code

    def counted(pixels: np.ndarray, quality_step: int, check: bool = False) -> Coded:
        sides.append(pixels.shape[1])
        return code(pixels, quality_step, check)

    monkeypatch.setattr(codec, "_code", counted)
    limit = len(codec.compress(image, quality=60))
    sides.clear()
    assert 0.95 * limit <= len(codec.encode(image, bytes=limit).data) <= limit
    assert 1 <= sides.count(1024) <= CODINGS
    assert sides.count(512) > 2
    with pytest.raises(module.RateError):
        codec.encode(image, bytes=30)
