"""The objectives that training minimises, as pure functions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.model import CodecOutput

from .recipes import Recipe


class RateDistortion(NamedTuple):
    """loss [] to be minimised; bpp [B] estimated bits a pixel; mse [B] in grey levels squared."""

    loss: Tensor
    bpp: Tensor
    mse: Tensor


def lambda_of(step: Tensor, recipe: Recipe) -> Tensor:
    """lambda of each sample: step [B] int in 0..STEPS -> [B] float32."""
    span = math.log(recipe.lambda_max / recipe.lambda_min)
    return recipe.lambda_min * torch.exp(step.float() * (span / STEPS))


def rate_distortion(output: CodecOutput, x: Tensor, step: Tensor, recipe: Recipe) -> RateDistortion:
    """R + lambda D (Balle et al. 2018, eq. 10), weighted by (lambda_mid / lambda) ** balance, mean over the batch.

    x [B, 3, H, W] in 0..1; D is the MSE in grey levels squared.
    """
    pixels = x.shape[2] * x.shape[3]
    bpp = (output.y_bits + output.z_bits) / pixels
    mse = (output.x_hat - x).square().mean((1, 2, 3)) * 255**2
    rate_price = lambda_of(step, recipe)
    middle = math.sqrt(recipe.lambda_min * recipe.lambda_max)
    weight = (middle / rate_price) ** recipe.lambda_balance
    return RateDistortion((weight * (bpp + rate_price * mse)).mean(), bpp, mse)
