"""Distances between two sets of feature vectors, (N, D) and (M, D), in float64."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
KID_SUBSET, KID_SUBSETS = 1000, 100


def frechet(a: Array, b: Array) -> float:
    """Frechet distance of the Gaussians with the sets' means and covariances (Heusel et al. 2017, equation 6).

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2); the symmetric form needs real square roots alone. With
    fewer vectors than dimensions the covariances are singular and the distance is biased upwards: compare equal
    numbers only. Raises ValueError below two vectors.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("needs at least two patches")
    a, b = a.astype(np.float64), b.astype(np.float64)
    offset = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(offset @ offset + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def kernel(a: Array, b: Array, seed: int = 0) -> float:
    """Kernel distance: the unbiased squared MMD under (x.y / D + 1)^3 (Binkowski et al. 2018), about 0 for equal sets.
    Of at most 1000 vectors all are used at once; of more, the mean over 100 random subsets of 1000 from each set."""
    size = min(len(a), len(b), KID_SUBSET)
    if size < 2:
        raise ValueError("needs at least two patches")
    if max(len(a), len(b)) <= KID_SUBSET:
        return _mmd(a, b)
    draw = np.random.default_rng(seed)
    subsets = (
        _mmd(a[draw.choice(len(a), size, replace=False)], b[draw.choice(len(b), size, replace=False)])
        for _ in range(KID_SUBSETS)
    )
    return float(np.mean(list(subsets)))


def _mmd(a: Array, b: Array) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    n, m = len(a), len(b)
    aa, bb, ab = ((x @ y.T / a.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())
