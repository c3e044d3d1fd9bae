"""Rate and distortion, what they weigh, and what the log says of them: pure functions of images and bits."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.networks.contract import TrainingInputs, TrainingOutput
from gencomp.perceptual.ms_ssim import ms_ssim

from .losses import mse
from .recipe import RateTarget, Recipe
from .schedule import fitted


class RateDistortion(NamedTuple):
    """loss [] to be minimised; bpp [N] estimated bits per pixel; mse [N] in grey levels squared."""

    loss: Tensor
    bpp: Tensor
    mse: Tensor


def lambda_of(quality_step: Tensor, recipe: Recipe) -> Tensor:
    """lambda of each sample: quality_step [N] int in 0..STEPS -> [N] float32."""
    span = math.log(recipe.lambda_max / recipe.lambda_min)
    return recipe.lambda_min * torch.exp(quality_step.float() * (span / STEPS))


def rate_weight(quality_step: Tensor, recipe: Recipe) -> Tensor:
    """Weight of the bits per pixel of each sample, [N]: (lambda_mid / lambda) ** balance, so that no rate dominates."""
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    return (middle / lambda_of(quality_step, recipe)) ** recipe.lambda_balance


def rate_distortion(x_hat: Tensor, bits: Tensor, x: Tensor, quality_step: Tensor, recipe: Recipe) -> RateDistortion:
    """R + lambda D (Balle et al. 2018, eq. 10), weighted by `rate_weight`, mean over the batch.

    x_hat, x [N, 3, H, W] in 0..1, bits [N]; D is the MSE in grey levels squared, plus ms_ssim_weight * (1 - MS-SSIM).
    """
    bpp = bits / (x.shape[2] * x.shape[3])
    error = (x_hat - x).square().mean((1, 2, 3)) * 255**2
    distortion = error + recipe.ms_ssim_weight * (1 - ms_ssim(x_hat, x)) if recipe.ms_ssim_weight else error
    loss = bpp + lambda_of(quality_step, recipe) * distortion
    return RateDistortion((rate_weight(quality_step, recipe) * loss).mean(), bpp, error)


def price_of_rate(target: RateTarget, bpp: Tensor, step: int, steps: int) -> Tensor:
    """Weight of the bits per pixel [], from the running rate over all samples [], the stage's step and its length.

    HiFiC's constraint (Mentzer et al. 2020, eq. 8 and appendix A.5): lambda_above while the rate is over the target,
    else lambda_below; early on the target and both prices are changed (see RateTarget).
    """
    early = step < fitted(target.warmup, 0, steps)
    aim = target.bpp * (target.warmup_bpp if early else 1.0)
    factor = target.warmup_lambda if early else 1.0
    return factor * (target.lambda_below + (target.lambda_above - target.lambda_below) * (bpp > aim).float())


def distortion_balance(quality_step: Tensor, recipe: Recipe) -> Tensor:
    """How much more a fine quality weighs distortion, [N]: (lambda / lambda_mid) ** (1 - lambda_balance).

    The factor that stage 1 gives to its distortion, so that stage 2 trades rates against each other alike; all one
    under a rate target.
    """
    if recipe.rate.bpp:
        return torch.ones(len(quality_step), device=quality_step.device)
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    return (lambda_of(quality_step, recipe) / middle) ** (1 - recipe.lambda_balance)


def bits_of(output: TrainingOutput) -> Tensor:
    """Bits of each sample over all streams, [N], as training differentiates them."""
    return torch.stack(list(output.bits.values())).sum(0)


@torch.no_grad()
def watched(inputs: TrainingInputs, output: TrainingOutput) -> dict[str, Tensor]:
    """Rate of rounded latents (what a file takes) and PSNR; both also near the middle quality (quality steps of the
    middle fifth), as sums with their count, over the batch."""
    bpp = torch.stack(list(output.rounded_bits.values())).sum(0) / inputs.x[0, 0].numel()
    error = mse(output.x_hat, inputs.x) * 255**2
    inside = ((inputs.quality_step - STEPS // 2).abs() <= STEPS // 10).float()
    middle = {"_middle": inside.mean(), "_middle_bpp": (inside * bpp).mean(), "_middle_mse": (inside * error).mean()}
    counted = {"_realistic": (inputs.realism > 0).float().mean()}  # what the sums "realistic/..." are divided by
    return {"bpp": bpp.mean(), "psnr": (10 * torch.log10(255**2 / error)).mean(), **middle, **counted}
