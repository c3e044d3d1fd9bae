"""The synthesis learns as a generator, and what comes after builds around it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from gencomp.networks.contract import TrainingInputs, freeze_synthesis
from gencomp.networks.ladder.santurkar2018 import Santurkar2018Config, Santurkar2018Network
from gencomp.train.checkpoint import CheckpointError, load_checkpoint
from gencomp.train.export import export
from gencomp.train.loop import RunOptions, run
from gencomp.train.procedures.realism import Realism
from gencomp.train.recipe import Recipe, learning_rate_factor, stage_at, stage_spans
from gencomp.train.resume import build_stage
from gencomp.train.settings import RecipeError, check, recipe

from .conftest import half_of, lines, same_end

TINY = {"model.latent_channels": "4", "model.widths": "4,4,4,4,8", "crop": "64"}
TINY |= {"generator.discriminators.patch.width": "4"}
FAST = {"steps": "8", "batch": "2", "workers": "0", "precision": "no", "ema": "0.9", "warmup": "0"}
WRONG: list[Any] = [({"generator.discriminators.patch.condition_channels": "4"}, "of images alone")]
WRONG += [({"generator.discriminators.patch.feature_matching": "1"}, "of images alone")]
WRONG += [({"generator.discriminators.patch": "0"}, "above 0")]


def small(**values: str) -> Recipe:
    return recipe("santurkar2018", {**TINY, **FAST, **values})


@pytest.fixture(scope="module")
def trained(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generator")
    run(small(), [str(photographs)], out, options=RunOptions(save_every=2, keep=9, log_every=1, sample_every=2))
    return out


def weights(folder: Path, step: int, player: str = "codec") -> dict[str, Tensor]:
    tensors = load_checkpoint(folder / "checkpoints" / f"step-{step:08d}.safetensors").tensors
    return {name: value for name, value in tensors.items() if name.startswith(f"{player}.")}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Parts of the network with a weight that differs."""
    return {name.split(".")[1] for name, value in before.items() if not torch.equal(value, after[name])}


def test_stage_0_trains_the_synthesis_alone_and_stage_1_all_else(trained: Path) -> None:
    assert changed(weights(trained, 2), weights(trained, 4)) == {"synthesis"}
    assert changed(weights(trained, 6), weights(trained, 8)) == {"analysis"}
    generator, decoder = weights(trained, 4, "ema"), weights(trained, 8)
    assert changed({k.replace("ema", "codec", 1): v for k, v in generator.items()}, decoder) == {"analysis"}


def test_the_log_says_what_each_stage_has(trained: Path) -> None:
    logged = lines(trained)
    assert [line["stage"] for line in logged] == ["generator"] * 4 + ["rate_distortion"] * 4
    for line in logged[:4]:
        assert line["d_loss"] > 0
        assert line["g_loss"] > 0
        assert "bpp" not in line
    for line in logged[4:]:
        assert line["d_loss"] is None
        assert line["bpp"] > 0


def test_grids_of_stage_0_are_drawn_and_those_of_stage_1_coded(trained: Path) -> None:
    drawn, coded = (Image.open(trained / "samples" / f"step-{step:08d}.png") for step in (2, 6))
    assert drawn.size == (4 * 256, 256)
    assert coded.size == (3 * 256, 4 * 256)
    assert np.ptp(np.asarray(drawn)) > 0


@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_run_goes_on_alike_from_any_stage(trained: Path, photographs: Path, tmp_path: Path, step: int) -> None:
    half = half_of(trained, tmp_path / "half", step)
    run(small(), [str(photographs)], half, options=RunOptions(log_every=1))
    assert same_end(trained, half)


def test_a_run_in_stage_0_is_no_codec_yet(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="stage generator"):
        export(trained / "checkpoints" / "step-00000004.safetensors", tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_stages_follow_one_another_and_share_a_schedule() -> None:
    before = small(steps="200", **{"rate_distortion.begin": "0.2"})
    chosen = dataclasses.replace(before, stages=(*before.stages, Realism(160)))
    assert stage_spans(chosen) == [(0, 40), (40, 160), (160, 200)]
    assert [stage_at(chosen, step) for step in (0, 39, 40, 159, 160)] == [0, 0, 1, 1, 2]
    assert learning_rate_factor(chosen, 39) < 0.1
    assert learning_rate_factor(chosen, 40) == 1


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_what_no_generator_can_be_trained_with_is_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        small(**values)
    with pytest.raises(RecipeError, match="not trained as generators"):
        check(dataclasses.replace(recipe("base"), stages=small().stages))


def test_every_number_of_the_prior_counts() -> None:
    """Another u, another image; and the same u at every quality, the same one."""
    network: Any = build_stage(small(), Accelerator(cpu=True), 0).players.codec.module
    noise = torch.rand(2, 4, 3, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    shown = []
    for quality_step in torch.tensor([[0, 0], [512, 512], [1024, 1024]]):
        y_hat = network.generated_from({"y": noise}, quality_step)
        shown.append(network.synthesize(y_hat, quality_step, torch.zeros(2)))
    assert torch.allclose(shown[0], shown[1], atol=1e-5)
    assert torch.allclose(shown[0], shown[2], atol=1e-5)
    assert not torch.allclose(shown[0][0], shown[0][1], atol=1e-2)


def test_the_encoder_finds_numbers_whose_image_is_near() -> None:
    """On images that a generator of chance can show."""
    torch.manual_seed(3)
    network = Santurkar2018Network(Santurkar2018Config(latent_channels=8, widths=(8, 8, 16, 16, 16)))
    quality_step, none = torch.full((4,), 1024), torch.zeros(4)
    noise = {"y": torch.rand(4, 8, 2, 2) - 0.5}
    with torch.no_grad():
        x = network.synthesize(network.generated_from(noise, quality_step), quality_step, none)
    inputs = TrainingInputs(x, quality_step, none, noise, torch.zeros(4, 2, dtype=torch.long))
    freeze_synthesis(network)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=0.003)
    errors = []
    for _ in range(60):
        error = (network(inputs).x_hat - x).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error))
    assert errors[-1] < 0.5 * errors[0]
