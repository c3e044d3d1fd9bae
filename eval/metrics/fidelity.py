"""Metrics of one reconstruction against its original, from the pixels alone.

Images are float (1, 3, H, W) in [0, 1], made from 8 bits; every metric is a number.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .table import by_sides

EQUAL_DB = 10 * math.log10(255**2 / 1e-9)  # a mean squared error of 1e-9 grey levels
SSIM_SIDE, MS_SSIM_SIDE = 11, 161  # the window; the fifth scale must still hold it


def psnr(x: Tensor, y: Tensor) -> float:
    """Peak signal-to-noise ratio over all samples [dB]; equal images count as 138 dB, so that means stay finite. In
    grey levels, whose squares add up exactly in float64: no order of summation changes a digit."""
    from kornia.metrics import psnr as metric

    return min(float(metric(_levels(x), _levels(y), 255.0)), EQUAL_DB)


def ssim(x: Tensor, y: Tensor) -> float:
    """SSIM (Wang et al. 2004), 11x11 Gaussian window of deviation 1.5, without borders, mean over RGB. Raises
    ValueError below 11 pixels a side, where no window fits."""
    from kornia.metrics import ssim as metric

    if min(x.shape[2:]) < SSIM_SIDE:
        raise ValueError(f"needs sides of at least {SSIM_SIDE} pixels")
    return float(metric(x, y, SSIM_SIDE, padding="valid").double().mean())


def _levels(image: Tensor) -> Tensor:
    return (255 * image.double()).round()


def ms_ssim(x: Tensor, y: Tensor) -> float:
    """MS-SSIM (Wang et al. 2003), five scales, mean over RGB. Raises ValueError below 161 pixels a side.

    pytorch-msssim's, which the field reports. The one of the training losses takes crops that are smaller than five
    scales need and clamps its gradients; on sides that halve evenly the two agree, which a test holds.
    """
    from pytorch_msssim import ms_ssim as measure

    if min(x.shape[2:]) < MS_SSIM_SIDE:
        raise ValueError(f"needs sides of at least {MS_SSIM_SIDE} pixels")
    return float(measure(x, y, data_range=1.0))


def of_piq(name: str) -> Callable[[Tensor, Tensor], float]:
    """A measure of the library piq, by its name there."""
    import piq

    return lambda x, y: float(getattr(piq, name)(x, y, data_range=1.0))


# Laparra et al. 2016, "Perceptual image quality assessment using a normalized Laplacian pyramid": the published
# constants of its six levels, finest first. NEIGHBOURS are the weights of the neighbour above, left, right, second to
# the right and below.
SIGMAS = (0.0248, 0.0185, 0.0179, 0.0191, 0.0220, 0.2782)
NEIGHBOURS = (
    (0.1011, 0.1493, 0.1460, 0.0072, 0.1015),
    (0.0757, 0.1986, 0.1846, 0.0, 0.0837),
    (0.0477, 0.2138, 0.2243, 0.0, 0.0467),
    (0.0, 0.2503, 0.2616, 0.0, 0.0),
    (0.0, 0.2598, 0.2552, 0.0, 0.0),
    (0.0, 0.2215, 0.0717, 0.0, 0.0),
)


def nlpd() -> Callable[[Tensor, Tensor], float]:
    """Normalised Laplacian pyramid distance of the luma: the mean over levels of the root mean square; 0 is equal.
    Raises ValueError for images too small for six levels."""
    from kornia.color import rgb_to_grayscale

    from gencomp.perceptual.pyramids import laplacian_bands

    def pyramid(image: Tensor) -> list[Tensor]:
        bands = laplacian_bands(rgb_to_grayscale(image.double()), len(SIGMAS))
        return [_normalised(band, level) for level, band in enumerate(bands)]

    def distance(original: list[Tensor], rebuilt: list[Tensor]) -> float:
        levels = [(a - b).square().mean().sqrt() for a, b in zip(original, rebuilt)]
        return float(torch.stack(levels).mean())

    return by_sides(pyramid, pyramid, distance)


def _normalised(band: Tensor, level: int) -> Tensor:
    """A level divided by its local amplitude (their equation 3)."""
    weights = band.new_zeros(1, 1, 5, 5)
    above, left, right, far_right, below = NEIGHBOURS[level]
    weights[0, 0, 1, 2], weights[0, 0, 3, 2] = above, below
    weights[0, 0, 2, 1:] = band.new_tensor([left, 0.0, right, far_right])
    return band / (SIGMAS[level] + F.conv2d(band.abs(), weights, padding=2))
