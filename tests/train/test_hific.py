"""One real step of HiFiC's recipes."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from gencomp.train.data.batches import StepSampler, batches
from gencomp.train.recipes import recipe
from gencomp.train.trainer import Trainer


@pytest.mark.parametrize("name", ["hific-lo", "hific-mi", "hific-hi"])
@pytest.mark.parametrize("stage", [1, 2])
def test_a_real_step_of_each_recipe(photographs: Path, name: str, stage: int) -> None:
    """hific-lo's stage 2 at the paper's widths, the others narrow; without LPIPS, whose weights are not here."""
    values = {"batch": "1", "crop": "64", "losses.lpips": "0", "workers": "0", "precision": "no"}
    if (name, stage) != ("hific-lo", 2):
        values |= {"model.widths": "4,8,8,16,16", "model.latent_channels": "8", "model.hyper_channels": "8"}
        values |= {"discriminator.width": "8"}
    chosen = recipe(name, values)
    trainer = Trainer(chosen, Accelerator(cpu=True), stage)
    sampler = StepSampler(chosen, trainer.step, trainer.step + 1)
    before = [p.detach().clone() for p in list(trainer.model.parameters())[:3]]
    figures = trainer.train_step(next(iter(batches([str(photographs)], chosen, sampler))))
    assert all(torch.isfinite(v).all() for v in figures.values())
    assert ("d_loss" in figures) == (stage == 2)
    assert float(figures["price"]) == 2 * 2**-4  # nothing is known of the rate yet, and it is early
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))
