"""Frames between two images: the ends are the decoded files, sizes must agree."""

from pathlib import Path

import numpy as np
import pytest

from gencomp.codec import Codec
from gencomp.image import ImageError
from gencomp.interpolation import interpolate

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


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
