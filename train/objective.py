"""The objectives that training minimises, as pure functions of images, rates and outputs of discriminators."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.perceptual import (
    FeatureStack,
    grid_artefact_loss,
    laplacian_features,
    load_lpips,
    lpips_loss,
    network_features,
    random_features,
    steerable_features,
    wasserstein_distortion,
)
from gencomp.perceptual.ms_ssim import ms_ssim

from .losses import l1, mse
from .recipe import Losses, RateTarget, Recipe
from .schedule import fitted

Perceptual = Callable[[Tensor, Tensor], Tensor]


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
    if losses.grid_artefacts:
        realistic["grid_artefacts"] = (losses.grid_artefacts, grid_artefact_loss)
    return Terms(always, realistic)


def _stack(losses: Losses, weights: str | None, device: torch.device) -> FeatureStack:
    if losses.wasserstein_features == "steerable":
        return steerable_features()
    if losses.wasserstein_features == "laplacian":
        return laplacian_features()
    if losses.wasserstein_features == "random":
        return random_features()
    return network_features(load_lpips(losses.wasserstein_features, weights).to(device))


class Weighted(NamedTuple):
    """total [N], and the mean of each unweighted term; of "realistic/..." the sum over realism above 0, over N."""

    total: Tensor
    metrics: dict[str, Tensor]


def image_terms(
    terms: Terms, x: Tensor, x_hat: Tensor, realism: Tensor, balance: Tensor, realistic: Tensor
) -> Weighted:
    """Weighted sum of the terms of images, [N].

    realism, balance [N]: the latter multiplies what is always counted. realistic int64 [K]: the rows with realism,
    which alone are given to the terms that are counted times the realism.
    """
    total, metrics = x.new_zeros(len(x)), {}
    for name, (weight, term) in terms.always.items():
        value = term(x, x_hat)
        total, metrics[name] = total + balance * weight * value, value.detach().mean()
    if terms.realistic:
        real, fake, share = x[realistic], x_hat[realistic], realism[realistic]
        for name, (weight, term) in terms.realistic.items():
            value = term(real, fake)
            total = total.index_add(0, realistic, share * weight * value)
            metrics[f"realistic/{name}"] = ((share > 0) * value.detach()).sum() / len(x)
    return Weighted(total, metrics)


def distortion_balance(quality_step: Tensor, recipe: Recipe) -> Tensor:
    """How much more a fine quality weighs distortion, [N]: (lambda / lambda_mid) ** (1 - lambda_balance).

    The factor that stage 1 gives to its distortion, so that stage 2 trades rates against each other alike; all one
    under a rate target.
    """
    if recipe.rate.bpp:
        return torch.ones(len(quality_step), device=quality_step.device)
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    return (lambda_of(quality_step, recipe) / middle) ** (1 - recipe.lambda_balance)
