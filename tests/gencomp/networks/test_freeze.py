"""Float priors to exact integer models: the price in bits, and tables fitted to what is coded."""

import dataclasses

import numpy as np
import pytest
import torch

from gencomp.entropy import KINDS
from gencomp.entropy.constants import LEVELS, SIGMA_MAX, SIGMA_MIN
from gencomp.entropy.contract import Arithmetic, Latents
from gencomp.entropy.evaluate import Evaluation
from gencomp.entropy.hyperprior import Hyperprior
from gencomp.entropy.tables import TOTAL, default_tables, sigma_of_level
from gencomp.networks.contract import Calibration
from gencomp.networks.freeze import float_pass, freeze_prior, freeze_sets, latents_of, rate_change, with_fitted_tables
from gencomp.networks.hific import HificConfig, HificPrior
from gencomp.networks.ladder.counted import counted_masses
from gencomp.networks.priors import Prior, PriorConfig

ARITHMETICS: tuple[Arithmetic, ...] = ("float64", "int64")


@pytest.fixture
def prior() -> Prior:
    torch.manual_seed(3)
    return Prior(16, PriorConfig(hyper_channels=8, hyper_width=16, feature_width=16)).eval()


def test_a_frozen_prior_costs_nearly_what_the_float_prior_does(prior: Prior) -> None:
    drawn = [
        Calibration(torch.randn(1, 16, 8, 8), torch.randint(-2, 3, (1, 8, 2, 2)).float(), step)
        for step in (0, 512, 1024)
    ]
    frozen = freeze_prior(prior, drawn[:2])
    assert rate_change(lambda image: float_pass(prior, image).bits, frozen, drawn[2:]) < 0.005
    assert float_pass(prior, drawn[2]).bits > 100


def test_a_mean_and_scale_hyperprior_keeps_its_rate_and_its_latents_come_back() -> None:
    torch.manual_seed(2)
    prior = HificPrior(HificConfig(latent_channels=6, hyper_channels=8)).eval()
    with torch.no_grad():
        for parameter in (*list(prior.mean.parameters())[-2:-1], *list(prior.scale.parameters())[-2:-1]):
            parameter.mul_(20)
        list(prior.scale.parameters())[-1].add_(1.5)
    drawn = []
    with torch.no_grad():
        for _ in range(4):
            z_hat = torch.randint(-3, 4, (1, 8, 3, 4)).float()
            mean, scale = prior.mean_and_scale(z_hat, 9, 13)
            drawn.append(Calibration(mean + scale.clamp(min=SIGMA_MIN) * torch.randn(mean.shape), z_hat, 0))
    frozen = prior.freeze(drawn[:2])
    assert isinstance(frozen, Hyperprior)
    assert (frozen.kind, frozen.quality_inputs, frozen.hyper_stride) == ("hyperprior", 0, 4)
    change = rate_change(lambda image: prior.bits_of(image.y, image.z_hat), frozen, drawn[2:])
    assert abs(change) < 0.005
    again = KINDS[frozen.kind](frozen.arrays())
    coded = frozen.encode(latents_of(drawn[3]), 0, Evaluation(check=True))
    for arithmetic in ARITHMETICS:
        assert np.array_equal(
            again.decode(coded.payload, 9, 13, 0, Evaluation(arithmetic=arithmetic)).y_int, coded.y_int
        )
    mean, scale = prior.mean_and_scale(drawn[3].z_hat, 9, 13)  # type: ignore[arg-type]
    z = drawn[3].z_hat[0].int().numpy()  # type: ignore[index]
    raw = frozen.features(z, 0, Evaluation())[:9, :13].transpose(2, 0, 1)
    assert np.abs(raw[:6] / 64 - mean[0].detach().numpy()).max() < 0.1
    sigma = np.array([sigma_of_level(level) for level in range(LEVELS)])[frozen.level_of(raw[6:])]
    wanted = np.clip(scale[0].detach().numpy(), SIGMA_MIN, SIGMA_MAX)
    assert np.abs(np.log(sigma / wanted)).max() < 0.1  # half a level is 0.05


@torch.no_grad()
def test_counted_sets_cost_what_the_counts_say_at_every_quality() -> None:
    """Latents that the quality scales, against the entropy of their own histogram."""
    draw = torch.Generator().manual_seed(5)
    spread = torch.tensor([0.02, 0.7, 4.0])[:, None] * torch.randn(3, 4096, generator=draw)

    def symbols(step: int) -> torch.Tensor:
        return torch.round(spread * 2 ** (step / 256))

    frozen = freeze_sets(lambda step: counted_masses(symbols(step), 1023), sets=5)
    for step in (0, 256, 600, 1024):
        y = symbols(step).reshape(3, 64, 64)
        histograms = [np.unique(channel, return_counts=True)[1] for channel in y.numpy()]
        entropy = sum(float(-(n * np.log2(n / n.sum())).sum()) for n in histograms)
        coded = frozen.encode(Latents(y.numpy(), None), step)
        near = step % 256 == 0  # of a quality between two sets the nearer one serves
        assert entropy <= coded.bits * 1.001
        assert coded.bits < (1.02 if near else 1.1) * entropy + 64
        assert np.array_equal(frozen.decode(coded.payload, 64, 64, step).y_int, coded.y_int)


def test_what_was_never_counted_can_be_coded() -> None:
    frozen = freeze_sets(lambda step: counted_masses(torch.zeros(2, 100), 1023), sets=2)
    y = np.full((2, 3, 3), 7.0, np.float32)
    coded = frozen.encode(Latents(y, None), 512)
    assert np.array_equal(frozen.decode(coded.payload, 3, 3, 512).y_int, 64 * y)


def test_fitted_tables_take_fewer_bits_of_other_images_and_give_the_same_latents(prior: Prior) -> None:
    peaked = torch.distributions.Laplace(0.0, 0.3)
    drawn = [
        Calibration(peaked.sample((1, 16, 24, 24)), torch.randint(-2, 3, (1, 8, 6, 6)).float(), step)
        for step in (0, 512, 1024, 600)
    ]
    frozen = freeze_prior(prior, drawn[:1])
    before = dataclasses.replace(frozen, tables=default_tables(frozen.tables.z))
    after = with_fitted_tables(before, drawn[:3])
    for model in (before, after):
        assert all(int(table.sum()) == TOTAL and table.min() >= 1 for table in model.tables.y)
    latents, step = latents_of(drawn[3]), drawn[3].quality_step
    old, new = before.encode(latents, step, Evaluation(check=True)), after.encode(latents, step, Evaluation(check=True))
    assert new.bits < 0.97 * old.bits
    assert np.array_equal(new.y_int, old.y_int)
    assert np.array_equal(after.decode(new.payload, 24, 24, step).y_int, new.y_int)


def test_levels_that_were_never_seen_keep_their_tables(prior: Prior) -> None:
    zeros = Calibration(torch.zeros(1, 16, 8, 8), torch.zeros(1, 8, 2, 2), 512)
    model = freeze_prior(prior, [zeros])
    seen = set(np.concatenate([levels for _, levels in model.symbols(latents_of(zeros), 512)]).tolist())
    fitted = with_fitted_tables(model, [zeros])
    for level, (a, b) in enumerate(zip(model.tables.y, fitted.tables.y, strict=True)):
        assert level in seen or np.array_equal(a, b)
