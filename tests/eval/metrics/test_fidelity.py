"""Metrics of single images against other implementations of them."""

from collections.abc import Callable

import numpy as np
import piq
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from gencomp.eval.metrics import fidelity
from gencomp.eval.metrics.table import METRICS, Resources
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


def test_ms_ssim_agrees_with_its_definition(pair: tuple[Tensor, Tensor]) -> None:
    """Wang et al. 2003 in float64 NumPy: valid windows, five scales, mean over colours of the product over scales; and
    with piq and the one of training."""
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    window = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    window /= window.sum()

    def smooth(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            x = np.apply_along_axis(np.convolve, axis, x, window, "valid")
        return x

    def halve(x: np.ndarray) -> np.ndarray:
        x = np.pad(x, [(n % 2, 0) for n in x.shape])
        return (x[0::2, 0::2][: len(x) // 2] + x[1::2, 0::2] + x[0::2, 1::2] + x[1::2, 1::2]) / 4

    products = []
    for x, y in zip(*(p[0].double().numpy() for p in pair)):
        product = 1.0
        for scale, weight in enumerate(weights):
            mx, my = smooth(x), smooth(y)
            vx, vy, cov = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
            similarity = (2 * cov + 0.03**2) / (vx + vy + 0.03**2)
            if scale == 4:
                similarity = similarity * (2 * mx * my + 0.01**2) / (mx * mx + my * my + 0.01**2)
            product *= similarity.mean() ** weight
            x, y = halve(x), halve(y)
        products.append(product)
    assert fidelity.ms_ssim(*pair) == pytest.approx(np.mean(products), abs=2e-5)
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


@pytest.mark.parametrize(("measure", "of_equal"), [("gmsd", 0.0), ("haarpsi", 1.0), ("nlpd", 0.0), ("ssim", 1.0)])
def test_equal_images_have_the_best_value(measure: str, of_equal: float, pair: tuple[Tensor, Tensor]) -> None:
    function = METRICS[measure].make(Resources())
    assert function(pair[0], pair[0]) == pytest.approx(of_equal, abs=1e-4)
    assert abs(function(*pair) - of_equal) > 0.01
