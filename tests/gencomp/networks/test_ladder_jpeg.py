"""JPEG as training sees it, against the coder."""

import numpy as np
import pytest
import torch

from gencomp.entropy.hybrid import Hybrid
from gencomp.entropy.jpeg import decode_plane, encode_plane
from gencomp.networks.ladder.hybrid import HybridConfig, HybridNetwork, enlarged, jpeg_steps, reduced
from gencomp.networks.ladder.jpeg import jpeg_planes


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
