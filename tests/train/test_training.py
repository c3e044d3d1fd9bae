"""Runs: what each stage trains, what stays as it is, what is saved, and what stops them."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gencomp.train.loop
from gencomp.codec import Codec
from gencomp.model import load_model
from gencomp.networks import build, network_of
from gencomp.networks.contract import freeze_bits
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.perceptual import WeightsError
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
from gencomp.train.export import export
from gencomp.train.loop import Options, Stopped, run
from gencomp.train.recipes import Recipe
from gencomp.train.settings import recipe
from gencomp.train.stage import Metrics, Stage

FAST = Options(save_every=4, log_every=2)


def small(**values: str) -> Recipe:
    return recipe("tiny", {"steps": "8", "adversarial_from": "4", **values})


def lines(run_folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of both stages."""
    out = tmp_path_factory.mktemp("run")
    run(small(), [str(photographs)], out, options=FAST)
    return out


def test_log_has_what_a_watcher_needs(trained: Path) -> None:
    assert [line["step"] for line in lines(trained)] == [2, 4, 6, 8]
    for line in lines(trained):
        assert {
            "step",
            "stage",
            "bpp",
            "psnr",
            "g_loss",
            "d_loss",
            "processes",
            "data_wait",
            "memory_gib",
        } <= line.keys()
    assert [line["stage"] for line in lines(trained)] == [1, 1, 2, 2]
    assert lines(trained)[-1]["d_loss"] > 0
    assert json.loads((trained / "recipe.json").read_text())["steps"] == 8


def test_stage_two_leaves_all_that_decides_bits_alone(trained: Path) -> None:
    first, last = (load_checkpoint(p).tensors for p in checkpoints(trained))
    changed = {k for k, v in exported(last).items() if not torch.equal(v, exported(first)[k])}
    assert changed
    assert all(k.startswith(("synthesis.", "gains.log_decode")) for k in changed)
    codec: Any = build(small().model)
    freeze_bits(codec)
    assert all(p.requires_grad for p in codec.synthesis.parameters())


def test_realism_changes_the_image_only_after_stage_two(trained: Path) -> None:
    config = small().model
    assert isinstance(config, HyperpriorConfig)
    for path, differs in zip(checkpoints(trained), (False, True)):
        codec = HyperpriorNetwork(config)
        codec.load_state_dict(exported(load_checkpoint(path).tensors))
        y, step = torch.randn(1, 32, 4, 4), torch.tensor([512])
        still, real = (codec.synthesize(y, step, torch.tensor([r])) for r in (0.0, 1.0))
        assert torch.equal(still, real) != differs


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


def test_last_checkpoints_are_kept_and_old_ones_dropped(trained: Path) -> None:
    assert [p.name for p in checkpoints(trained)] == ["step-00000004.safetensors", "step-00000008.safetensors"]


def test_equal_runs_export_equal_files_and_stage_two_keeps_old_files(
    trained: Path, photographs: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    run(small(), [str(photographs)], again, options=Options(save_every=100, log_every=3))
    one, two = export(trained, tmp_path / "one.safetensors"), export(again, tmp_path / "two.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    first_stage = export(checkpoints(trained)[0], tmp_path / "first.safetensors")
    assert first_stage.model.id == one.model.id == two.model.id
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
        small(adversarial_from="0", steps="2"),
        [str(other)],
        tmp_path / "gan",
        init=tmp_path / "base.safetensors",
        options=options,
    )
    assert export(tmp_path / "gan", tmp_path / "gan.safetensors").model.id == base.id
    assert load_model(tmp_path / "gan.safetensors").facts["realism"]
    on = small(adversarial_from="none", steps="2")
    run(on, [str(other)], tmp_path / "more", init=tmp_path / "base.safetensors", options=options)
    with pytest.raises(ValueError, match="do not belong"):
        export(tmp_path / "more", tmp_path / "more.safetensors", integers_of=tmp_path / "base.safetensors")


def test_sigterm_saves_and_the_run_goes_on_bit_identical(
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
    whole, stopped = (load_checkpoint(checkpoints(r)[-1]).tensors for r in (trained, tmp_path))
    assert all(torch.equal(v, stopped[k]) for k, v in whole.items())


def test_full_disk_is_an_error_that_loses_nothing(
    trained: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "checkpoints" / "step-00000004.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(checkpoints(trained)[0].read_bytes())

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gencomp.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        save_checkpoint(tmp_path, load_checkpoint(checkpoints(trained)[-1]))
    assert [p.name for p in kept.parent.iterdir()] == [kept.name]
    assert load_checkpoint(kept).step == 4


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * 100])
def test_damaged_checkpoint_is_named(trained: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "step-00000008.safetensors"
    path.write_bytes(damage(checkpoints(trained)[-1].read_bytes()))
    with pytest.raises(CheckpointError, match=path.name):
        load_checkpoint(path)


def test_run_of_another_network_is_refused(trained: Path, photographs: Path) -> None:
    with pytest.raises(CheckpointError, match="another network"):
        run(small(**{"model.transform.latent_channels": "16"}), [str(photographs)], trained, options=FAST)


def test_fewer_steps_than_done_are_refused(trained: Path, photographs: Path) -> None:
    with pytest.raises(CheckpointError, match="already"):
        run(small(steps="6"), [str(photographs)], trained, options=FAST)


def test_gan_without_a_codec_to_start_from_is_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--init"):
        run(small(adversarial_from="0"), [str(photographs)], tmp_path, options=FAST)


def test_absent_weights_are_named_before_anything_is_trained(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="alexnet"):
        run(recipe("tiny", {"adversarial_from": "0", "losses.lpips": "1"}), [str(photographs)], tmp_path, options=FAST)


def test_loss_that_is_not_finite_stops_the_run(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a finite number"):
        run(small(learning_rate="1e30", warmup="0", clip="1e30"), [str(photographs)], tmp_path, options=FAST)


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
    saved = Checkpoint(
        3, {"window": {"sums": [0.1 + 0.2]}}, {"w": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)}
    )
    again = load_checkpoint(save_checkpoint(tmp_path, saved))
    assert (again.step, again.meta) == (3, saved.meta)
    assert torch.equal(again.tensors["w"], saved.tensors["w"])


KINDS = {
    "illm": "discriminator.kind=unet discriminator.labels=8 discriminator.label_steps=2 losses.gan=labels",
    "unet": "discriminator.kind=unet losses.gan=relativistic losses.wasserstein=1",
    "projected": "discriminator.kind=projected discriminator.backbone=test_efficientnet "
    "discriminator.backbone_weights=random losses.gan=hinge",
    "r1": "losses.r1=1 discriminator.scales=2 losses.ms_ssim=1 losses.l1=1",
    "controlled": "trains=all rate.bpp=0.2 ema=0 discriminator.spectral_norm=false",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_stage_two_trains_and_resumes(photographs: Path, tmp_path: Path, kind: str) -> None:
    """Stopped in the middle of stage 2 and taken up again, against the same run unbroken."""
    values = dict(pair.split("=") for pair in KINDS[kind].split())
    chosen = small(**{"discriminator.width": "8", "steps": "6", "adversarial_from": "2", **values})
    run(chosen, [str(photographs)], tmp_path / "whole", options=FAST)
    half = tmp_path / "half"
    (half / "checkpoints").mkdir(parents=True)
    first = checkpoints(tmp_path / "whole")[0]
    (half / "checkpoints" / first.name).write_bytes(first.read_bytes())
    run(chosen, [str(photographs)], half, options=FAST)
    whole, resumed = (load_checkpoint(checkpoints(r)[-1]).tensors for r in (tmp_path / "whole", half))
    assert all(torch.equal(v, resumed[k]) for k, v in whole.items())


def test_compiled_networks_give_the_same_losses(
    trained: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Graphs are captured and differentiated; only the code generator, minutes on a CPU, is left out."""
    compiled, real = list[str](), torch.nn.Module.compile

    def quick(self: torch.nn.Module) -> None:
        compiled.append(type(self).__name__)
        real(self, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", quick)
    run(small(compile="true"), [str(photographs)], tmp_path, options=FAST)
    assert compiled == ["HyperpriorNetwork", "HyperpriorNetwork", "PatchDiscriminator"]
    for one, other in zip(lines(trained), lines(tmp_path)):
        assert one["g_loss"] == pytest.approx(other["g_loss"], rel=1e-4)
    names = [load_checkpoint(checkpoints(r)[-1]).tensors.keys() for r in (trained, tmp_path)]
    assert names[0] == names[1]
