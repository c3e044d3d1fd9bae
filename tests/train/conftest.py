"""Made-up photographs, and recipes small enough for a test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def made_up(seed: int, side: int = 160) -> Image.Image:
    """Smooth colours with an edge and some noise, like a photograph from afar."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse).astype(np.float64)
    pixels[side // 3 : side // 2] += 60 * draw.random()
    return Image.fromarray(np.clip(pixels + draw.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four pictures."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(4):
        made_up(seed).save(folder / f"{seed}.png")
    return folder
