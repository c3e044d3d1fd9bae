"""Measures of whether a reconstruction looks like a photograph, from the pixels alone: texture, not fidelity.

Images are float (1, 3, H, W) in [0, 1], made from 8 bits. The constants are part of the definitions: figures made
with others do not compare.
"""

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gencomp.perceptual.grid import EVEN, repeated_energy, texture_energy
from gencomp.perceptual.pyramids import FeatureStack, laplacian_bands, steerable_features
from gencomp.perceptual.wasserstein import Pooled, pooled, pooled_distance

from .table import by_sides

LEVELS = 4
PATCHES, SIDE, DIRECTIONS = 512, 7, 512  # descriptors per level and image, their side, projections
SMALLEST = (SIDE - 1) * 2 ** (LEVELS - 1) + 1  # the side of an image whose last level still holds a patch
BLOCK = 16
LOG2_SIGMA, TILE = 4.0, 1024

Measure = Callable[[Tensor, Tensor], float]  # of an original and its reconstruction


def band_energy(band: int) -> Measure:
    """The metric of one Laplacian band, 0 the finest: its energy, reconstruction over original; 1 keeps the texture."""

    def energy(image: Tensor) -> Tensor:
        return laplacian_bands(2 * image - 1, LEVELS)[band].square().mean()

    return by_sides(energy, energy, lambda original, rebuilt: float(rebuilt / (original + 1e-12)))


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


def swd() -> Callable[[Iterable[Tensor], Iterable[Tensor]], float]:
    """Sliced Wasserstein distance between two sets of images, times 1000, mean over the levels of a pyramid. Raises
    ValueError for an image under 49 pixels a side."""

    def distance(originals: list[Tensor], rebuilt: list[Tensor]) -> float:
        levels = sliced_wasserstein(originals, rebuilt)
        return sum(levels) / len(levels)

    return by_sides(partial(descriptors, seed=1), partial(descriptors, seed=2), distance)


def descriptors(images: Iterable[Tensor], seed: int) -> list[Tensor]:
    """Random 7x7 patches of each Laplacian level over a set of images, (images * 512, 3, 7, 7) a level. Places are
    drawn in the order of the images. Raises ValueError for an image whose last level is under 7 pixels."""
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.arange(SIDE)
    gathered: list[list[Tensor]] = [[] for _ in range(LEVELS)]
    for image in images:
        for level, band in enumerate(laplacian_bands(2 * image - 1, LEVELS)):
            height, width = band.shape[2:]
            if min(height, width) < SIDE:
                raise ValueError(f"needs sides of at least {SMALLEST} pixels")
            tops = torch.randint(0, height - SIDE + 1, (PATCHES,), generator=generator)
            lefts = torch.randint(0, width - SIDE + 1, (PATCHES,), generator=generator)
            rows, columns = (tops[:, None] + offsets)[:, :, None], (lefts[:, None] + offsets)[:, None, :]
            gathered[level].append(band[0].cpu()[:, rows, columns].transpose(0, 1))
    return [torch.cat(level) for level in gathered]


def sliced_wasserstein(reference: list[Tensor], rebuilt: list[Tensor]) -> list[float]:
    """Sliced Wasserstein distance times 1000 of two sets of descriptors, each level (Karras et al. 2018, section 5).

    Both are divided by the reference's deviation by channel; 512 random directions. Sets of one image or more that
    are drawn with different seeds are some way apart even when the images are the same: that is the measure's floor.
    """
    generator = torch.Generator().manual_seed(3)
    distances = []
    for a, b in zip(reference, rebuilt, strict=True):
        mean, deviation = a.mean((0, 2, 3), keepdim=True), a.std((0, 2, 3), keepdim=True)
        a, b = (((patches - mean) / deviation).flatten(1) for patches in (a, b))
        directions = F.normalize(torch.randn(a.shape[1], DIRECTIONS, generator=generator), dim=0)
        gaps = torch.sort(a @ directions, 0).values - torch.sort(b @ directions, 0).values
        distances.append(1000 * float(gaps.abs().mean()))
    return distances
