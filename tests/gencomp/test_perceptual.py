"""The feature stacks: what a loss and a metric may rely on."""

from pathlib import Path

import lpips
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from gencomp.perceptual import grid, pyramids, wasserstein, weights
from gencomp.perceptual import lpips as ours
from gencomp.perceptual.ms_ssim import ms_ssim


def images(n: int = 2, height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
    noise = torch.rand(n, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)


def random_trunk(net: str, seed: int = 0) -> dict[str, Tensor]:
    """A torchvision state dict of small random numbers, in the shape of the real one."""
    generator = torch.Generator().manual_seed(seed)
    bare = getattr(lpips.pretrained_networks, {"alex": "alexnet", "squeeze": "squeezenet"}[net])(pretrained=False)
    return {
        "features." + name.partition(".")[2]: 0.05 * torch.randn(p.shape, generator=generator)
        for name, p in bare.named_parameters()
    }


def test_absent_wrong_and_broken_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(weights.WeightsError, match="alexnet-owt-7be5be79") as caught:
        ours.load_lpips("alex", tmp_path)
    assert caught.value.file == "alexnet-owt-7be5be79.pth"
    torch.save(random_trunk("alex"), tmp_path / caught.value.file)
    with pytest.raises(weights.WeightsError, match="another file"):
        ours.load_lpips("alex", tmp_path)
    for name in ("net.pth", "net.safetensors"):
        (tmp_path / name).write_bytes(b"not a network")
        with pytest.raises(weights.WeightsError, match="cannot be read"):
            weights.read_weights(tmp_path / name)


@pytest.mark.parametrize("net", ["alex", "squeeze"])
def test_lpips_has_the_given_trunk(net: str) -> None:
    trunk = random_trunk(net)
    network = ours.build_lpips(net, trunk)
    held = {"features." + name.partition(".")[2]: p for name, p in network.net.named_parameters()}
    assert held.keys() == trunk.keys()
    assert all(torch.equal(held[name], trunk[name]) for name in trunk)


def test_lpips_loss_agrees_with_the_package() -> None:
    network = ours.build_lpips("alex", random_trunk("alex"))
    x, y = images(seed=1), images(seed=2)
    reference = network(x, y, normalize=True).flatten()
    assert torch.allclose(ours.lpips_loss(network, x, y), reference, rtol=1e-3)


def test_lpips_loss_has_finite_gradients_at_zero_features() -> None:
    network = ours.build_lpips("alex", {name: torch.zeros_like(p) for name, p in random_trunk("alex").items()})
    x = images().requires_grad_()
    ours.lpips_loss(network, x, images(seed=1)).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_lite_is_the_mean_squared_distance_of_unit_features() -> None:
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    embedding = ours.lite_embedding(ours.build_lite(network.state_dict()))
    x, y = images(seed=1), images(seed=2)
    maps = zip(network.eval()((x - 0.5) / 0.5), network((y - 0.5) / 0.5))
    expected = torch.stack([(2 - 2 * F.cosine_similarity(a, b, eps=1e-8)).mean((1, 2)) for a, b in maps]).mean(0)
    assert torch.allclose(ours.embedding_distance(embedding(x), embedding(y)), expected, atol=1e-5)
    assert ours.embedding_distance(embedding(x), embedding(x)).tolist() == [0, 0]


@pytest.mark.parametrize("name", ["alex", "vgg", "lite"])
def test_weights_of_other_networks_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    state = {"features.3.weight": torch.randn(2, 3), "features.0.bias": torch.zeros(2)}
    file = weights.NETWORKS[name].files[1]
    assert name not in weights.networks_present(tmp_path)
    save_file(state, tmp_path / file)
    assert weights.networks_present(tmp_path) == {name: tmp_path / file}
    with pytest.raises(weights.WeightsError, match="other tensors"):
        weights.load_network(name, tmp_path)
    known = weights.tensors_sha256(dict(reversed(state.items())) | {"classifier.weight": torch.zeros(1)})
    monkeypatch.setattr(weights, "NETWORKS", {name: weights.NETWORKS[name]._replace(tensors=known)})
    assert torch.equal(weights.load_network(name, tmp_path)["features.3.weight"], state["features.3.weight"])


def test_a_laplacian_pyramid_sums_to_the_picture() -> None:
    x = images(1, 61, 83)
    bands = pyramids.laplacian_bands(x, 4)
    assert [tuple(b.shape[2:]) for b in bands] == [(61, 83), (31, 42), (16, 21), (8, 11)]
    constant = pyramids.laplacian_bands(torch.full_like(x, 0.3), 4)
    assert max(float(b.abs().max()) for b in constant[:-1]) < 1e-6
    with pytest.raises(ValueError, match="too small"):
        pyramids.laplacian_bands(x[..., :4], 4)


def test_oriented_filters_are_quadrature_pairs() -> None:
    filters = pyramids.oriented_filters(4)
    assert filters.shape == (8, 1, 9, 9)
    assert float(filters.sum((2, 3)).abs().max()) < 1e-6
    assert torch.allclose(filters.square().sum((2, 3)), torch.ones(8, 1))
    even, odd = filters.flatten(1).chunk(2)
    assert float((even * odd).sum(1).abs().max()) < 1e-6
    assert torch.allclose(filters.flip(2, 3)[:4], filters[:4], atol=1e-6)
    # A grating along an orientation excites the filter of that orientation most, whatever its phase.
    for k in range(4):
        angle = torch.tensor(torch.pi * k / 4)
        y, x = torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij")
        for phase in (0.0, 1.0):
            grating = torch.cos(1.2 * (x * angle.cos() + y * angle.sin()) + phase)
            response = F.conv2d(grating[None, None], filters)[0, :, 12, 12]
            energy = response[:4].square() + response[4:].square()
            assert int(energy.argmax()) == k


def test_laplacian_features_are_the_picture_and_companded_bands_that_halve() -> None:
    stack = pyramids.laplacian_features(levels=3)(images(2, 40, 56))
    assert [tuple(f.shape) for f in stack] == [(2, 3, 40, 56), (2, 6, 40, 56), (2, 6, 20, 28), (2, 6, 10, 14)]
    flat = pyramids.laplacian_features()(torch.full((1, 3, 32, 32), 0.3))
    assert all(float(band.abs().max()) < 1e-4 for band in flat[1:])


def test_laplacian_bands_are_companded_by_the_square_root() -> None:
    x = torch.full((1, 3, 32, 32), 0.5)
    x[..., ::2] += 0.25
    x[..., 1::2] -= 0.25  # stripes at the highest frequency: the binomial filter takes all of them away
    luma = pyramids.laplacian_features(levels=1)(x)[1][:, :1, 8:-8, 8:-8]
    band = 0.25 * 3 * pyramids.OPPONENT[0][0]
    assert torch.allclose(luma.abs(), torch.tensor(band / (band + pyramids.COMPANDING) ** 0.5), atol=1e-4)


def mesh(height: int, width: int, period: int) -> Tensor:
    """A grating across rows and columns of amplitude 1 and zero mean, [1, 3, H, W]."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    wave = torch.sin(2 * torch.pi * rows / period) * torch.sin(2 * torch.pi * columns / period + 1)
    return wave.expand(1, 3, -1, -1)


@pytest.mark.parametrize("period", [4, 8])
def test_grid_artefact_is_all_of_what_repeats(period: int) -> None:
    x = torch.full((1, 3, 96, 128), 0.5)
    pattern = 0.01 * mesh(96, 128, period)
    grain = grid.grid_artefacts(x, x + pattern)
    assert grain.repeated.shape == (1, 4, 8)
    assert torch.allclose(grain.repeated, pattern.square().mean(), rtol=1e-3)
    assert float(grain.texture.max()) < 1e-9


def test_grid_artefact_is_a_small_part_of_what_does_not_repeat() -> None:
    x = torch.full((1, 3, 256, 256), 0.5)
    noise = 0.01 * torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    assert float(grid.grid_artefacts(x, x + noise).repeated.mean()) == pytest.approx(0.01**2 / 64, rel=0.1)
    assert float(grid.grid_artefacts(x, x + 0.01 * mesh(256, 256, 11)).repeated.mean()) < 0.02 * 0.01**2 / 4
    slope = torch.linspace(0, 0.2, 256).expand(1, 3, 256, 256)
    assert float(grid.grid_artefacts(x, x + slope).repeated.max()) < 1e-9


def test_the_originals_own_period_is_no_grid_artefact() -> None:
    x = 0.5 + 0.1 * mesh(96, 96, 8)
    assert float(grid.grid_artefact_loss(x, x + 0.02)) < 1e-6


def test_texture_hides_grid_artefacts() -> None:
    even = torch.full((1, 3, 128, 128), 0.5)
    rough = even + 0.05 * torch.randn(even.shape, generator=torch.Generator().manual_seed(1))
    pattern = 0.01 * mesh(128, 128, 8)
    plain, hidden = (float(grid.grid_artefact_loss(x, x + pattern)) for x in (even, rough))
    assert plain == pytest.approx(float(pattern.square().mean()) / grid.EVEN, rel=1e-3)
    assert hidden < plain / 20


def test_grid_artefact_needs_one_window() -> None:
    x = torch.rand(1, 3, 71, 71)
    assert grid.grid_artefacts(x, x).repeated.shape == (1, 1, 1)
    with pytest.raises(ValueError, match="71 pixels"):
        grid.grid_artefacts(x[..., :70], x[..., :70])


def test_haar_details_tell_stripes_and_checkerboards_apart() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    for k, pattern in enumerate([columns % 2, rows % 2, (rows + columns) % 2]):
        details = pyramids.haar_details(pattern[None, None].float())[0, :, :-1, :-1].abs()
        expected = [1.0 if k == j else 0.0 for j in range(3)]
        assert details.mean((1, 2)).tolist() == expected


def test_distortion_of_flat_pictures_is_closed_form() -> None:
    x, y = torch.full((1, 1, 32, 32), 0.25), torch.full((1, 1, 32, 32), 0.75)
    for log2_sigma in (0.0, 1.5, 4.0):
        assert float(wasserstein.wasserstein_distortion([x], [y], log2_sigma)) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize("size", [(32, 48), (17, 40), (9, 9)])
def test_steerable_features_are_plain_convolutions(size: tuple[int, int]) -> None:
    filters = pyramids.oriented_filters()[:, 0]
    taps = torch.einsum("oc,fhw->ofchw", torch.tensor(pyramids.OPPONENT), filters).flatten(0, 1)
    x = images(1)[..., : size[0], : size[1]]
    even, odd = F.conv2d(F.pad(x, (4,) * 4, "replicate"), taps).unflatten(1, (3, -1)).chunk(2, dim=2)
    expected = torch.cat([even, odd, (even.square() + odd.square() + 1e-8).sqrt()], 2).flatten(1, 2)
    assert torch.allclose(pyramids.steerable_features(levels=1)(x)[1], expected, atol=1e-5)


@pytest.mark.parametrize("features", [pyramids.steerable_features(), pyramids.laplacian_features()])
def test_distortion_forgives_another_sample_of_the_same_texture(features: pyramids.FeatureStack) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, 128, 128, generator=generator) for _ in range(2))
    flat = torch.full_like(x, 0.5)

    def distortion(other: Tensor, log2_sigma: float) -> float:
        return float(wasserstein.wasserstein_distortion(features(x), features(other), log2_sigma))

    assert distortion(flat, 0.0) < distortion(y, 0.0)  # squared error prefers grey to the wrong noise,
    assert distortion(y, 4.0) < 0.2 * distortion(flat, 4.0)  # pooled statistics do not


def test_a_sigma_map_acts_where_it_stands() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 1, 64, 64, generator=generator) for _ in range(2))
    sigma = torch.zeros(1, 1, 64, 64)
    sigma[..., 32:] = 4
    mixed, strict, pooled = (float(wasserstein.wasserstein_distortion([x], [y], s)) for s in (sigma, 0.0, 4.0))
    assert pooled < mixed < strict
    assert mixed == pytest.approx((strict + pooled) / 2, rel=0.1)
    with pytest.raises(ValueError, match="log2_sigma"):
        wasserstein.wasserstein_distortion([x], [y], 6.0)


@pytest.mark.parametrize("features", [pyramids.steerable_features(), pyramids.laplacian_features()])
def test_distortion_has_useful_gradients_everywhere(features: pyramids.FeatureStack) -> None:
    for start in (images(1), torch.full((1, 3, 64, 96), 0.5)):
        x = start.clone().requires_grad_()
        wasserstein.wasserstein_distortion(features(x), features(images(1, seed=3)), 3.0).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert float(x.grad.abs().max()) > 0


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_ms_ssim_is_that_of_another_implementation() -> None:
    other = pytest.importorskip("pytorch_msssim")
    x = noise(2, 3, 192, 192)
    y = (x + 0.2 * noise(2, 3, 192, 192, seed=1)).clamp(0, 1)
    expected = other.ms_ssim(x, y, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(x, y), expected, atol=1e-4, rtol=0)


def test_ms_ssim_of_flat_images_is_the_luminance_term() -> None:
    """Structure is equal, so only the coarsest scale's luminance counts, to the power of its weight."""
    x, y = torch.full((1, 3, 176, 176), 0.4), torch.full((1, 3, 176, 176), 0.6)
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(ms_ssim(x, y), torch.tensor([luminance**0.1333]), atol=1e-3, rtol=0)


def test_ms_ssim_refuses_what_its_window_does_not_fit() -> None:
    with pytest.raises(ValueError, match="11 pixels"):
        ms_ssim(noise(1, 3, 8, 8), noise(1, 3, 8, 8))
