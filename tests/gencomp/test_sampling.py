"""Images from a model's own prior, on the tiny model of tests/golden."""

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gencomp import networks
from gencomp.bitstream import ModelError
from gencomp.codec import Codec
from gencomp.image import ImageError
from gencomp.interpolation import interpolate
from gencomp.model import Model
from gencomp.sampling import draw_latents

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


def test_a_sample_has_its_size_and_is_that_of_its_seed(model: Model) -> None:
    codec = Codec(model, "cpu")
    first, again, other = (np.asarray(codec.sample(37, 18, quality=60, seed=seed)) for seed in (1, 1, 2))
    assert first.shape == (18, 37, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sizes_without_pixels_and_beyond_the_limit_are_refused(model: Model) -> None:
    codec = Codec(model, "cpu")
    for width, height in ((0, 5), (5, -1), (1 << 16, 1 << 16)):
        with pytest.raises(ValueError, match="pixels"):
            codec.sample(width, height)


def test_a_network_with_a_prior_of_its_own_is_drawn_from_by_that(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(height: int, width: int, step: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(1, model.entropy.latent_channels, height, width, generator=generator) * step

    monkeypatch.setattr(networks, "network_of", lambda _: types.SimpleNamespace(draw_prior=draw))
    own = model._replace(facts={**model.facts, "prior": True})
    assert np.array_equal(draw_latents(own, 2, 3, 5, 1), draw_latents(own, 2, 3, 5, 1))
    assert draw_latents(own, 2, 3, 500, 1).std() > 100


def test_a_model_that_cannot_be_drawn_from_says_so(model: Model) -> None:
    opaque: Any = types.SimpleNamespace(kind="opaque")
    with pytest.raises(ModelError, match="'opaque' cannot be drawn from"):
        draw_latents(model._replace(entropy=opaque), 2, 2, 0, 0)


def test_a_round_trip_shows_what_the_file_would(model: Model) -> None:
    codec = Codec(model, "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (35, 50, 3), dtype=np.uint8)
    shown = codec.round_trip(pixels, quality=70)
    assert np.array_equal(np.asarray(shown), np.asarray(codec.decompress(codec.compress(pixels, quality=70))))


def image(seed: int, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (33, width, 3), dtype=np.uint8)


def test_the_ends_are_the_decoded_files_and_the_middle_lies_between(codec: Codec) -> None:
    a, b = image(0), image(1)
    frames = [np.asarray(frame, float) for frame in interpolate(codec, a, b, 5, quality=80)]
    ends = [np.asarray(codec.decompress(codec.compress(x, quality=80)), float) for x in (a, b)]
    assert len(frames) == 5
    assert np.array_equal(frames[0], ends[0])
    assert np.array_equal(frames[-1], ends[1])
    distances = [np.abs(frame - ends[0]).mean() for frame in frames]
    assert distances == sorted(distances)
    assert distances[1] > 0


def test_images_of_two_sizes_and_too_few_frames_are_refused_before_any_work(codec: Codec) -> None:
    with pytest.raises(ImageError, match="40x33 and 41x33"):
        interpolate(codec, image(0), image(1, 41), 4)
    with pytest.raises(ValueError, match="at least 2"):
        interpolate(codec, image(0), image(1), 1)
