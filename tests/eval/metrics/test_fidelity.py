"""Metrics of single images against other implementations of them, and of texture by their definitions once more."""

from collections.abc import Callable

import numpy as np
import piq
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.linalg import sqrtm
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from gencomp.eval.metrics import fidelity, networks, realism
from gencomp.image import to_tensor
from gencomp.perceptual.ms_ssim import ms_ssim as loss


def as_bytes(x: Tensor) -> np.ndarray:
    return (255 * x[0]).round().byte().permute(1, 2, 0).numpy()


def test_ssim_agrees_with_scikit_image(pair: tuple[Tensor, Tensor]) -> None:
    options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    reference = structural_similarity(*map(as_bytes, pair), data_range=255, **options)
    assert fidelity.ssim(*pair) == pytest.approx(reference, abs=1e-5)


def test_psnr_is_its_closed_form_to_the_last_digit_in_any_layout(pair: tuple[Tensor, Tensor]) -> None:
    a, b = (as_bytes(x).astype(np.int64) for x in pair)
    expected = 10 * np.log10(255**2 / ((a - b) ** 2).mean())
    assert peak_signal_noise_ratio(*map(as_bytes, pair)) == pytest.approx(expected)
    transposed = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in pair]
    assert fidelity.psnr(*pair) == fidelity.psnr(*transposed) == pytest.approx(expected, rel=1e-14)
    assert fidelity.psnr(pair[0], pair[0]) == pytest.approx(138.13, abs=0.01)  # finite


def test_ms_ssim_is_that_of_piq_and_of_training(pair: tuple[Tensor, Tensor]) -> None:
    assert pair[0].shape[2:] == (176, 192)  # which halve evenly: libraries differ in what they do with an odd row
    assert fidelity.ms_ssim(*pair) == pytest.approx(float(piq.multi_scale_ssim(*pair, data_range=1.0)), abs=2e-5)
    assert fidelity.ms_ssim(*pair) == pytest.approx(float(loss(*pair)), abs=1e-5)


@pytest.mark.parametrize(("measure", "height"), [(fidelity.ms_ssim, 161), (fidelity.ssim, 11)])
def test_what_a_window_does_not_fit_is_refused(measure: Callable[[Tensor, Tensor], float], height: int) -> None:
    small = torch.rand(1, 3, height - 1, 300)
    with pytest.raises(ValueError, match=f"{height} pixels"):
        measure(small, small)


def gaussian(n: int, d: int, seed: int, scale: float = 1.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return scale * draw.normal(size=(n, d)) @ draw.normal(size=(d, d)) / np.sqrt(d)


def test_frechet_of_fewer_vectors_than_dimensions_agrees_with_scipy() -> None:
    a, b = gaussian(40, 64, 2), gaussian(40, 64, 3, 1.3) + 0.2
    offset = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    nudge = 1e-10 * np.eye(64)  # SciPy's general root needs regular matrices
    root = np.real(sqrtm((cov_a + nudge) @ (cov_b + nudge)))
    expected = offset @ offset + np.trace(cov_a + cov_b - 2 * root)
    assert networks.frechet(a, b) == pytest.approx(expected, rel=1e-3)


def test_both_agree_with_torchmetrics() -> None:
    a, b = (gaussian(200, 20, seed) for seed in (4, 5))
    moments = [torch.tensor(f(x)) for x in (a, b) for f in (lambda x: x.mean(0), lambda x: np.cov(x, rowvar=False))]
    assert networks.frechet(a, b) == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)
    assert networks.kernel(a, b) == pytest.approx(float(poly_mmd(torch.tensor(a), torch.tensor(b))), rel=1e-9)


def test_kernel_distance_of_large_sets_is_a_mean_over_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "KID_SUBSET", 100)
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(300, 4)), draw.normal(size=(240, 4))
    value = networks.kernel(a, b)
    assert value == networks.kernel(a, b)
    assert abs(value) < 0.1
    assert networks.kernel(a, b + 1) > 0.5


def test_one_vector_is_too_few() -> None:
    for distance in (networks.frechet, networks.kernel):
        with pytest.raises(ValueError, match="two"):
            distance(np.zeros((1, 3)), np.zeros((5, 3)))


@pytest.fixture(scope="module")
def original() -> Image.Image:
    return Image.fromarray(data.chelsea()[50:210, 100:292])


def tensor(image: Image.Image) -> Tensor:
    return to_tensor(np.asarray(image))


def noisy(image: Image.Image, strength: float) -> Image.Image:
    pixels = np.asarray(image, np.float64)
    return Image.fromarray(
        (pixels + np.random.default_rng(0).normal(0, strength, pixels.shape)).clip(0, 255).astype(np.uint8)
    )


def bands_of(image: Image.Image) -> list[np.ndarray]:
    """The Laplacian pyramid in float64 NumPy: reflected borders, binomial filter, zeros between samples going up."""
    row = np.array([1, 4, 6, 4, 1]) / 16

    def smooth(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            margin = [(2, 2) if k == axis else (0, 0) for k in range(3)]
            x = np.apply_along_axis(np.convolve, axis, np.pad(x, margin, mode="reflect"), row, "valid")
        return x

    x, bands = np.asarray(image, np.float64), []
    for _ in range(3):
        low = smooth(x)[::2, ::2]
        wide = np.zeros_like(x)
        wide[::2, ::2] = low
        bands.append(x - 4 * smooth(wide))
        x = low
    return [*bands, x]


def test_texture_error_agrees_with_its_definition(original: Image.Image) -> None:
    blurred = original.filter(ImageFilter.GaussianBlur(1))
    errors = []
    for a, b in list(zip(bands_of(original), bands_of(blurred)))[:2]:
        energies = []
        for band in (a, b):
            energy = (band**2).mean(2)
            rows, columns = (n // 16 * 16 for n in energy.shape)
            energies.append(energy[:rows, :columns].reshape(rows // 16, 16, columns // 16, 16).mean((1, 3)))
        errors.append(np.abs(10 * np.log10((energies[1] + 1) / (energies[0] + 1))).mean())
    assert realism.texture_error()(tensor(original), tensor(blurred)) == pytest.approx(np.mean(errors), abs=1e-4)


def test_grid_artefacts_is_in_grey_levels_where_the_original_is_even() -> None:
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(256), indexing="ij")
    pattern = torch.where((rows + columns) % 2 == 0, 3 / 255, -3 / 255).expand(1, 3, -1, -1)
    even = torch.full((1, 3, 128, 256), 0.5)
    assert realism.grid_artefacts()(even, even + pattern) == pytest.approx(3, rel=1e-3)
    assert realism.grid_artefacts()(even, even) == 0
    half = even.clone()
    half[..., :128] += 0.1 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    rough, smooth = (columns < 128).float() * pattern, (columns >= 128).float() * pattern
    assert realism.grid_artefacts()(half, half + rough) < realism.grid_artefacts()(half, half + smooth) / 2


def test_large_images_are_measured_in_tiles(original: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = tensor(original), tensor(noisy(original, 8))
    whole = realism.wasserstein()(*pair)
    monkeypatch.setattr(realism, "TILE", 100)
    assert realism.wasserstein()(*pair) == pytest.approx(whole, rel=0.05)
    assert realism.wasserstein()(pair[0], pair[0]) == 0


def test_small_images_are_refused_with_the_size_wanted() -> None:
    small = torch.rand(1, 3, 30, 64)
    with pytest.raises(ValueError, match="31 pixels"):
        realism.texture_error()(small, small)
    with pytest.raises(ValueError, match="71 pixels"):
        realism.grid_artefacts()(small, small)
    enough = torch.rand(1, 3, 31, 64)
    assert realism.texture_error()(enough, enough) == 0
