"""Measures of whether a reconstruction looks like a photograph, from the pixels alone: texture, not fidelity.

Images are float (1, 3, H, W) in [0, 1], made from 8 bits. The constants are part of the definitions: figures made
with others do not compare.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gencomp.perceptual.grid import EVEN, repeated_energy, texture_energy
from gencomp.perceptual.pyramids import FeatureStack, laplacian_bands, steerable_features
from gencomp.perceptual.wasserstein import Pooled, pooled, pooled_distance

from .table import by_sides

LEVELS = 4
BLOCK = 16
LOG2_SIGMA, TILE = 4.0, 1024

Measure = Callable[[Tensor, Tensor], float]  # of an original and its reconstruction


def texture_error() -> Measure:
    """Local texture error [dB]: the mean over 16x16 blocks and the two finest Laplacian bands of
    |10 log10((E_rec + 1) / (E_ref + 1))|, E a block's mean band energy over RGB in grey levels squared.

    Blur costs, and so does noise where there was none. Raises ValueError where a band is smaller than a block.
    """

    def energies(image: Tensor) -> list[Tensor]:
        bands = laplacian_bands(255 * image, LEVELS)[:2]
        if min(bands[1].shape[2:]) < BLOCK:
            raise ValueError(f"needs sides of at least {2 * BLOCK - 1} pixels")
        return [F.avg_pool2d(band.square().mean(1, keepdim=True), BLOCK) for band in bands]

    def error(original: list[Tensor], rebuilt: list[Tensor]) -> float:
        of_bands = [(10 * torch.log10((b + 1) / (a + 1))).abs().mean() for a, b in zip(original, rebuilt)]
        return float(torch.stack(of_bands).mean())

    return by_sides(energies, energies, error)


def grid_artefacts() -> Measure:
    """Grid artefacts [grey levels]: the root mean square of what the error repeats every 8 pixels, a mesh or a weave.

    Over windows of 64x64, each weighed by how even the original is there, for it is there that a period shows. Raises
    ValueError under 71 pixels a side.
    """

    def evenness(original: Tensor) -> tuple[Tensor, Tensor]:
        return original, 1 / (texture_energy(original) + EVEN)

    def grain(original: tuple[Tensor, Tensor], rebuilt: Tensor) -> float:
        x, weight = original
        return 255 * float((weight * repeated_energy(rebuilt - x)).sum() / weight.sum()) ** 0.5

    return by_sides(evenness, lambda rebuilt: rebuilt, grain)


def wasserstein(features: FeatureStack | None = None, scale: float = 1.0) -> Measure:
    """Wasserstein distortion over a feature stack, steerable filters if none is given, pooled over about 16 pixels.

    Times `scale`. Images beyond 1024 pixels a side are measured in equal tiles of at most that, each by its area: the
    features take 36 times the memory of a channel.
    """
    features = features or steerable_features()

    def statistics(image: Tensor) -> list[tuple[int, Pooled]]:
        found = []
        rows, columns = (torch.arange(length).chunk(-(-length // TILE)) for length in image.shape[2:])
        for top, bottom in ((int(r[0]), int(r[-1]) + 1) for r in rows):
            for left, right in ((int(c[0]), int(c[-1]) + 1) for c in columns):
                tile = image[..., top:bottom, left:right]
                found.append(((bottom - top) * (right - left), pooled(features(tile), LOG2_SIGMA)))
        return found

    def distortion(original: list[tuple[int, Pooled]], rebuilt: list[tuple[int, Pooled]]) -> float:
        total = sum(area * float(pooled_distance(a, b)) for (area, a), (_, b) in zip(original, rebuilt))
        return scale * total / sum(area for area, _ in original)

    return by_sides(statistics, statistics, distortion)
