"""The objectives that training minimises, as pure functions of pictures, rates and verdicts."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.perceptual import (
    FeatureStack,
    laplacian_features,
    load_lpips,
    lpips_loss,
    network_features,
    regularity,
    steerable_features,
    wasserstein_distortion,
)
from gencomp.perceptual.ms_ssim import ms_ssim

from .losses import l1, mse
from .recipes import Losses, RateTarget, Recipe

Perceptual = Callable[[Tensor, Tensor], Tensor]


class RateDistortion(NamedTuple):
    """loss [] to be minimised; bpp [B] estimated bits a pixel; mse [B] in grey levels squared."""

    loss: Tensor
    bpp: Tensor
    mse: Tensor


def lambda_of(step: Tensor, recipe: Recipe) -> Tensor:
    """lambda of each sample: step [B] int in 0..STEPS -> [B] float32."""
    span = math.log(recipe.lambda_max / recipe.lambda_min)
    return recipe.lambda_min * torch.exp(step.float() * (span / STEPS))


def rate_distortion(x_hat: Tensor, bits: Tensor, x: Tensor, step: Tensor, recipe: Recipe) -> RateDistortion:
    """R + lambda D (Balle et al. 2018, eq. 10), weighted by (lambda_mid / lambda) ** balance, mean over the batch.

    x_hat, x [B, 3, H, W] in 0..1, bits [B]; D is the MSE in grey levels squared, plus structure * (1 - MS-SSIM).
    """
    bpp = bits / (x.shape[2] * x.shape[3])
    error = (x_hat - x).square().mean((1, 2, 3)) * 255**2
    distortion = error + recipe.structure * (1 - ms_ssim(x_hat, x)) if recipe.structure else error
    rate_price = lambda_of(step, recipe)
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    weight = (middle / rate_price) ** recipe.lambda_balance
    return RateDistortion((weight * (bpp + rate_price * distortion)).mean(), bpp, error)


def price_of_rate(target: RateTarget, bpp: float, step: int) -> float:
    """Weight of the bits a pixel, from the running rate over all samples and the stage's step number.

    HiFiC's constraint (Mentzer et al. 2020, eq. 8 and appendix A.5): lambda_above while the rate is over the target,
    else lambda_below; for the first `warmup` steps the target and the larger price are raised.
    """
    early = step < target.warmup
    aim = target.bpp * (target.warmup_bpp if early else 1.0)
    price = target.lambda_above if bpp > aim else target.lambda_below
    return price * (target.warmup_lambda if early else 1.0)


def running_rate(target: RateTarget, before: float, bpp: float) -> float:
    """The rate that is compared with the target, after a step whose samples took `bpp`; it starts at the first one."""
    return target.smoothing * before + (1 - target.smoothing) * bpp if before else bpp


class Terms(NamedTuple):
    """Functions of (original, reconstruction) -> [N] that a recipe's losses ask for, by name and with weight."""

    always: dict[str, tuple[float, Perceptual]]
    realistic: dict[str, tuple[float, Perceptual]]  # counted times the realism


def build_terms(losses: Losses, weights: str | None, device: torch.device) -> Terms:
    """Load what the losses need; WeightsError names a file that is wanted and not there."""
    always: dict[str, tuple[float, Perceptual]] = {}
    realistic: dict[str, tuple[float, Perceptual]] = {}
    if losses.mse:
        always["mse"] = (losses.mse, mse)
    if losses.l1:
        always["l1"] = (losses.l1, l1)
    if losses.ms_ssim:
        always["ms_ssim"] = (losses.ms_ssim, lambda x, y: 1 - ms_ssim(x, y))
    if losses.lpips:
        network = load_lpips(losses.lpips_net, weights).to(device)
        always["lpips"] = (losses.lpips, lambda x, y: lpips_loss(network, x, y))
    if losses.wasserstein:
        stack = _stack(losses, weights, device)
        sigma = losses.wasserstein_log2_sigma
        realistic["wasserstein"] = (losses.wasserstein, lambda x, y: wasserstein_distortion(stack(x), stack(y), sigma))
    if losses.regularity:
        realistic["regularity"] = (losses.regularity, regularity)
    return Terms(always, realistic)


def _stack(losses: Losses, weights: str | None, device: torch.device) -> FeatureStack:
    if losses.wasserstein_features == "steerable":
        return steerable_features()
    if losses.wasserstein_features == "laplacian":
        return laplacian_features()
    return network_features(load_lpips(losses.wasserstein_features, weights).to(device))


class Weighted(NamedTuple):
    """total [N], and the mean of each unweighted term."""

    total: Tensor
    figures: dict[str, Tensor]


def picture_terms(terms: Terms, x: Tensor, x_hat: Tensor, realism: Tensor, balance: Tensor) -> Weighted:
    """Weighted sum of the terms of pictures. realism, balance [N]: the latter multiplies what is always counted."""
    total, figures = x.new_zeros(len(x)), {}
    for name, (weight, term) in terms.always.items():
        value = term(x, x_hat)
        total, figures[name] = total + balance * weight * value, value.detach().mean()
    for name, (weight, term) in terms.realistic.items():
        value = term(x, x_hat)
        total, figures[name] = total + realism * weight * value, value.detach().mean()
    return Weighted(total, figures)


def distortion_balance(step: Tensor, recipe: Recipe) -> Tensor:
    """How much more a fine quality weighs distortion, [N]: (lambda / lambda_mid) ** (1 - lambda_balance).

    The factor that stage 1 gives to its distortion, so that stage 2 trades rates against each other alike; all one
    under a rate target.
    """
    if recipe.rate.bpp:
        return torch.ones(len(step), device=step.device)
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    return (lambda_of(step, recipe) / middle) ** (1 - recipe.lambda_balance)
