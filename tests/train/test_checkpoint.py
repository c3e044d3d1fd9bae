"""Checkpoints: whole or not at all, read as they were written."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from gencomp.train.checkpoint import (
    Checkpoint,
    CheckpointError,
    checkpoints,
    exported,
    load_checkpoint,
    save_checkpoint,
    starting_point,
)
from gencomp.train.export import export


def test_full_disk_is_safe(trained: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "checkpoints" / "step-00000004.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(checkpoints(trained)[0].read_bytes())
    monkeypatch.setattr("gencomp.files.os.fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(tmp_path, load_checkpoint(checkpoints(trained)[-1]))
    assert [p.name for p in kept.parent.iterdir()] == [kept.name]
    assert load_checkpoint(kept).step == 4


def test_only_checkpoints_that_the_run_wrote_are_deleted_or_gone_on_from(tmp_path: Path) -> None:
    def step(number: int) -> Path:
        return save_checkpoint(tmp_path, Checkpoint(number, {}, {"codec.a": torch.zeros(2)}), keep=1)

    first = step(3)
    mine = [f"step-{name}.safetensors" for name in ("00000003-good", "best", "00000099", "3")]
    for name in mine:
        (first.parent / name).write_bytes(first.read_bytes())
    other = first.with_name("step-00000002.safetensors")  # of another run, put here by hand
    save_checkpoint(tmp_path / "other", Checkpoint(2, {}, {"codec.a": torch.ones(2)})).rename(other)
    for number in (6, 9):
        step(number)
    left = {path.name for path in first.parent.glob("*.safetensors")}
    assert left == {*mine, other.name, "step-00000009.safetensors"}
    assert [path.name for path in checkpoints(tmp_path)] == [other.name, "step-00000009.safetensors"]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * 100])
def test_damaged_checkpoint_is_named(trained: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "step-00000008.safetensors"
    path.write_bytes(damage(checkpoints(trained)[-1].read_bytes()))
    with pytest.raises(CheckpointError, match=path.name):
        load_checkpoint(path)


def test_weights_come_from_runs_checkpoints_and_models(trained: Path, tmp_path: Path) -> None:
    export(trained, tmp_path / "m.safetensors")
    from_run, from_file = starting_point(trained).codec, starting_point(checkpoints(trained)[-1]).codec
    from_model = starting_point(tmp_path / "m.safetensors").codec
    assert from_run.keys() == from_file.keys() == from_model.keys()
    for name, value in from_run.items():
        torch.testing.assert_close(from_model[name], value, atol=1e-3, rtol=1e-3)
    (tmp_path / "x.safetensors").write_bytes(b"?")
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        starting_point(tmp_path / "x.safetensors")


def test_checkpoint_without_average_exports_plain_weights() -> None:
    tensors = {"codec.a": torch.ones(2), "codec/optimiser.0.step": torch.ones(1)}
    assert exported(tensors).keys() == {"a"}
    assert exported({**tensors, "ema.a": torch.zeros(2)})["a"].sum() == 0


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    saved = Checkpoint(3, {"window": {"sums": [0.1 + 0.2]}}, {"w": weight})
    again = load_checkpoint(save_checkpoint(tmp_path, saved))
    assert (again.step, again.meta) == (3, saved.meta)
    assert torch.equal(again.tensors["w"], saved.tensors["w"])
