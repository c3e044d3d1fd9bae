"""One real step of HiFiC's recipes."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from gencomp.perceptual import networks_present
from gencomp.train.data.batches import StepSampler, batches, open_data
from gencomp.train.resume import build_stage
from gencomp.train.settings import recipe
from gencomp.train.steps import train_step
from gencomp.train.throughput import made_up_batch


@pytest.mark.parametrize("name", ["hific-lo", "hific-mi", "hific-hi"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_real_step_of_each_recipe(photographs: Path, name: str, number: int) -> None:
    """hific-lo's stage 2 at the paper's widths, the others narrow; without LPIPS, whose weights are not here."""
    values = {"batch": "1", "crop": "64", "workers": "0", "precision": "no"}
    values |= {f"{stage}.losses.lpips_alex": "0" for stage in ("rate_distortion", "realism")}
    if (name, number) != ("hific-lo", 1):
        values |= {"model.widths": "4,8,8,16,16", "model.latent_channels": "8", "model.hyper_channels": "8"}
        values |= {"realism.discriminators.patch.width": "8"}
    chosen = recipe(name, values)
    stage = build_stage(chosen, Accelerator(cpu=True), number)
    sampler = StepSampler(chosen, stage.step, stage.step + 1)
    network = stage.players.codec.module
    before = [p.detach().clone() for p in list(network.parameters())[:3]]
    data = open_data([str(photographs)], streamed=False)
    metrics = train_step(stage, next(iter(batches(data, chosen, sampler))))
    assert all(torch.isfinite(v).all() for v in metrics.values())
    assert ("d_loss" in metrics) == (number == 1)
    assert float(metrics["price"]) == 0.5 * 2**-4  # nothing is known of the rate yet, and it is early
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters()))


@pytest.mark.skipif("alex" not in networks_present(), reason="without AlexNet's weights: gencomp weights --download")
def test_a_reduced_recipe_learns_with_its_lpips_loss() -> None:
    """The published loss on one batch, in the stage before the discriminator and in that with it."""
    values = {"batch": "2", "crop": "64", "workers": "0", "precision": "no", "learning_rate": "0.002", "steps": "60"}
    values |= {"model.widths": "8,8,16,16,32", "model.latent_channels": "16", "model.hyper_channels": "8"}
    chosen = recipe("hific-lo", values | {"realism.discriminators.patch.width": "8", "realism.begin": "30"})
    for number in (0, 1):
        stage = build_stage(chosen, Accelerator(cpu=True), number)
        assert {term.name for term in stage.terms} == {"mse", "lpips_alex"}
        pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        batch = made_up_batch(chosen, 2)._replace(
            pixels=(255 * F.interpolate(pixels, 64, mode="bicubic")).clamp(0, 255).byte()
        )
        losses = [float(train_step(stage, batch)["lpips_alex"]) for _ in range(30)]
        assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
