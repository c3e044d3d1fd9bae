"""Runs to model files: what is kept, what is rescaled, what is equal; models in eight bits; the recipe `tiny`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gencomp.bitstream import ModelError
from gencomp.codec import Codec
from gencomp.model import load_model
from gencomp.networks import network_of
from gencomp.train.checkpoint import CheckpointError, checkpoints
from gencomp.train.cli import int8
from gencomp.train.export import export, quantise
from gencomp.train.loop import RunOptions, run
from gencomp.train.settings import recipe

from .conftest import NEVER, lines, small

GOLDEN = Path(__file__).parents[1] / "golden"


def test_realism_is_rescaled_in_the_exported_model_and_only_after_stage_two(trained: Path, tmp_path: Path) -> None:
    first, last = checkpoints(trained)
    with pytest.raises(CheckpointError, match="no realism to rescale"):
        export(first, tmp_path / "early.safetensors", realism_scale=0.5)
    assert not (tmp_path / "early.safetensors").exists()
    whole, half = (export(last, tmp_path / f"{r}.safetensors", realism_scale=r).model for r in (1.0, 0.5))
    y, step = torch.randn(1, 32, 4, 4), torch.tensor([512])
    with torch.no_grad():
        wanted = network_of(whole).synthesize(y, step, torch.tensor([0.5]))
        given = network_of(half).synthesize(y, step, torch.tensor([1.0]))
    assert torch.allclose(wanted, given, atol=1e-3)
    assert whole.id == half.id


def test_weights_are_averaged_with_a_model_of_the_same_network(trained: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.safetensors" for name in ("first", "last", "mean")]
    first, last = (export(run, file).model for run, file in zip(checkpoints(trained), files))
    mean = export(trained, files[2], average=(files[0], 0.25)).model
    assert mean.facts["averaged"] == [first.id.hex(), 0.25]
    for name, weight in mean.weights.items():
        expected = 0.75 * last.weights[name].astype(float) + 0.25 * first.weights[name].astype(float)
        assert np.allclose(weight, expected, rtol=2e-3, atol=1e-5)
    assert any(not np.array_equal(first.weights[name], last.weights[name]) for name in first.weights)
    with pytest.raises(CheckpointError, match="another network"):
        export(trained, tmp_path / "none.safetensors", average=(GOLDEN / "tiny.safetensors", 0.5))


def test_equal_runs_export_equal_files_and_old_ones_stay(trained: Path, photographs: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    run(small(), [str(photographs)], again, options=RunOptions(save_every=100, log_every=3))
    one, two = export(trained, tmp_path / "one.safetensors"), export(again, tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    first_stage = export(checkpoints(trained)[0], tmp_path / "first.safetensors")
    assert first_stage.model.id == one.model.id == two.model.id
    assert first_stage.model.facts["lambda_max"] == one.model.facts["lambda_max"] == small().lambda_max
    assert (first_stage.model.facts["realism"], one.model.facts["realism"]) == (False, True)
    old, new = Codec(first_stage.model, "cpu"), Codec(one.model, "cpu")
    image = Image.open(next(photographs.iterdir()))
    data = old.compress(image, quality=50)
    assert data == new.compress(image, quality=50)
    assert np.asarray(new.decompress(data)).shape == (160, 160, 3)


def test_a_run_from_a_model_keeps_its_integers(trained: Path, photographs: Path, tmp_path: Path) -> None:
    base = export(checkpoints(trained)[0], tmp_path / "base.safetensors").model
    other = tmp_path / "other"
    other.mkdir()
    Image.effect_noise((200, 200), 50).convert("RGB").save(other / "noise.png")
    options = RunOptions(save_every=4, log_every=2)
    gan = small(begin="0", steps="2")
    run(gan, [str(other)], tmp_path / "gan", init=tmp_path / "base.safetensors", options=options)
    assert export(tmp_path / "gan", tmp_path / "gan.safetensors").model.id == base.id
    assert load_model(tmp_path / "gan.safetensors").facts["realism"]
    on = small(begin=NEVER, steps="2")
    run(on, [str(other)], tmp_path / "more", init=tmp_path / "base.safetensors", options=options)
    with pytest.raises(ValueError, match="do not belong"):
        export(tmp_path / "more", tmp_path / "more.safetensors", integers=tmp_path / "base.safetensors")


def test_a_model_becomes_one_in_eight_bits_that_reads_the_same_files(photographs: Path, tmp_path: Path) -> None:
    source, out = GOLDEN / "tiny.safetensors", tmp_path / "int8.safetensors"
    said = CliRunner().invoke(int8, [str(source), "--data", str(photographs), "-o", str(out), "--json"])
    assert said.exit_code == 0, said.output
    record = json.loads(said.stdout)
    model, before = load_model(out), load_model(source)
    assert (model.id, record["model"], record["layers"]) == (before.id, before.id.hex(), 18)
    assert model.facts["int8"]
    data = (GOLDEN / "odd.gnc").read_bytes()
    shown = [np.asarray(Codec(m, "cpu", runtime="onnx").decompress(data), np.int16) for m in (before, model)]
    assert np.abs(shown[0] - shown[1]).mean() < 2
    again = tmp_path / "again.safetensors"
    quantise(source, again, [str(photographs)])
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(ModelError, match="already"):
        quantise(out, again, [str(photographs)])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_tiny_overfits_four_images_and_its_export_codes_them_exactly(photographs: Path, tmp_path: Path) -> None:
    """Against a flat image of the mean colour; the bytes decode to the encoder's own latents."""
    run(recipe("tiny"), [str(photographs)], tmp_path / "run", options=RunOptions(save_every=1000))
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
    run(chosen, [str(photographs)], tmp_path, options=RunOptions(save_every=1000, log_every=1))
    rates = [line["bpp"] for line in lines(tmp_path)]
    assert np.mean(rates[-80:]) == pytest.approx(0.2, rel=0.03)
