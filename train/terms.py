"""Terms of images that a recipe may weigh: the rows of a table, by name.

A new term is a function (original, reconstruction) -> [N] in a file of its own (`losses.py`, or `gencomp/perceptual` if
evaluation measures it, too), and a row of `TERMS`. Recipes then name it: `--set realism.losses.NAME=WEIGHT`, and
`--set realism.losses.NAME.times_realism=true`, for instance.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gencomp.perceptual.grid import grid_artefact_loss
from gencomp.perceptual.lpips import (
    embedding_distance,
    lite_embedding,
    load_lite,
    load_lpips,
    lpips_loss,
    network_features,
)
from gencomp.perceptual.ms_ssim import ms_ssim
from gencomp.perceptual.pyramids import FeatureStack, laplacian_features, steerable_features
from gencomp.perceptual.wasserstein import wasserstein_distortion

from .losses import l1, mse, text_l1

Perceptual = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Term:
    """Settings of a term. times_realism: counted times the realism of each sample, else always, at a fine quality more
    than at a coarse one. shift: both images lose as many rows and columns, drawn anew in each step from either side,
    so that a network's grid meets another one of the synthesis: what repeats with both cannot hide."""

    weight: float = 0.0
    times_realism: bool = False
    shift: int = 0


@dataclass(frozen=True)
class Wasserstein(Term):
    """Settings of a Wasserstein distortion. log2_sigma: of the pooling width in pixels."""

    times_realism: bool = True
    log2_sigma: float = 4.0


class Row(NamedTuple):
    """default: settings, of weight 0; build: of settings, the folder of feature networks' weights and a device. quick:
    may be taken in the precision of the networks, being made of convolutions whose distance is float32 again."""

    default: Term
    build: Callable[[Any, str | None, torch.device], Perceptual]
    quick: bool = False


def _lpips(net: str, _: Term, weights: str | None, device: torch.device) -> Perceptual:
    return partial(lpips_loss, load_lpips(net, weights).to(device))


def _lite(_: Term, weights: str | None, device: torch.device) -> Perceptual:
    embed = lite_embedding(load_lite(weights).to(device))
    return lambda x, y: embedding_distance(embed(y), embed(x))


def _wasserstein(stack: FeatureStack, term: Wasserstein) -> Perceptual:
    return lambda x, y: wasserstein_distortion(stack(x), stack(y), term.log2_sigma)


def _over_network(net: str, term: Wasserstein, weights: str | None, device: torch.device) -> Perceptual:
    return _wasserstein(network_features(load_lpips(net, weights).to(device)), term)


TERMS: dict[str, Row] = {
    "mse": Row(Term(), lambda *_: mse),  # on images in 0..1
    "l1": Row(Term(), lambda *_: l1),
    "ms_ssim": Row(Term(), lambda *_: lambda x, y: 1 - ms_ssim(x, y)),
    **{f"lpips_{net}": Row(Term(), partial(_lpips, net), quick=True) for net in ("alex", "vgg", "squeeze")},
    "wasserstein_laplacian": Row(Wasserstein(), lambda term, *_: _wasserstein(laplacian_features(), term)),
    "wasserstein_steerable": Row(Wasserstein(), lambda term, *_: _wasserstein(steerable_features(), term), quick=True),
    **{
        f"wasserstein_{net}": Row(Wasserstein(), partial(_over_network, net), quick=True)
        for net in ("alex", "vgg", "squeeze")
    },
    "lite": Row(Term(), _lite, quick=True),  # distance of EfficientNet-Lite0's features
    "text_l1": Row(Term(), lambda *_: text_l1),  # inside of text alone, see losses.py
    "grid_artefacts": Row(Term(times_realism=True), lambda *_: grid_artefact_loss),  # crops of at least 128
}


_METRICS = {"mse": "psnr", "wasserstein_steerable": "wasserstein"}  # evaluation's names, where they are others


def minimised(recipe: Mapping[str, Any]) -> list[str]:
    """What a resolved recipe's training minimises, by the names of `gencomp eval`'s metrics: they say less of it."""
    terms = ["mse", *(["ms_ssim"] if recipe["ms_ssim_weight"] else [])]  # of the distortion that rates are traded for
    for stage in recipe["stages"].values():
        terms += [name for name, term in stage.get("losses", {}).items() if term["weight"]]
    return [_METRICS.get(name, name) for name in dict.fromkeys(terms)]


class ActiveTerm(NamedTuple):
    name: str
    settings: Term
    function: Perceptual
    quick: bool = False


def build_terms(losses: Mapping[str, Term], weights: str | None, device: torch.device) -> list[ActiveTerm]:
    """What the losses ask for, in the table's order; WeightsError names a file that is wanted and not there."""
    wanted = [(name, losses[name], row) for name, row in TERMS.items() if name in losses and losses[name].weight]
    return [ActiveTerm(name, term, row.build(term, weights, device), row.quick) for name, term, row in wanted]


def shifted(x: Tensor, y: Tensor, shift: int, step: int) -> tuple[Tensor, Tensor]:
    """Both images without `shift` rows and columns, of which a step takes some from above and from the left."""
    if not shift:
        return x, y
    top, left = np.random.default_rng((step, shift)).integers(0, shift + 1, 2)
    rows, columns = (slice(int(o), length - shift + int(o)) for o, length in zip((top, left), x.shape[2:]))
    return x[..., rows, columns], y[..., rows, columns]


def weighted(
    terms: Sequence[ActiveTerm],
    x: Tensor,
    x_hat: Tensor,
    realism: Tensor,
    balance: Tensor,
    realistic: Tensor,
    step: int = 0,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of the terms of images, [N], and the mean of each unweighted term; of "realistic/..." the sum over
    realism above 0, over N.

    realism, balance [N]: the latter multiplies what is always counted. realistic int64 [K]: the rows with realism,
    which alone are given to the terms that are counted times the realism. step: by which shifts are drawn. autocast:
    the precision of what is quick.
    """
    total, metrics = x.new_zeros(len(x)), {}

    def of(term: ActiveTerm, x: Tensor, x_hat: Tensor) -> Tensor:
        with autocast() if term.quick else nullcontext():
            return term.function(*shifted(x, x_hat, term.settings.shift, step))

    for term in terms:
        name, settings = term.name, term.settings
        if not settings.times_realism:
            value = of(term, x, x_hat)
            total, metrics[name] = total + balance * settings.weight * value, value.detach().mean()
    if any(term.settings.times_realism for term in terms):
        real, fake, share = x[realistic], x_hat[realistic], realism[realistic]
        for term in terms:
            name, settings = term.name, term.settings
            if settings.times_realism:
                value = of(term, real, fake)
                total = total.index_add(0, realistic, share * settings.weight * value)
                metrics[f"realistic/{name}"] = ((share > 0) * value.detach()).sum() / len(x)
    return total, metrics
