"""PositionalNoise: the same at every place of every machine, and silent where it should be."""

import torch

from gencomp.image import to_uint8
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.networks.positional_noise import NOISE_CHANNELS, PositionalNoise, positional_noise
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig
from gencomp.runtime.torch import TorchRuntime

SMALL = HyperpriorConfig(TransformConfig(8, (8, 8), (1, 1), (8, 8, 8, 8), (1, 1, 1), grain=True), PriorConfig(4, 8, 8))
EXPECTED = [-0.42259377241134644, -0.10520055890083313, 0.11568832397460938, -0.41693973541259766]


def place(*coordinates: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(coordinates)


def loud_network() -> HyperpriorNetwork:
    torch.manual_seed(0)
    network = HyperpriorNetwork(SMALL).eval()
    for grain in network.synthesis.grain:
        assert isinstance(grain, PositionalNoise)
        torch.nn.init.normal_(grain.project.weight)
    return network


def test_noise_depends_on_the_place_alone() -> None:
    whole = positional_noise(place((0, 0)), 20, 30)
    assert torch.equal(whole[:, :, 7:15, 11:30], positional_noise(place((7, 11)), 8, 19))
    both = positional_noise(place((7, 11), (0, 0)), 8, 19)
    assert torch.equal(both[0], whole[0, :, 7:15, 11:30])


def test_noise_is_the_same_on_every_machine() -> None:
    noise = positional_noise(place((3, 5)), 1, 2)
    assert noise.shape == (1, NOISE_CHANNELS, 1, 2)
    expected = torch.tensor(EXPECTED)
    assert torch.equal(noise[0, :2, 0].flatten(), expected)


def test_noise_is_even_and_without_neighbours() -> None:
    noise = positional_noise(place((1000, 2000)), 64, 64)[0]
    assert abs(float(noise.mean())) < 2e-3
    assert abs(float(noise.var()) - 1 / 12) < 1e-3
    neighbours = ((noise[:, 1:], noise[:, :-1]), (noise[:, :, 1:], noise[:, :, :-1]), (noise[1:], noise[:-1]))
    for a, b in neighbours:
        assert abs(float((a * b).mean())) * 12 < 0.01


def test_grain_is_silent_at_realism_zero() -> None:
    network = loud_network()
    y, step = torch.randn(1, 8, 4, 4), torch.tensor([512])
    zero, one = torch.zeros(1), torch.ones(1)
    here, there = place((0, 0)), place((100, 100))
    assert torch.equal(network.synthesize(y, step, zero, here), network.synthesize(y, step, zero, there))
    assert not torch.equal(network.synthesize(y, step, one, here), network.synthesize(y, step, one, there))


def test_rescaled_realism_is_the_old_one_under_another_number() -> None:
    network = loud_network()
    for parameter in network.synthesis.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    y, step, here = torch.randn(1, 8, 4, 4), torch.tensor([512]), place((0, 0))
    before = [network.synthesize(y, step, torch.tensor([r]), here) for r in (0.0, 0.4, 0.8)]
    network.synthesis.rescale_realism(0.8)
    after = [network.synthesize(y, step, torch.tensor([r]), here) for r in (0.0, 0.5, 1.0)]
    for a, b in zip(before, after):
        assert torch.allclose(a, b, atol=1e-5)
    assert not torch.allclose(before[0], before[2], atol=1e-2)


def test_tiles_show_the_grain_of_the_whole() -> None:
    network = loud_network()
    y = torch.randn(8, 24, 31)
    with torch.no_grad():
        whole = to_uint8(network.synthesize(y[None], torch.tensor([512]), torch.ones(1)))
    tiled = TorchRuntime(network, "cpu", tile=9).synthesize(y.numpy(), (24 * 16, 31 * 16), 512, 1.0)
    assert abs(whole.astype(int) - tiled.astype(int)).max() <= 1  # float sums may round differently, pixels hardly
