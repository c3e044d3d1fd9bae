"""Metrics of one reconstruction against its original, from the pixels alone.

Images are float (1, 3, H, W) in [0, 1], made from 8 bits; every metric is a number.
"""

import math

from torch import Tensor

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
