"""HiFiC's networks: sizes, and what an output sees."""

import pytest
import torch

from gencomp.networks.contract import TrainingInputs
from gencomp.networks.hific import ChannelNorm, HificConfig, HificNetwork

SMALL = HificConfig(latent_channels=8, widths=(4, 8, 8, 16, 16), residual_blocks=2, hyper_channels=8)


def test_channel_norm_is_zero_mean_and_unit_variance_at_each_position() -> None:
    y = ChannelNorm(64)(5 + 3 * torch.randn(2, 64, 3, 3))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(1), torch.ones(2, 3, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 48), (80, 112)])
def test_images_come_back_in_their_size(height: int, width: int) -> None:
    network = HificNetwork(SMALL)
    x, still = torch.rand(2, 3, height, width), torch.zeros(())
    step = torch.zeros(2, dtype=torch.long)
    output = network(TrainingInputs(x, step, torch.zeros(2), {"y": still, "z": still}, torch.zeros(2, 2)))
    assert output.x_hat.shape == x.shape
    assert all((bits > 0).all() for bits in output.bits.values())


@torch.no_grad()
def test_halos_hold_what_an_output_sees() -> None:
    """Change one place: nothing beyond the halo may change, and the halo may be generous by one latent at most."""
    torch.manual_seed(1)
    network, side, centre = HificNetwork(SMALL).double(), 25, 12
    y = torch.randn(1, 8, side, side, dtype=torch.double)
    poked = y.clone()
    poked[:, :, centre, centre] += 1
    moved = (network.synthesis(y) != network.synthesis(poked)).any(1)[0]
    rows = torch.nonzero(moved.any(1)).flatten() // network.stride
    reach = max(centre - int(rows.min()), int(rows.max()) - centre)
    assert reach <= network.halo.synthesis <= reach + 1
    x, reach = torch.rand(1, 3, side * 16, side * 16, dtype=torch.double), 0
    for offset in (0, 15):
        poked = x.clone()
        poked[:, :, centre * 16 + offset, centre * 16 + offset] += 1
        moved = (network.analysis(x) != network.analysis(poked)).any(1)[0]
        rows = torch.nonzero(moved.any(1)).flatten()
        reach = max(reach, centre - int(rows.min()), int(rows.max()) - centre)
    assert reach <= network.halo.analysis <= reach + 1
