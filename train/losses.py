"""Losses of images and of discriminators: small pure functions, each a value per sample, to be averaged by the caller.

Images are float [N, 3, H, W] in 0..1. Logits are float [N, 1, h, w]; positive means real. Means over samples of equal
weight make the sum over processes equal to the one over the whole batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error, [N]."""
    return (x - y).square().mean((1, 2, 3))


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error, [N]."""
    return (x - y).abs().mean((1, 2, 3))


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Mean over layers of the L1 distance of a discriminator's features, [N] (Wang et al. 2018, pix2pixHD, eq. 4)."""
    distances = [(a.detach() - b).abs().flatten(1).mean(1) for a, b in zip(real, fake, strict=True)]
    return torch.stack(distances).mean(0)


class AdversarialLoss(NamedTuple):
    """Both players' losses, [N]."""

    discriminator: Tensor
    generator: Tensor


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def nonsaturating(real: Tensor, fake: Tensor) -> AdversarialLoss:
    """Goodfellow et al. 2014, section 3: D -log s(real) - log(1 - s(fake)), G -log s(fake); s the logistic function."""
    return AdversarialLoss(_mean(F.softplus(-real)) + _mean(F.softplus(fake)), _mean(F.softplus(-fake)))


def hinge(real: Tensor, fake: Tensor) -> AdversarialLoss:
    """Lim and Ye 2017, geometric GAN: D max(0, 1 - real) + max(0, 1 + fake), G -fake."""
    return AdversarialLoss(_mean(F.relu(1 - real)) + _mean(F.relu(1 + fake)), -_mean(fake))


def relativistic(real: Tensor, fake: Tensor) -> AdversarialLoss:
    """Jolicoeur-Martineau 2018, relativistic pairing GAN: softplus of the difference of each pair of logits."""
    return AdversarialLoss(_mean(F.softplus(fake - real)), _mean(F.softplus(real - fake)))


GANS = {"nonsaturating": nonsaturating, "hinge": hinge, "relativistic": relativistic}


def adversarial(kind: str, real: Sequence[Tensor], fake: Sequence[Tensor]) -> AdversarialLoss:
    """The losses of `kind`, a name in GANS, mean over a discriminator's outputs."""
    parts = [GANS[kind](r, f) for r, f in zip(real, fake, strict=True)]
    return AdversarialLoss(*(torch.stack(values).mean(0) for values in zip(*parts)))


def gradient_penalty(logits: Sequence[Tensor], images: Tensor) -> Tensor:
    """Squared norm of the logits' gradient with respect to real images, [N] (R1, Mescheder et al. 2018, eq. 9).

    images must require gradients; the sum of logits over positions stands for the discriminator's value.
    """
    total = torch.stack([value.sum() for value in logits]).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient.square().flatten(1).sum(1)
