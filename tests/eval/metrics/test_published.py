"""Measures by the published weights: what they say of one picture, and that other implementations say the same."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor

from gencomp.eval.metrics import networks
from gencomp.eval.metrics.table import METRICS, Resources
from gencomp.perceptual.lpips import load_lpips
from gencomp.perceptual.weights import load_network


@pytest.fixture(scope="module")
def astronaut() -> tuple[Tensor, Tensor]:
    """A picture of 512x512 and itself at half the size and back, which takes its detail."""
    x = torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1)[None] / 255
    return x, F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lpips_alex", 0.1258), ("lpips_vgg", 0.2466), ("dists", 0.00827), ("lite", 0.2490), ("wasserstein_alex", 3.405)],
)
def test_lost_detail_is_as_far_away(name: str, value: float, weights: Path, astronaut: tuple[Tensor, Tensor]) -> None:
    measure = METRICS[name].make(Resources(weights))
    assert measure(*astronaut) == pytest.approx(value, rel=2e-3)
    assert measure(astronaut[0], astronaut[0]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_agrees_with_package_and_torchmetrics(net: str, weights: Path, astronaut: tuple[Tensor, Tensor]) -> None:
    """torchmetrics brings the published heads in files of its own."""
    from torchmetrics.functional.image import lpips as module

    x, y = (image[..., 100:260, 100:260] for image in astronaut)
    ours = METRICS[f"lpips_{net}"].make(Resources(weights))(x, y)
    package = load_lpips(net, weights)
    theirs = module._LPIPS(pretrained=True, net=net, pnet_rand=True)  # type: ignore[arg-type]
    theirs.net.load_state_dict(package.net.state_dict())
    assert ours == pytest.approx(float(package(x, y, normalize=True)), rel=1e-5)
    assert ours == pytest.approx(float(theirs(x, y, normalize=True)), rel=1e-5)


def test_lite0_is_the_network_that_names_what_it_sees(weights: Path, astronaut: tuple[Tensor, Tensor]) -> None:
    """Pooled features of two halves of one picture are nearer to each other than to those of other pictures."""
    extract = networks.build_lite(load_network("lite", weights))
    given = [data.astronaut()[:256], data.astronaut()[256:], data.coffee()[:256, :512], data.rocket()[:256, :512]]
    features = F.normalize(extract(torch.stack([torch.from_numpy(g.copy()).permute(2, 0, 1) for g in given])), dim=1)
    assert features.shape == (4, 1280)
    alike = features @ features.T - 2 * torch.eye(4)
    assert int(alike[0].argmax()) == 1
    assert int(alike[1].argmax()) == 0
