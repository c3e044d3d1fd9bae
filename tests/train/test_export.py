"""Runs to model files: what is kept, what is rescaled, what is equal."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencomp.codec import Codec
from gencomp.model import load_model
from gencomp.networks import network_of
from gencomp.train.checkpoint import (
    CheckpointError,
    checkpoints,
)
from gencomp.train.export import export
from gencomp.train.loop import Options, run

from .conftest import NEVER, small


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


def test_equal_runs_export_equal_files_and_stage_two_keeps_old_files(
    trained: Path, photographs: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    run(small(), [str(photographs)], again, options=Options(save_every=100, log_every=3))
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


def test_run_from_a_model_keeps_its_integers_on_other_photographs(
    trained: Path, photographs: Path, tmp_path: Path
) -> None:
    base = export(checkpoints(trained)[0], tmp_path / "base.safetensors").model
    other = tmp_path / "other"
    other.mkdir()
    Image.effect_noise((200, 200), 50).convert("RGB").save(other / "noise.png")
    options = Options(save_every=4, log_every=2)
    run(
        small(begin="0", steps="2"),
        [str(other)],
        tmp_path / "gan",
        init=tmp_path / "base.safetensors",
        options=options,
    )
    assert export(tmp_path / "gan", tmp_path / "gan.safetensors").model.id == base.id
    assert load_model(tmp_path / "gan.safetensors").facts["realism"]
    on = small(begin=NEVER, steps="2")
    run(on, [str(other)], tmp_path / "more", init=tmp_path / "base.safetensors", options=options)
    with pytest.raises(ValueError, match="do not belong"):
        export(tmp_path / "more", tmp_path / "more.safetensors", integers_of=tmp_path / "base.safetensors")
