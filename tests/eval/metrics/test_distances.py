"""FID and KID by closed form and against other computations, in float64."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from gencomp.eval.metrics import distances


def gaussian(n: int, d: int, seed: int, scale: float = 1.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return scale * draw.normal(size=(n, d)) @ draw.normal(size=(d, d)) / np.sqrt(d)


def test_of_a_shifted_set_it_is_the_squared_shift() -> None:
    a = gaussian(300, 16, 0)
    shift = np.arange(16) / 10
    assert distances.frechet(a, a + shift) == pytest.approx(float(shift @ shift), rel=1e-9)
    assert distances.frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_of_scaled_sets_it_is_closed_form() -> None:
    """Covariances C and s^2 C: tr(C + s^2 C - 2 s C) = (1 - s)^2 tr C."""
    a = gaussian(500, 12, 1)
    a -= a.mean(0)
    expected = (1 - 1.7) ** 2 * np.trace(np.cov(a, rowvar=False))
    assert distances.frechet(a, 1.7 * a) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "d"), [(400, 24), (40, 64)])  # more vectors than dimensions, and fewer
def test_frechet_agrees_with_scipy(n: int, d: int) -> None:
    a, b = gaussian(n, d, 2), gaussian(n, d, 3, 1.3) + 0.2
    offset = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    nudge = 0.0 if n > d else 1e-10 * np.eye(d)  # SciPy's general root needs regular matrices
    root = np.real(sqrtm((cov_a + nudge) @ (cov_b + nudge)))
    expected = offset @ offset + np.trace(cov_a + cov_b - 2 * root)
    assert distances.frechet(a, b) == pytest.approx(expected, rel=1e-6 if n > d else 1e-3)


def test_kernel_distance_agrees_with_its_definition() -> None:
    """The sums of Binkowski et al. 2018 term by term."""
    a, b = gaussian(9, 5, 6), gaussian(7, 5, 7)

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    within_a = np.mean([k(a[i], a[j]) for i in range(9) for j in range(9) if i != j])
    within_b = np.mean([k(b[i], b[j]) for i in range(7) for j in range(7) if i != j])
    across = np.mean([k(x, y) for x in a for y in b])
    assert distances.kernel(a, b) == pytest.approx(within_a + within_b - 2 * across, rel=1e-12)


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
