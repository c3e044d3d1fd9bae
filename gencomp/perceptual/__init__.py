"""Feature stacks that serve as loss and as metric: LPIPS, pyramids, Wasserstein distortion, grid artefacts."""

from .grid_artefacts import EVEN, RegularGrain, regular_grain, regularity
from .lpips import build_lpips, load_lpips, lpips_loss, network_features
from .pyramids import (
    COMPANDING,
    OPPONENT,
    FeatureStack,
    blur,
    haar_details,
    laplacian_bands,
    laplacian_features,
    oriented_filters,
    steerable_features,
)
from .wasserstein import wasserstein_distortion
from .weights import INCEPTION, LPIPS_TRUNKS, WeightsError, find_weights, read_weights, sha256

__all__ = [
    "COMPANDING",
    "EVEN",
    "INCEPTION",
    "LPIPS_TRUNKS",
    "OPPONENT",
    "FeatureStack",
    "RegularGrain",
    "WeightsError",
    "blur",
    "build_lpips",
    "find_weights",
    "haar_details",
    "laplacian_bands",
    "laplacian_features",
    "load_lpips",
    "lpips_loss",
    "network_features",
    "oriented_filters",
    "read_weights",
    "regular_grain",
    "regularity",
    "sha256",
    "steerable_features",
    "wasserstein_distortion",
]
