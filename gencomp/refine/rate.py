"""The rate of latents by the integer tables, with the means and levels of the float prior, and its gradient.

The float prior stands in for the integer one while latents are searched: it can be differentiated, and the integers
follow it to 0.1 % of the bits. Whatever is found is rounded against the integer prior by the ordinary encoder.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..entropy.passes import Pass
from ..entropy.tables import Tables, costs
from ..networks.contract import PassPrior
from ..networks.priors import gaussian_bits

HELD = 1e9  # bits per squared step of quantisation: so dear that a latent is rounded and nothing else


class Costs(NamedTuple):
    """Bits of integers by the model's tables. y: [LEVELS, 2 Y + 1] over residuals -Y..Y; z: [Z, 2 K + 1]."""

    y: Tensor
    z: Tensor


class Coding(NamedTuple):
    """Latents as they would be coded: y_hat [1, M, h, w]; bits of y and z together; gradient [1, M, h, w] of the bits
    with respect to y_hat, that of a latent's own residual left out."""

    y_hat: Tensor
    bits: float
    gradient: Tensor


@lru_cache(maxsize=4)
def costs_of(tables: Tables, device: torch.device) -> Costs:
    """The costs of all symbols, escapes included, in one array for y and one for z."""
    half = int(tables.half_widths.max())
    residuals = np.abs(np.arange(-half, half + 1))
    y = []
    for weights in tables.y:
        cost, width = costs(weights), len(weights) // 2 - 1
        row = cost[-1] + 2 + 2 * np.log2(np.maximum(residuals - width, 1))  # an escape: about 2 log2 of the overshoot
        row[half - width : half + width + 1] = cost[:-1]
        y.append(row)
    bound = int(tables.z_half_widths.max())
    z = np.full((len(tables.z), 2 * bound + 1), np.inf)
    for row, weights in zip(z, tables.z):
        width = len(weights) // 2
        row[bound - width : bound + width + 1] = costs(weights)
    return Costs(*(torch.tensor(np.array(part), dtype=torch.float32, device=device) for part in (y, z)))


@lru_cache(maxsize=16)
def pass_indices(passes: int, channels: int, height: int, width: int, device: torch.device) -> tuple[Tensor, ...]:
    """Positions of each pass in the flattened latents [M h w]."""
    whole = np.zeros((passes, height, width, channels), np.bool_)
    for index, mask in enumerate(whole):
        Pass(passes, index, channels).put(mask, np.ones((height, width, channels // passes), np.bool_))
    return tuple(torch.from_numpy(np.flatnonzero(mask.transpose(2, 0, 1))).to(device) for mask in whole)


def choose_residuals(offset: Tensor, level: Tensor, weight: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """For each latent the residual r that minimises bits(r) + weight (offset - r)^2, and its bits; all [n].

    Tried are the nearest integer, the next one towards zero, and zero. table: `Costs.y`.
    """
    half, rows = table.shape[1] // 2, level.round().long() * table.shape[1]
    flat = table.reshape(-1)

    def bits_of(residual: Tensor) -> Tensor:
        return flat[rows + residual.clamp(-half, half).long() + half]

    nearest = torch.round(offset)
    best, best_bits = nearest, bits_of(nearest)
    least = best_bits + weight * (offset - nearest).square()
    for candidate in (nearest - nearest.sign(), torch.zeros_like(nearest)):
        bits = bits_of(candidate)
        cost = bits + weight * (offset - candidate).square()
        better = cost < least
        best, best_bits = torch.where(better, candidate, best), torch.where(better, bits, best_bits)
        least = torch.minimum(cost, least)
    return best, best_bits


def z_bits(z_hat: Tensor, table: Tensor) -> float:
    """Bits of rounded hyper-latents; infinite where a table does not hold one."""
    bound = table.shape[1] // 2
    channels = torch.arange(len(table), device=z_hat.device)[None, :, None, None].expand_as(z_hat)
    return float(table[channels, z_hat.clamp(-bound, bound).long() + bound].sum())


def code(prior: PassPrior, costs: Costs, target: Tensor, weight: Tensor, z_hat: Tensor, quality_step: Tensor) -> Coding:
    """Round targets y [1, M, h, w], pass after pass, each latent to the residual of least bits + weight (target - y)^2.

    weight [1, M, h, w]: bits per squared step. The gradient is that of the Gaussian rates with residuals held: how the
    bits of a latent change as its mean and level move with what is known before it.
    """
    indices = pass_indices(prior.passes, *target.shape[1:], target.device)
    flat_target, flat_weight = target.reshape(-1), weight.reshape(-1)
    leaves: list[Tensor] = []
    with torch.no_grad():
        features = prior.hyper_features(z_hat, quality_step, *target.shape[2:])
    with torch.enable_grad():
        known, bits, expected = torch.zeros_like(target), z_bits(z_hat, costs.z), target.new_zeros(())
        for index, places in enumerate(indices):
            mean, level = (part.reshape(-1)[places] for part in prior.mean_and_level(index, features, known))
            with torch.no_grad():
                residual, spent = choose_residuals(flat_target[places] - mean, level, flat_weight[places], costs.y)
                leaf = torch.zeros_like(flat_target).scatter_(0, places, mean + residual).view(target.shape)
                bits += float(spent.sum())
            leaves.append(leaf.requires_grad_())
            known = known + leaf
            expected = expected + gaussian_bits(leaf.detach().reshape(-1)[places] - mean, level).sum()
        parts = torch.autograd.grad(expected, leaves[:-1]) if len(leaves) > 1 else ()
    gradient = torch.zeros_like(flat_target)
    for places, part in zip(indices, parts):
        gradient[places] = part.reshape(-1)[places]
    return Coding(known.detach(), bits, gradient.view(target.shape))
