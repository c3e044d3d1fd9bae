"""Losses of pictures and of discriminators: small pure functions, each a value a sample, to be averaged by the caller.

Pictures are float [N, 3, H, W] in 0..1. Logits are float [N, 1, h, w] (real against fake, positive means real) or
[N, 1 + C, h, w] (class 0 fake, class 1 + c a real patch with label c). Means over samples of equal weight make the sum
over processes equal to the one over the whole batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gencomp.perceptual import blur


def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error, [N]."""
    return (x - y).square().mean((1, 2, 3))


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error, [N]."""
    return (x - y).abs().mean((1, 2, 3))


# Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment", eq. 7.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity, [N] in 0..1, mean over channels.

    Five scales on sides of at least 176 pixels; on smaller crops as many as the 11x11 window fits into, their weights
    scaled to the same sum. ValueError under 11 pixels.
    """
    side, scales = min(x.shape[2:]), 0
    while scales < len(_SCALE_WEIGHTS) and side >> scales >= _WINDOW:
        scales += 1
    if not scales:
        raise ValueError(f"MS-SSIM needs pictures of at least {_WINDOW} pixels a side")
    weights = torch.tensor(_SCALE_WEIGHTS[:scales], device=x.device)
    weights = weights / weights.sum()
    value = x.new_ones(x.shape[:2])
    for scale in range(scales):
        luminance, contrast = _ssim_parts(x, y)
        part = luminance * contrast if scale == scales - 1 else contrast
        value = value * part.mean((2, 3)).clamp_min(1e-6) ** weights[scale]
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return value.mean(1)


def _ssim_parts(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Maps [N, C, H - 10, W - 10] of the luminance term and of the contrast-structure term (Wang et al. 2004)."""
    rows, columns = _window(x.shape[2], x), _window(x.shape[3], x)

    def blurred(maps: Tensor) -> Tensor:
        return rows @ maps @ columns.mT

    mean_x, mean_y = blurred(x), blurred(y)
    square, product = blurred(x * x + y * y), blurred(x * y)
    c1, c2 = 0.01**2, 0.03**2
    means, powers = mean_x * mean_y, mean_x.square() + mean_y.square()
    return (2 * means + c1) / (powers + c1), (2 * (product - means) + c2) / (square - powers + c2)


def _window(side: int, like: Tensor) -> Tensor:
    """The Gaussian window as a banded matrix [side - 10, side]: two matrix products blur several times faster than a
    grouped convolution on a CPU, and no slower on a GPU."""
    positions = torch.arange(side, device=like.device)
    taps = torch.exp(-(positions[:_WINDOW] - _WINDOW // 2).square() / (2 * _SIGMA**2)).to(like.dtype)
    offset = positions[None] - positions[: side - _WINDOW + 1, None]
    inside = (offset >= 0) & (offset < _WINDOW)
    return torch.where(inside, (taps / taps.sum())[offset.clamp(0, _WINDOW - 1)], 0.0)


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


def label_cross_entropy(real: Tensor, fake: Tensor, labels: Tensor) -> AdversarialLoss:
    """OASIS (Schoenfeld et al. 2021, eq. 1 and 2) with the labels of MS-ILLM (Muckley et al. 2023, eq. 6 and 7).

    logits [N, 1 + C, h, w], labels int [N, h, w] in 0..C-1. D: real patches have their label, fake ones class 0; G
    wants its patches to have the original's label. Without weights a class.
    """
    wanted = labels.long() + 1
    on_real = F.cross_entropy(real, wanted, reduction="none")
    on_fake = F.cross_entropy(fake, torch.zeros_like(wanted), reduction="none")
    return AdversarialLoss(_mean(on_real) + _mean(on_fake), _mean(F.cross_entropy(fake, wanted, reduction="none")))


def adversarial(kind: str, real: Sequence[Tensor], fake: Sequence[Tensor], labels: Tensor | None) -> AdversarialLoss:
    """The losses of `kind` (see recipes.Losses.gan), mean over a discriminator's outputs at several scales."""
    if kind == "labels":
        if labels is None:
            raise ValueError("the loss 'labels' needs labels")
        parts = [label_cross_entropy(r, f, labels) for r, f in zip(real, fake, strict=True)]
    else:
        loss = {"nonsaturating": nonsaturating, "hinge": hinge, "relativistic": relativistic}[kind]
        parts = [loss(r, f) for r, f in zip(real, fake, strict=True)]
    return AdversarialLoss(*(torch.stack(values).mean(0) for values in zip(*parts)))


def r1_penalty(logits: Sequence[Tensor], pictures: Tensor) -> Tensor:
    """Squared norm of the logits' gradient with respect to real pictures, [N] (Mescheder et al. 2018, eq. 9).

    pictures must require gradients; the sum of logits over positions stands for the discriminator's value.
    """
    total = torch.stack([value.sum() for value in logits]).sum()
    (gradient,) = torch.autograd.grad(total, pictures, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def high_frequency(x: Tensor) -> Tensor:
    """Energy of what a 3x3 binomial blur takes away, [N]: a watch on grain."""
    return (x - blur(x)).square().mean((1, 2, 3))
