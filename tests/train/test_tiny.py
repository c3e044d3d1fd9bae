"""The `tiny` recipe: both stages, export, exact coding; and the rate controller on its network."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gencomp.codec import Codec
from gencomp.train.export import export
from gencomp.train.loop import Options, run
from gencomp.train.settings import recipe


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_tiny_overfits_four_images_and_its_export_codes_them_exactly(photographs: Path, tmp_path: Path) -> None:
    """Against a flat image of the mean colour; the bytes decode to the encoder's own latents."""
    run(recipe("tiny"), [str(photographs)], tmp_path / "run", options=Options(save_every=1000))
    codec = Codec(export(tmp_path / "run", tmp_path / "tiny.safetensors").model, "cpu")
    assert codec.knows_realism
    gains, losses = [], []
    for path in sorted(photographs.iterdir()):
        pixels = np.asarray(Image.open(path))
        data = codec.compress(pixels, quality=100)
        assert codec.verify(data).latents_ok
        still = psnr(pixels, np.asarray(codec.decompress(data, realism=0.0)))
        gains.append(still - psnr(pixels, pixels.mean((0, 1))))
        losses.append(still - psnr(pixels, np.asarray(codec.decompress(data, realism=1.0))))
    assert min(gains) > 4
    assert max(losses) < 3  # stage 2 stays near the image


def test_rate_controller_reaches_its_target(photographs: Path, tmp_path: Path) -> None:
    """Mean rate of the last fifth of a run within 3 % of the target."""
    values = "steps=400 realism.begin=1000000 rate.bpp=0.2 rate.warmup=40 rate.lambda_above=2 rate.lambda_below=0.125"
    values += " rate.smoothing=0.9 rate_distortion.losses.mse=150 ema=0 decay=0.01"
    chosen = recipe("tiny", dict(pair.split("=") for pair in values.split()))
    run(chosen, [str(photographs)], tmp_path, options=Options(save_every=1000, log_every=1))
    rates = [json.loads(line)["bpp"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert np.mean(rates[-80:]) == pytest.approx(0.2, rel=0.03)
