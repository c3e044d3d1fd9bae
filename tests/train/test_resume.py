"""Checkpoints, whole or not at all, and where runs begin: at one, at another model, or nowhere, which is said."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file

import gencomp.train.loop
from gencomp.perceptual.weights import WeightsError
from gencomp.train.checkpoint import (
    Checkpoint,
    CheckpointError,
    checkpoints,
    exported,
    load_checkpoint,
    save_checkpoint,
    starting_point,
)
from gencomp.train.data.batches import Batch
from gencomp.train.data.sources import DataError
from gencomp.train.export import data_of, export
from gencomp.train.loop import RunOptions, Stopped, run
from gencomp.train.procedures.contract import Metrics, Stage
from gencomp.train.resume import agreed, build_stage, model_file
from gencomp.train.settings import recipe

from .conftest import FAST, NEVER, lines, same_end, small

CHANGED: list[Any] = [({"model.transform.latent_channels": "16"}, "another network"), ({"steps": "6"}, "already")]
CHANGED += [({"steps": "20", "begin": "12"}, "back to rate_distortion")]


def test_sigterm_costs_nothing(
    trained: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = gencomp.train.loop.train_step

    def interrupted(stage: Stage, batch: Batch) -> Metrics:
        if stage.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(stage, batch)

    monkeypatch.setattr(gencomp.train.loop, "train_step", interrupted)
    with pytest.raises(Stopped, match="step 6"):
        run(small(), [str(photographs)], tmp_path, options=FAST)
    monkeypatch.undo()
    run(small(), [str(photographs)], tmp_path, options=FAST)
    assert [line["step"] for line in lines(tmp_path) if "resumed_from" in line] == [6]
    assert same_end(trained, tmp_path)


@pytest.mark.parametrize(("values", "said"), CHANGED)
def test_what_does_not_go_on_is_refused(trained: Path, photographs: Path, values: dict[str, str], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        run(small(**values), [str(photographs)], trained, options=FAST)


def copied(run_folder: Path, to: Path) -> Path:
    shutil.copytree(run_folder, to)
    return to


def test_a_run_without_start_leaves_nothing(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    with pytest.raises(CheckpointError, match="--init"):
        run(small(begin="0"), [str(photographs)], out, options=FAST)
    absent = small(begin="0", **{"realism.trains": "all", "realism.losses.lpips_alex": "1"})
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    with pytest.raises(WeightsError, match="alexnet"):
        run(absent, [str(photographs)], out, options=FAST)
    with pytest.raises(DataError):
        run(small(), [str(tmp_path / "absent")], out, options=FAST)
    with pytest.raises(ValueError, match=r"tracker|nobody"):
        run(small(), [str(photographs)], out, options=RunOptions(trackers=("nobody",)))
    assert not out.exists()


def test_changes_are_said_and_logged(
    trained: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(trained, tmp_path / "run")
    run(small(steps="9", learning_rate="0.001"), [str(photographs)], out, options=FAST)
    (line,) = [line for line in lines(out) if "resumed_from" in line]
    assert line["changed"] == {"steps": [8, 9], "learning_rate": [0.002, 0.001]}
    assert "learning_rate was 0.002, is 0.001" in capsys.readouterr().out
    assert json.loads((out / "recipe.json").read_text())["learning_rate"] == 0.001


def test_other_photographs_are_said_logged_and_kept_beside_the_earlier_ones(
    trained: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = copied(trained, tmp_path / "run"), copied(photographs, tmp_path / "other")
    (other / "results.zip").touch()
    run(small(steps="9"), [str(other)], out, options=FAST)
    said = capsys.readouterr().out
    assert f"data was {photographs}, is {other}" in said
    assert "Left out of the photographs: files of another kind: 1" in said
    (line,) = [line for line in lines(out) if "resumed_from" in line]
    assert line["changed"]["data"] == [[str(photographs)], [str(other)]]
    facts = json.loads((out / "data.json").read_text())
    assert (facts["data"], facts["earlier"]) == ([str(other)], [{"data": [str(photographs)], "to_step": 8}])
    assert data_of(out).names == [str(other), str(photographs)]


def test_processes_share_one_checkpoint(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stale disk shows here is older than what was broadcast."""
    out = copied(trained, tmp_path / "run")
    checkpoints(out)[-1].rename(tmp_path / "step-00000008.safetensors")
    assert agreed(out) == checkpoints(out)[0]

    def first_says(names: list[object]) -> None:
        names[0] = "step-00000008.safetensors"

    monkeypatch.setattr("gencomp.train.resume.broadcast_object_list", first_says)
    assert agreed(out) == out / "checkpoints" / "step-00000008.safetensors"
    with pytest.raises(CheckpointError, match="step-00000008"):
        load_checkpoint(out / "checkpoints" / "step-00000008.safetensors")


def test_init_from_a_run_brings_its_discriminator(trained: Path) -> None:
    start = starting_point(trained)
    stage = build_stage(small(begin="0"), Accelerator(cpu=True), 1)
    stage.procedure.begin_stage(stage, start, None)
    (opponent,) = stage.players.opponents()
    state = opponent.module.state_dict()
    assert state
    assert all(torch.equal(value, start.others[f"patch.{name}"]) for name, value in state.items())
    other = build_stage(small(begin="0", **{"realism.discriminators.patch.width": "8"}), Accelerator(cpu=True), 1)
    with pytest.raises(CheckpointError, match="discriminator of --init is another"):
        other.procedure.begin_stage(other, start, None)


def test_a_run_takes_the_network_of_its_init(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, key = tmp_path / "first", tmp_path / "second", "model.transform.latent_channels"
    run(small(steps="2", **{key: "12"}), [str(photographs)], first, options=FAST)
    on = small(steps="2", begin="0")
    run(on, [str(photographs)], second, init=first, options=FAST)
    assert f"as in --init: {key} is 12, not the recipe's 32" in capsys.readouterr().out
    assert starting_point(second).network == starting_point(first).network
    run(dataclasses.replace(on, steps=3), [str(photographs)], second, init=first, options=FAST)
    assert "resumed_from" in lines(second)[-1]
    assert "model.transform.latent_channels" not in lines(second)[-1]["changed"]
    with pytest.raises(CheckpointError, match=r"another network: \S+ is \(.*\) there and \(.*\) here$"):
        run(small(begin="0", **{key: "8"}), [str(photographs)], tmp_path / "no", init=first, options=FAST)


def test_a_network_of_another_family_is_refused(trained: Path, photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="another network"):
        run(recipe("balle2017", {"precision": "no"}), [str(photographs)], tmp_path, init=trained, options=FAST)


def test_init_knows_the_embedded_model_by_name() -> None:
    start = starting_point(model_file("gencomp-base"))
    assert start.codec
    assert not start.others
    stage = build_stage(recipe("base", {"precision": "no"}), Accelerator(cpu=True), 0)
    stage.procedure.begin_stage(stage, start, None)


def test_checkpoints_of_before_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "step-00000001.safetensors"
    path.parent.mkdir()
    save_file({"model.a": torch.zeros(1)}, path, {"format": "gencomp-run-2", "step": "1", "meta": "{}"})
    for read in (load_checkpoint, starting_point):
        with pytest.raises(CheckpointError, match=r"another version of gencomp.*--init"):
            read(path)


def test_checkpoints_come_by_time_as_well_as_by_steps(photographs: Path, tmp_path: Path) -> None:
    chosen = small(steps="3", begin=NEVER)
    run(chosen, [str(photographs)], tmp_path / "often", options=RunOptions(save_minutes=1e-9, keep=10))
    run(chosen, [str(photographs)], tmp_path / "seldom", options=RunOptions(save_minutes=60, keep=10))
    assert [len(checkpoints(tmp_path / name)) for name in ("often", "seldom")] == [3, 1]


def test_full_disk_is_safe(trained: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "checkpoints" / "step-00000004.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(checkpoints(trained)[0].read_bytes())
    monkeypatch.setattr("gencomp.files.os.fsync", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(tmp_path, load_checkpoint(checkpoints(trained)[-1]))
    assert ([p.name for p in kept.parent.iterdir()], load_checkpoint(kept).step) == ([kept.name], 4)


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


def test_runs_are_looked_at_while_they_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that is deleted between listing and reading is none, one that goes while it is read is named."""
    kept, gone = (save_checkpoint(tmp_path, Checkpoint(n, {}, {"codec.a": torch.zeros(2)})) for n in (1, 2))
    mapped = torch.UntypedStorage.from_file

    def late(name: str, *arguments: Any, **options: Any) -> Any:
        gone.unlink(missing_ok=True)
        return mapped(name, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch.UntypedStorage, "from_file", late)
        assert checkpoints(tmp_path) == [kept, gone]
        with pytest.raises(CheckpointError, match=gone.name):
            load_checkpoint(gone)
    gone.symlink_to(tmp_path / "nowhere")
    assert checkpoints(tmp_path) == [kept]


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
