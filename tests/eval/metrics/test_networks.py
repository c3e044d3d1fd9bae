"""Metrics over feature networks, random ones here: that they are what they say, and silent without weights."""

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from skimage import data
from torch import Tensor

from gencomp.eval.metrics import networks
from gencomp.eval.metrics.table import METRICS, Resources
from gencomp.perceptual.dists import build_dists, for_dists
from gencomp.perceptual.lpips import build_lpips, load_lpips
from gencomp.perceptual.weights import NETWORKS, WeightsError, load_network


def random_state(network: torch.nn.Module, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: 0.05 * torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }


def alexnet(seed: int = 0) -> dict[str, Tensor]:
    state = random_state(lpips.pretrained_networks.alexnet(pretrained=False), seed)
    return {"features." + name.partition(".")[2]: value for name, value in state.items()}


def why_not(name: str, weights: Path | None) -> str:
    with pytest.raises(WeightsError) as error:
        METRICS[name].make(Resources(weights))
    return str(error.value)


def test_without_weights_nothing_is_measured_and_the_file_is_named() -> None:
    alex, vgg, lite = (NETWORKS[name].files[0] for name in ("alex", "vgg", "lite"))
    wanted = {"lpips_alex": alex, "lpips_vgg": vgg, "dists": vgg, "lite": lite, "wasserstein_alex": alex}
    for name, metric in METRICS.items():
        if name in wanted:
            assert f"needs {wanted[name]}" in why_not(name, None)
        else:
            metric.make(Resources())


def test_wasserstein_prefers_the_image_itself_and_says_what_is_too_small(
    pair: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    trunk = alexnet(3)
    monkeypatch.setattr(networks, "load_lpips", lambda net, weights: build_lpips(net, trunk))
    measure = METRICS["wasserstein_alex"].make(Resources())
    assert measure(pair[0], pair[0]) == 0 < measure(*pair)
    smallest = pair[0][..., : networks.ALEX_SIDE, : networks.ALEX_SIDE]
    assert measure(smallest, smallest) == 0
    with pytest.raises(ValueError, match="needs sides"):
        measure(smallest[..., 1:], smallest[..., 1:])


def test_lpips_is_the_package(pair: tuple[Tensor, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own way, with the same weights where torch.hub looks for them."""
    trunk = alexnet(3)
    monkeypatch.setattr(networks, "load_lpips", lambda net, weights: build_lpips(net, trunk))
    ours = networks.lpips("alex", tmp_path, "cpu")(*pair)
    classifier = {k: v for k, v in random_state(__import__("torchvision").models.alexnet(), 1).items() if "class" in k}
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.save(trunk | classifier, checkpoints / "alexnet-owt-7be5be79.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    reference = lpips.LPIPS(net="alex", verbose=False)(*pair, normalize=True)
    assert ours == pytest.approx(reference.item(), rel=1e-5)
    assert ours > 0


def vgg_trunk() -> dict[str, Tensor]:
    from torchvision.models import vgg16

    return {f"features.{k}": v for k, v in random_state(vgg16(weights=None, init_weights=False).features).items()}


def test_dists_is_the_library_with_the_same_trunk(pair: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import dists as module
    from torchvision.models import vgg16

    trunk = vgg_trunk()
    whole = vgg16(weights=None, init_weights=False)
    whole.load_state_dict(trunk | {k: v for k, v in whole.state_dict().items() if k.startswith("class")})
    monkeypatch.setattr(module, "vgg16", lambda weights: whole)
    reference = module.deep_image_structure_and_texture_similarity(*pair)
    network = build_dists(trunk)
    assert float(network.forward(*pair)) == pytest.approx(float(reference), abs=1e-6)
    assert float(reference) > 0
    assert float(network.forward(pair[0], pair[0])) == pytest.approx(0, abs=1e-5)
    assert float(network.state_dict()["alpha"].mean()) != 0.1  # the published weights of the comparison


def test_dists_resizes_as_its_authors_do() -> None:
    """Their prepare_image: Pillow's bilinear filter to 256 pixels of the shorter side, for larger images alone."""
    pixels = data.astronaut()[:300, :420]
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
    theirs = np.asarray(Image.fromarray(pixels).resize((358, 256), Image.Resampling.BILINEAR))
    resized = for_dists(tensor)
    assert resized.shape == (1, 3, 256, 358)
    assert np.array_equal((255 * resized[0]).round().byte().permute(1, 2, 0).numpy(), theirs)
    small = tensor[:, :, :256]
    assert for_dists(small) is small


@pytest.mark.parametrize(("size", "side", "count"), [((512, 768), 256, 8), ((150, 215), 64, 8)])
def test_patches_are_hific_s(size: tuple[int, int], side: int, count: int) -> None:
    """kornia's cutting against a loop: whole grids from the corner and from half a patch; 6 + 2 on a Kodak image."""
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    expected = [
        image[:, y : y + side, x : x + side]
        for shift in (0, side // 2)
        for y in range(shift, size[0] - side + 1, side)
        for x in range(shift, size[1] - side + 1, side)
    ]
    assert len(expected) == count
    assert torch.equal(networks.patches(image, side), torch.stack(expected))


def test_the_shifted_grid_needs_one_and_a_half_patches() -> None:
    image = torch.zeros(3, 512, 768)
    assert len(networks.patches(image[:, :256, :383], 256)) == 1
    assert len(networks.patches(image[:, :255], 256)) == 0


def test_inception_features_are_of_the_given_weights() -> None:
    from unittest import mock

    import torch_fidelity.feature_extractor_inceptionv3 as module

    with (
        mock.patch.object(module, "load_state_dict_from_url", return_value={}),
        mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        state = random_state(module.FeatureExtractorInceptionV3("x", ["2048"]))
    for name, value in state.items():  # weights that let a signal through
        if name.endswith(("running_var", "bn.weight")):
            state[name] = torch.ones_like(value)
        elif value.ndim == 4:
            state[name] = 20 * value * (2 / value[0].numel()) ** 0.5
    extract = networks.build_inception(state)
    features = networks.extract_all(extract, torch.randint(0, 256, (2, 3, 64, 80), dtype=torch.uint8))
    assert features.shape == (2, 2048)
    assert not torch.equal(features[0], features[1])


def test_timm_features_come_from_a_file_of_the_model_s_name(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    with pytest.raises(WeightsError, match="resnet10t"):
        networks.features("timm:resnet10t", tmp_path)
    network = timm.create_model("resnet10t", pretrained=False)
    save_file(network.state_dict(), str(tmp_path / "resnet10t.safetensors"))
    features = networks.features("timm:resnet10t", tmp_path)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert features.shape == (1, 512)
    save_file({"conv.weight": torch.zeros(1)}, str(tmp_path / "resnet10t.safetensors"))
    with pytest.raises(WeightsError, match="does not fit"):
        networks.features("timm:resnet10t", tmp_path)


def test_swav_features_come_from_its_authors_layout() -> None:
    from torchvision.models import resnet50

    state = {f"module.{k}": v for k, v in resnet50(weights=None).state_dict().items() if not k.startswith("fc")}
    state["module.projection_head.0.weight"] = torch.zeros(3)
    assert networks.build_swav(state)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 2048)


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
    assert (int(alike[0].argmax()), int(alike[1].argmax())) == (1, 0)
