"""Losses of images, of rate and distortion, and of discriminators: small pure functions, each a value per sample, to be
averaged by the caller.

Text is found without a network, as thin strokes on an even ground: a stroke is what a closing or an opening by 7x7
pixels takes away (the black and white top-hat, Meyer 1979). Print has strong strokes and, between them, ground without
any; foliage and grain have strokes of every strength and no ground.

Images are float [N, 3, H, W] in 0..1. Logits are float [N, 1, h, w]; positive means real. Means over samples of equal
weight make the sum over processes equal to the one over the whole batch.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.networks.contract import TrainingInputs, TrainingOutput
from gencomp.perceptual.ms_ssim import ms_ssim

from .recipe import RateTarget, Recipe, fitted

STROKE, WINDOW = 7, 16  # pixels: wider than a stroke; over which strokes and ground are counted
STRONG, EVEN = 0.25, 0.04  # of the range of luma: from here on a stroke; up to here ground
STROKES, GROUND = (0.04, 0.10), (0.25, 0.40)  # shares of a window: where the mask begins, and where it is whole


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error, [N]."""
    return (x - y).square().mean((1, 2, 3))


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error, [N]."""
    return (x - y).abs().mean((1, 2, 3))


@torch.no_grad()
def text_mask(x: Tensor) -> Tensor:
    """Images [N, 3, H, W] in 0..1 -> [N, 1, H, W], from 0 (no text) to 1."""
    luma = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    dark = -_largest(-_largest(luma)) - luma  # closing less the image
    light = luma - _largest(-_largest(-luma))  # the image less its opening
    stroke = torch.maximum(dark, light)
    strong, even = (_share((stroke > STRONG).float()), _share((stroke < EVEN).float()))
    return _ramp(strong, *STROKES) * _ramp(even, *GROUND)


def text_l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error inside of text, over all pixels: [N]."""
    return (text_mask(x) * (x - y).abs()).mean((1, 2, 3))


def _largest(x: Tensor) -> Tensor:
    return F.max_pool2d(x, STROKE, 1, STROKE // 2)


def _share(x: Tensor) -> Tensor:
    half = WINDOW // 2
    return F.avg_pool2d(F.pad(x, (half, half - 1, half, half - 1), "replicate"), WINDOW, 1)


def _ramp(x: Tensor, begin: float, whole: float) -> Tensor:
    return ((x - begin) / (whole - begin)).clamp(0, 1)


def lambda_of(quality_step: Tensor, recipe: Recipe) -> Tensor:
    """lambda of each sample: quality_step [N] int in 0..STEPS -> [N] float32."""
    span = math.log(recipe.lambda_max / recipe.lambda_min)
    return recipe.lambda_min * torch.exp(quality_step.float() * (span / STEPS))


def rate_weight(quality_step: Tensor, recipe: Recipe) -> Tensor:
    """Weight of the bits per pixel of each sample, [N]: (lambda_mid / lambda) ** balance, so that no rate dominates."""
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    return (middle / lambda_of(quality_step, recipe)) ** recipe.lambda_balance


def rate_distortion(x_hat: Tensor, bits: Tensor, x: Tensor, quality_step: Tensor, recipe: Recipe) -> Tensor:
    """R + lambda D (Balle et al. 2018, eq. 10), weighted by `rate_weight`, mean over the batch.

    x_hat, x [N, 3, H, W] in 0..1, bits [N]; D is the MSE in grey levels squared, plus ms_ssim_weight * (1 - MS-SSIM).
    """
    bpp, distortion = bits / (x.shape[2] * x.shape[3]), mse(x_hat, x) * 255**2
    if recipe.ms_ssim_weight:
        distortion = distortion + recipe.ms_ssim_weight * (1 - ms_ssim(x_hat, x))
    loss = bpp + lambda_of(quality_step, recipe) * distortion
    return (rate_weight(quality_step, recipe) * loss).mean()


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


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the L1 distance of a discriminator's features, [N] (Wang et al. 2018, pix2pixHD, eq. 4)."""
    distances = [(a.detach() - b).abs().flatten(1).mean(1) for a, b in zip(real, fake, strict=True)]
    return torch.stack(distances).mean(0)


class AdversarialLoss(NamedTuple):
    discriminator: Tensor
    generator: Tensor


def adversarial(real: Sequence[Tensor], fake: Sequence[Tensor]) -> AdversarialLoss:
    """The losses of both sides, [N], mean over a discriminator's outputs (Goodfellow et al. 2014, section 3): D -log
    s(real) - log(1 - s(fake)), G -log s(fake); s the logistic function."""
    judged = [F.softplus(-r).flatten(1).mean(1) + F.softplus(f).flatten(1).mean(1) for r, f in zip(real, fake)]
    fooled = [F.softplus(-f).flatten(1).mean(1) for f in fake]
    return AdversarialLoss(torch.stack(judged).mean(0), torch.stack(fooled).mean(0))


def gradient_penalty(logits: Sequence[Tensor], images: Tensor) -> Tensor:
    """Squared norm of the logits' gradient with respect to real images, [N] (R1, Mescheder et al. 2018, eq. 9).

    images must require gradients; the sum of logits over positions stands for the discriminator's value.
    """
    total = torch.stack([value.sum() for value in logits]).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient.square().flatten(1).sum(1)
