"""HiFiC's networks: sizes, locality of sizes, and one real step of a recipe at the paper's widths."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from gencomp.networks.hific import ChannelNorm, HificCodec, HificConfig
from gencomp.train.data.batches import StepSampler, batches
from gencomp.train.recipes import recipe
from gencomp.train.trainer import Trainer

SMALL = HificConfig(latent_channels=8, widths=(4, 8, 8, 16, 16), residual_blocks=2, hyper_channels=8)


def test_channel_norm_is_zero_mean_and_unit_variance_at_each_position() -> None:
    y = ChannelNorm(64)(5 + 3 * torch.randn(2, 64, 3, 3))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(1), torch.ones(2, 3, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 48), (80, 112)])
def test_pictures_come_back_in_their_size(height: int, width: int) -> None:
    codec = HificCodec(SMALL)
    x, still = torch.rand(2, 3, height, width), torch.zeros(())
    output = codec(x, torch.zeros(2, dtype=torch.long), torch.zeros(2), still, still)
    assert output.x_hat.shape == x.shape
    assert (output.y_bits > 0).all()
    assert (output.z_bits > 0).all()


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
