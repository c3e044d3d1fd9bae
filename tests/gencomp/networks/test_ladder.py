"""The ladder's parts: densities under gains, the variational autoencoder, JPEG as training sees it."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from gencomp.bitstream import ModelError
from gencomp.entropy.hybrid import Hybrid
from gencomp.entropy.jpeg import decode_plane, encode_plane
from gencomp.networks.ladder.autoencoder import AutoencoderConfig, AutoencoderNetwork
from gencomp.networks.ladder.balle2017 import Balle2017Config, Balle2017Network
from gencomp.networks.ladder.factorized import FactorizedCodec
from gencomp.networks.ladder.hybrid import HybridConfig, HybridNetwork, enlarged, jpeg_steps, reduced
from gencomp.networks.ladder.jpeg import jpeg_planes
from gencomp.networks.ladder.theis2017 import GaussianScaleMixture, Theis2017Config, Theis2017Network
from gencomp.networks.ladder.vae import VaeConfig, VaeNetwork, kl_bits, to_normal
from gencomp.networks.priors import FactorisedPrior

STEPS = torch.tensor([0, 500, 1024])
SMALL = VaeConfig(6, (4, 4, 4))


def codecs() -> list[FactorizedCodec]:
    torch.manual_seed(0)
    return [Balle2017Network(Balle2017Config(4)), Theis2017Network(Theis2017Config(8, (4, 4)))]


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 1])
def test_probabilities_sum_to_one_at_every_quality(index: int) -> None:
    network = codecs()[index]
    gain = network.encode_gain(STEPS)
    symbols = torch.arange(-400, 401.0)[None, None, None].expand(3, gain.shape[1], 1, -1)
    torch.testing.assert_close(network.mass(symbols, gain).sum((2, 3)), torch.ones(gain.shape[:2]), atol=1e-3, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("prior", [FactorisedPrior(2), GaussianScaleMixture(2)], ids=["logistics", "Gaussians"])
def test_three_times_as_fine_a_grid_divides_every_bin_in_three(prior: FactorisedPrior | GaussianScaleMixture) -> None:
    channels = 2 if isinstance(prior, FactorisedPrior) else 8
    coarse = torch.arange(-5, 6.0)[None, None, None].expand(1, channels, 1, -1)
    one = torch.ones(1, channels, 1, 1)
    parts = sum(prior.mass(3 * coarse + offset, 3 * one) for offset in (-1, 0, 1))
    torch.testing.assert_close(prior.mass(coarse, one), parts, rtol=1e-3, atol=1e-6)


@torch.no_grad()
def test_the_density_of_a_mixture_is_what_its_bins_integrate() -> None:
    prior, gain = GaussianScaleMixture(1), torch.full((1, 4, 1, 1), 1.7)
    noise = (torch.arange(1000) + 0.5) / 1000 - 0.5
    for y in (0.0, 1.0, 4.0):
        mean = prior.density((y + noise).expand(1, 4, 1, -1), gain).mean(3)
        torch.testing.assert_close(mean, prior.mass(torch.full((1, 4, 1, 1), y), gain)[..., 0], rtol=1e-3, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 1])
def test_noise_charges_no_less_than_rounding_on_the_mean(index: int) -> None:
    """What training pays is a bound on what a file takes: for latents that spread over many bins, close above it."""
    network = codecs()[index]
    gain = network.encode_gain(torch.tensor([512]))
    y = 3 * torch.randn(1, gain.shape[1], 100, 100)
    noise = torch.rand_like(y) - 0.5
    if isinstance(network, Theis2017Network):
        paid = -torch.log2(network.prior.density(torch.round(y) + noise, gain)).mean()
    else:
        paid = network.bits(y + noise, gain).mean()
    taken = network.bits(torch.round(y), gain).mean()
    assert 0.999 * float(taken) <= float(paid) < 1.15 * float(taken)


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


@pytest.mark.parametrize("step", [1, 3, 16, 60])
def test_training_sees_the_planes_and_the_bits_of_the_coder(step: int) -> None:
    rng = np.random.default_rng(0)
    smooth = 40 * np.cumsum(rng.normal(size=(50, 43)), 0) / 5 + 128 + rng.normal(size=(50, 43)) * 6
    planes = np.stack([smooth, rng.integers(0, 256, smooth.shape)]).clip(0, 255).astype(np.uint8)
    scans = [encode_plane(plane, step) for plane in planes]
    written = sum(8 * (len(scan) - scan.count(b"\xff\0")) for scan in scans)
    decoded = np.stack([decode_plane(scan, 50, 43, step) for scan in scans])
    given = torch.from_numpy(planes).float()[None] - 128
    seen, bits = jpeg_planes(given, torch.tensor([step]))
    assert float(bits[0]) == pytest.approx(written, rel=0.01)
    off = np.abs(seen[0].numpy() + 128 - decoded)
    assert np.mean(off <= 1) > 0.8  # else a coefficient halfway went to the other side
    both, twice = jpeg_planes(torch.cat([given, given]), torch.tensor([step, 2 * step]))
    assert torch.equal(both[:1], seen)
    assert twice[1] < twice[0]


def test_a_thumbnail_of_bytes_stands_for_the_means_of_the_image() -> None:
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    thumbnail = reduced(x)
    assert thumbnail.shape == (1, 3, 4, 6)
    flat = x.mean((2, 3), keepdim=True).expand(1, 3, 32, 48)
    assert torch.allclose(enlarged(reduced(flat)), flat, atol=1e-5)
    white = reduced(torch.ones(1, 3, 8, 8))[0, :, 0, 0] * 64 + 128
    assert torch.allclose(white, torch.tensor([255.0, 128.0, 128.0]), atol=1e-3)


def test_the_steps_in_training_are_those_of_the_file() -> None:
    network = HybridNetwork(HybridConfig(width=8, learned_channels=8)).eval()
    model = Hybrid(jpeg_steps(network.config).numpy(), None)  # type: ignore[arg-type]
    steps = torch.arange(1025)
    assert network.steps_at(steps).tolist() == [model.step_at(step) for step in range(1025)]
