"""Feature stacks that serve as loss and as metric: LPIPS, pyramids, Wasserstein distortion, grid artefacts."""

from .grid import EVEN, GridArtefacts, grid_artefact_loss, grid_artefacts, repeated_energy, texture_energy
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
    random_features,
    steerable_features,
)
from .wasserstein import Pooled, pooled, pooled_distance, wasserstein_distortion
from .weights import INCEPTION, LPIPS_TRUNKS, WeightsError, find_weights, read_weights, sha256

__all__ = [
    "COMPANDING",
    "EVEN",
    "INCEPTION",
    "LPIPS_TRUNKS",
    "OPPONENT",
    "FeatureStack",
    "GridArtefacts",
    "Pooled",
    "WeightsError",
    "blur",
    "build_lpips",
    "find_weights",
    "grid_artefact_loss",
    "grid_artefacts",
    "haar_details",
    "laplacian_bands",
    "laplacian_features",
    "load_lpips",
    "lpips_loss",
    "network_features",
    "oriented_filters",
    "pooled",
    "pooled_distance",
    "random_features",
    "read_weights",
    "repeated_energy",
    "sha256",
    "steerable_features",
    "texture_energy",
    "wasserstein_distortion",
]
