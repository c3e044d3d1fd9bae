"""Runs: what each stage trains, what stays as it is, and what is logged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gencomp.networks import build
from gencomp.networks.contract import freeze_bits
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.train.checkpoint import CheckpointError, checkpoints, exported, load_checkpoint
from gencomp.train.loop import run

from .conftest import FAST, half_of, lines, same_end, small


def test_log_has_what_a_watcher_needs(trained: Path) -> None:
    assert [line["step"] for line in lines(trained)] == [2, 4, 6, 8]
    watched = ["step", "stage", "bpp", "psnr", "g_loss", "d_loss", "processes", "data_wait", "memory_gib"]
    for line in lines(trained):
        assert line.keys() >= set(watched)
        assert line["processor_seconds"] > 0
    assert [line["stage"] for line in lines(trained)] == ["rate_distortion"] * 2 + ["realism"] * 2
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


def test_loss_that_is_not_finite_stops_the_run(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a finite number"):
        run(small(learning_rate="1e30", warmup="0", clip="1e30"), [str(photographs)], tmp_path, options=FAST)


KINDS = {
    "texture": "losses.wasserstein_laplacian=1 losses.wasserstein_steerable=1 patch.spares_text=0.5",
    "penalty": "patch.r1=1 losses.ms_ssim=1 losses.l1=1",
    "controlled": "trains=all rate.bpp=0.2 rate_distortion.losses.mse=1 ema=0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_stage_two_trains_and_resumes(photographs: Path, tmp_path: Path, kind: str) -> None:
    """Stopped in the middle of stage 2 and taken up again, against the same run unbroken."""
    sections = {"patch": "realism.discriminators.", "losses": "realism.", "trains": "realism."}
    pairs = (pair.split("=") for pair in ["patch.width=8", "steps=6", *KINDS[kind].split()])
    values = {sections.get(key.partition(".")[0], "") + key: value for key, value in pairs}
    chosen = small("2", **values)
    run(chosen, [str(photographs)], tmp_path / "whole", options=FAST)
    run(chosen, [str(photographs)], half_of(tmp_path / "whole", tmp_path / "half"), options=FAST)
    assert same_end(tmp_path / "whole", tmp_path / "half")


def test_compiled_losses_agree(
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
