"""The float networks: sizes, costs, locality, and the parts of the probability model."""

import pytest
import torch

from gencomp.networks.contract import TrainingInputs, parameter_count
from gencomp.networks.cost import cost
from gencomp.networks.hific import ChannelNorm, HificConfig, HificNetwork
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.networks.layers import lower_bound, round_straight_through
from gencomp.networks.priors import LEVELS, PriorConfig, gaussian_bits, pass_masks, sigma_of
from gencomp.networks.transforms import KNOTS, SEGMENT, LatentGains, TransformConfig, quality_condition, quality_knots
from gencomp.runtime.tiling import tiles

SMALL = HyperpriorConfig(TransformConfig(8, (8, 8), (1, 1), (8, 8, 8, 8), (1, 1, 1)), PriorConfig(4, 8, 8))
SMALL_HIFIC = HificConfig(latent_channels=8, widths=(4, 8, 8, 16, 16), residual_blocks=2, hyper_channels=8)


def test_the_default_network_keeps_to_its_budget() -> None:
    model = HyperpriorNetwork(HyperpriorConfig())
    assert parameter_count(model) <= 10_000_000
    budget = cost(model)
    assert budget.encoder_kmac <= 40
    assert budget.decoder_kmac <= 60


def test_a_training_pass_gives_pictures_and_positive_rates_and_reaches_every_weight() -> None:
    torch.manual_seed(0)
    model = HyperpriorNetwork(SMALL)
    x, step = torch.rand(2, 3, 64, 64), torch.tensor([0, 1024])
    noise = {stream: torch.rand(2, *shape) - 0.5 for stream, shape in SMALL.noise_shapes(64).items()}
    output = model(TrainingInputs(x, step, torch.ones(2), noise, torch.zeros(2, 2, dtype=torch.long)))
    assert (output.x_hat.shape, set(output.bits)) == (x.shape, {"y", "z"})
    assert all((bits > 0).all() for bits in output.bits.values())
    (output.x_hat.square().mean() + output.bits["y"].mean() + output.bits["z"].mean()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_quality_knots_are_whole_numbers_that_add_up_and_meet_the_knots() -> None:
    knots = quality_knots(torch.arange(1025))
    assert (knots.sum(1) == SEGMENT).all()
    assert (knots >= 0).all()
    for k in range(KNOTS):
        assert knots[k * SEGMENT, k] == SEGMENT


def test_gains_undo_each_other_at_the_start() -> None:
    gains, y = LatentGains(8), torch.randn(3, 8, 2, 2)
    condition = quality_condition(torch.tensor([0, 500, 1024]))
    assert torch.allclose(gains.decode(gains.encode(y, condition), condition), y, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
def test_the_four_passes_cover_every_latent_once_and_touch_every_group(size: tuple[int, int]) -> None:
    masks = pass_masks(8, *size)
    assert (masks.sum(0) == 1).all()


def test_gaussian_bits_are_a_probability_model() -> None:
    offsets = torch.arange(-600, 601).float()
    for level in (0.0, 20.0, LEVELS - 1.0):
        mass = 2 ** -gaussian_bits(offsets, torch.full_like(offsets, level)).double()
        assert abs(float(mass.sum()) - 1) < 1e-3
    assert float(sigma_of(torch.tensor(LEVELS - 1.0))) == pytest.approx(64.0, rel=1e-4)


def test_the_factorised_prior_is_a_probability_model() -> None:
    prior = HyperpriorNetwork(SMALL).prior.factorised
    grid = torch.arange(-200, 201).float()[None, None, None].expand(1, 4, 1, -1)
    assert torch.allclose(prior.mass(grid).sum((2, 3)), torch.ones(1, 4), atol=1e-4)


def test_rounding_passes_the_gradient_straight_through() -> None:
    x = torch.tensor([0.4, 1.6], requires_grad=True)
    y = round_straight_through(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 2.0]
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_lower_bound_lets_values_come_back_up_but_not_sink() -> None:
    for sign, expected in ((1.0, 0.0), (-1.0, -1.0)):
        x = torch.tensor([-3.0], requires_grad=True)
        (sign * lower_bound(x, 0.0)).sum().backward()
        assert x.grad is not None
        assert x.grad.item() == expected


def test_tiles_cover_every_latent_once_and_see_their_halo_within_the_picture() -> None:
    seen = torch.zeros(23, 17, dtype=torch.int)
    for tile in tiles(23, 17, 6, 4):
        top, left, bottom, right = tile.yields
        seen[top:bottom, left:right] += 1
        assert tile.sees == (max(0, top - 4), max(0, left - 4), min(23, bottom + 4), min(17, right + 4))
    assert (seen == 1).all()


def test_channel_norm_is_zero_mean_and_unit_variance_at_each_position() -> None:
    y = ChannelNorm(64)(5 + 3 * torch.randn(2, 64, 3, 3))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(1), torch.ones(2, 3, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 48), (80, 112)])
def test_images_come_back_in_their_size(height: int, width: int) -> None:
    network = HificNetwork(SMALL_HIFIC)
    x, still = torch.rand(2, 3, height, width), torch.zeros(())
    step = torch.zeros(2, dtype=torch.long)
    output = network(TrainingInputs(x, step, torch.zeros(2), {"y": still, "z": still}, torch.zeros(2, 2)))
    assert output.x_hat.shape == x.shape
    assert all((bits > 0).all() for bits in output.bits.values())
