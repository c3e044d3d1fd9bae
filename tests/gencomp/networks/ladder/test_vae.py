"""The variational autoencoder: its rate, its noise, its grid, and images of its prior."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gencomp.bitstream import ModelError
from gencomp.networks.ladder.autoencoder import AutoencoderConfig, AutoencoderNetwork
from gencomp.networks.ladder.vae import VaeConfig, VaeNetwork, kl_bits, to_normal

SMALL = VaeConfig(6, (4, 4, 4))


def test_the_rate_is_the_divergence_from_a_normal() -> None:
    mean, deviation = torch.randn(3, 4, 2, 2), torch.rand(3, 4, 2, 2) + 0.1
    wanted = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum((1, 2, 3)) / math.log(2)
    torch.testing.assert_close(kl_bits(mean, deviation.log()), wanted, rtol=1e-4, atol=1e-4)


def test_uniform_noise_becomes_normal_and_stays_finite() -> None:
    noise = to_normal(torch.linspace(-0.5, 0.5, 100_001))
    assert noise.isfinite().all()
    assert abs(float(noise.mean())) < 1e-4
    assert float(noise.std()) == pytest.approx(1, abs=2e-3)
    assert float((noise.abs() < 1).float().mean()) == pytest.approx(0.6827, abs=1e-3)


@torch.no_grad()
def test_rounding_at_the_middle_quality_errs_as_the_posterior_does() -> None:
    torch.manual_seed(0)
    network, step = VaeNetwork(SMALL), torch.tensor([512])
    network.posterior.log_width.add_(torch.linspace(-2, 1, 6)[:, None, None])
    u = 40 * torch.randn(1, 6, 64, 64)
    unit = network.condition(torch.ones_like(u), step)
    error = (network.condition(torch.round(u / unit), step) - u).std((0, 2, 3))
    torch.testing.assert_close(error, network.posterior.log_width.exp().flatten(), rtol=0.05, atol=0.0)


@torch.no_grad()
def test_latents_of_the_prior_are_normal_at_every_quality_and_repeatable() -> None:
    network = VaeNetwork(SMALL)
    for quality_step in (0, 700):
        step = torch.tensor([quality_step])
        drawn, again = (network.draw_prior(40, 30, step, torch.Generator().manual_seed(3)) for _ in range(2))
        assert torch.equal(drawn, again)
        assert float(network.condition(drawn, step).std()) == pytest.approx(1, abs=0.03)
        assert network.synthesize(drawn, step, torch.zeros(1)).shape == (1, 3, 640, 480)


def test_a_family_without_a_prior_says_so() -> None:
    with pytest.raises(ModelError, match="autoencoder"):
        AutoencoderNetwork(AutoencoderConfig(4, (4, 4, 4))).draw_prior(1, 1, torch.tensor([0]), torch.Generator())
