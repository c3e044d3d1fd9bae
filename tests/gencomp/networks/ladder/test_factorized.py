"""Latents under gains: one density of unscaled latents gives the probabilities of every quality."""

import pytest
import torch

from gencomp.networks.ladder.balle2017 import Balle2017Config, Balle2017Network
from gencomp.networks.ladder.factorized import FactorizedCodec
from gencomp.networks.ladder.theis2017 import GaussianScaleMixture, Theis2017Config, Theis2017Network
from gencomp.networks.priors import FactorisedPrior

STEPS = torch.tensor([0, 500, 1024])


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
