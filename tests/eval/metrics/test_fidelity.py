"""Metrics of single images against other implementations of them."""

from collections.abc import Callable

import numpy as np
import piq
import pytest
import torch
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from gencomp.eval.metrics import distances, fidelity
from gencomp.perceptual.ms_ssim import ms_ssim as loss
from gencomp.perceptual.pyramids import laplacian_bands


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


def test_nlpd_agrees_with_its_definition(pair: tuple[Tensor, Tensor]) -> None:
    """Laparra et al. 2016 with SciPy's correlation, on the pyramid that other tests hold to its own definition."""
    from scipy.ndimage import correlate

    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    pyramids = [laplacian_bands((p.double() * luma).sum(1, keepdim=True), 6) for p in pair]
    expected = []
    for level in range(6):
        above, left, right, far, below = fidelity.NEIGHBOURS[level]
        weights = np.zeros((5, 5))
        weights[1, 2], weights[2, 1], weights[2, 3], weights[2, 4], weights[3, 2] = above, left, right, far, below
        a, b = (
            band / (fidelity.SIGMAS[level] + correlate(np.abs(band), weights, mode="constant"))
            for band in (pyramid[level][0, 0].numpy() for pyramid in pyramids)
        )
        expected.append(np.sqrt(np.mean((a - b) ** 2)))
    assert fidelity.nlpd()(*pair) == pytest.approx(np.mean(expected), rel=1e-6)


def gaussian(n: int, d: int, seed: int, scale: float = 1.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return scale * draw.normal(size=(n, d)) @ draw.normal(size=(d, d)) / np.sqrt(d)


def test_of_a_shifted_set_it_is_the_squared_shift() -> None:
    a = gaussian(300, 16, 0)
    shift = np.arange(16) / 10
    assert distances.frechet(a, a + shift) == pytest.approx(float(shift @ shift), rel=1e-9)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_of_fewer_vectors_than_dimensions_agrees_with_scipy() -> None:
    a, b = gaussian(40, 64, 2), gaussian(40, 64, 3, 1.3) + 0.2
    offset = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    nudge = 1e-10 * np.eye(64)  # SciPy's general root needs regular matrices
    root = np.real(sqrtm((cov_a + nudge) @ (cov_b + nudge)))
    expected = offset @ offset + np.trace(cov_a + cov_b - 2 * root)
    assert distances.frechet(a, b) == pytest.approx(expected, rel=1e-3)


def test_both_agree_with_torchmetrics() -> None:
    a, b = (gaussian(200, 20, seed) for seed in (4, 5))
    moments = [torch.tensor(f(x)) for x in (a, b) for f in (lambda x: x.mean(0), lambda x: np.cov(x, rowvar=False))]
    assert distances.frechet(a, b) == pytest.approx(float(_compute_fid(*moments)), rel=1e-6)
    assert distances.kernel(a, b) == pytest.approx(float(poly_mmd(torch.tensor(a), torch.tensor(b))), rel=1e-9)


def test_kernel_distance_of_large_sets_is_a_mean_over_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "KID_SUBSET", 100)
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(300, 4)), draw.normal(size=(240, 4))
    value = distances.kernel(a, b)
    assert value == distances.kernel(a, b)
    assert abs(value) < 0.1
    assert distances.kernel(a, b + 1) > 0.5


def test_one_vector_is_too_few() -> None:
    for distance in (distances.frechet, distances.kernel):
        with pytest.raises(ValueError, match="two"):
            distance(np.zeros((1, 3)), np.zeros((5, 3)))
