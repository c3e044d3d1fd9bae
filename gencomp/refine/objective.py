"""What refinement minimises: R + lambda D, the trade that the model was trained for (Balle et al. 2018, eq. 10).

R is in bits; D is the mean squared error in grey levels squared plus `ms_ssim_weight` times (1 - MS-SSIM).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ..bitstream import STEPS
from ..perceptual.ms_ssim import ms_ssim

LAMBDA_MIN, LAMBDA_MAX = 7e-5, 0.03  # where a model's facts do not say, as those of a3c42fda
MS_SSIM_WEIGHT = 600.0
MS_SSIM_SIDE = 11  # pixels a side below which there is no MS-SSIM


class Price(NamedTuple):
    """lam: bits per pixel for each grey level squared of distortion; ms_ssim_weight: grey levels squared for each unit
    of 1 - MS-SSIM."""

    lam: float
    ms_ssim_weight: float


def price_of(facts: Mapping[str, Any], quality_step: int) -> Price:
    """The price at a quality step 0..1024, by the range that the model was trained on: log-linear in the step.

    facts: `Model.facts`; "lambda_min", "lambda_max" and "ms_ssim_weight" where the model says them.
    """
    low, high = (_positive(facts, "lambda_min", LAMBDA_MIN), _positive(facts, "lambda_max", LAMBDA_MAX))
    weight = facts.get("ms_ssim_weight", MS_SSIM_WEIGHT)
    weight = float(weight) if isinstance(weight, int | float) and 0 <= weight < math.inf else MS_SSIM_WEIGHT
    return Price(low * (high / low) ** (quality_step / STEPS), weight)


def distortion(x_hat: Tensor, x: Tensor, price: Price, counted: Tensor | None = None) -> Tensor:
    """D [] of x_hat against x, each [1, 3, H, W] in 0..1, in grey levels squared per sample.

    counted [1, 1, H, W], 0 or 1: where it is 0 the original is not known, and nothing is asked of x_hat.
    """
    x_hat = x_hat.clamp(0, 1)
    if counted is not None:
        x = counted * x + (1 - counted) * x_hat
    total = (x_hat - x).square().mean() * 255**2
    if price.ms_ssim_weight and min(x.shape[2:]) >= MS_SSIM_SIDE:
        total = total + price.ms_ssim_weight * (1 - ms_ssim(x_hat, x).mean())
    return total


def _positive(facts: Mapping[str, Any], name: str, default: float) -> float:
    value = facts.get(name, default)
    return float(value) if isinstance(value, int | float) and 0 < value < math.inf else default
