"""A trained float prior to the integer prior that decides bits, once, at export.

    networks --calibration images--> largest activations --convert--> integer networks, proved exact
    p(z) --> integer tables per channel;  Gaussian levels --calibration images--> tables of what is coded

Also the price: rate of the integer prior against the float one, on the same images.
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..bitstream import STEPS, ModelError
from ..entropy.constants import HYPER_UNIT, KNOTS, LEVELS, MEAN_UNIT, SEGMENT
from ..entropy.contract import EntropyModel, Latents
from ..entropy.factorized import Factorized
from ..entropy.hyperprior import Hyperprior
from ..entropy.tables import TOTAL, Tables, Weights, default_tables, escape_table, quantise_pmf, sigma_of_level
from .contract import Calibration
from .convert import MAX_HIDDEN, convert, hyper_table, largest_activations, latent_table, layers_of
from .priors import LEVEL_CENTRE, LEVEL_SPREAD, FactorisedPrior, Prior, gaussian_bits, pass_masks
from .transforms import quality_condition

MAX_HYPER = 127  # largest |z| that a table may hold
SETS = 17  # of tables, for latents that the quality scales: 1.3 from one to the next where it scales by 64 in all
MAX_LATENT = 1023  # largest |y| of a factorized prior that a table may hold; what is larger escapes
PRIOR_WEIGHT = 500.0  # residuals that the Gaussian of a level counts for
SCALE_UNIT = 512  # standard deviations are multiples of 1/512: 1.8 % of the smallest, and 64 is still below 2^15


class FloatPass(NamedTuple):
    """What the float prior makes of latents: inputs of each context network, and the rate in bits."""

    context_inputs: list[Tensor]
    bits: float


@torch.no_grad()
def float_pass(prior: Prior, latents: Calibration) -> FloatPass:
    """Run the float prior as a coder would, with true rounding and unquantised means and levels."""
    y, z_hat, step = latents
    assert z_hat is not None
    features = prior.hyper_features(z_hat, torch.tensor([step]), *y.shape[2:])
    y_hat, inputs, bits = torch.zeros_like(y), [], float(prior.z_bits(z_hat).sum())
    for index, mask in enumerate(pass_masks(*y.shape[1:])):
        inputs.append(features if index == 0 else torch.cat([features, y_hat], 1))
        mean, level = prior.mean_and_level(index, features, y_hat)
        residual = torch.round(y - mean)
        bits += float((mask * gaussian_bits(residual, level)).sum())
        y_hat = y_hat + mask * (mean + residual)
    return FloatPass(inputs, bits)


@torch.no_grad()
def freeze_prior(prior: Prior, calibration: Sequence[Calibration]) -> Hyperprior:
    """The integer prior of a float one; calibration: latents over the whole range of qualities."""
    z_tables = hyper_tables(prior.factorised)
    bounds = np.array([len(table) // 2 for table in z_tables])
    inputs = [_hyper_input(latents) for latents in calibration]
    synthesis, feature_units = convert(
        prior.hyper_synthesis,
        np.concatenate([np.full(len(bounds), 1 / HYPER_UNIT), np.full(KNOTS, 1 / SEGMENT)]),
        np.concatenate([HYPER_UNIT * bounds, np.full(KNOTS, SEGMENT)]),
        largest_activations(prior.hyper_synthesis, inputs),
    )
    passes = [float_pass(prior, latents) for latents in calibration]
    contexts = []
    for index, module in enumerate(prior.contexts):
        context = cast(nn.Sequential, module)
        channels = cast(nn.Conv2d, context[-1]).out_channels // 2
        known = 0 if index == 0 else channels
        peaks = largest_activations(context, [p.context_inputs[index] for p in passes])
        net, _ = convert(
            _with_level_scale(context),
            np.concatenate([feature_units, np.full(known, 1 / MEAN_UNIT)]),
            np.full(len(feature_units) + known, MAX_HIDDEN),
            peaks,
            output_units=np.concatenate([np.full(channels, 1 / MEAN_UNIT), np.ones(channels)]),
        )
        contexts.append(net)
    return with_fitted_tables(Hyperprior(default_tables(z_tables), synthesis, tuple(contexts)), calibration)


@torch.no_grad()
def freeze_mean_scale(
    synthesis: nn.Sequential, factorised: FactorisedPrior, calibration: Sequence[Calibration]
) -> Hyperprior:
    """The integer prior of one network, z_hat -> means [M], then standard deviations [M], of every latent, without
    context and without quality (the form of Minnen et al. 2018; see `convert.side_by_side` and `with_zero_means`).

    The scale is a number of 1 / SCALE_UNIT, and its level the nearest in ratio: level i + 1 begins at the geometric
    mean of the standard deviations of levels i and i + 1.
    """
    z_tables = hyper_tables(factorised)
    bounds = np.array([len(table) // 2 for table in z_tables])
    inputs = [image.z_hat for image in calibration if image.z_hat is not None]
    channels = layers_of(synthesis)[-1].conv.out_channels // 2
    net, _ = convert(
        synthesis,
        np.full(len(bounds), 1 / HYPER_UNIT),
        HYPER_UNIT * bounds,
        largest_activations(synthesis, inputs),
        output_units=np.repeat([1 / MEAN_UNIT, 1 / SCALE_UNIT], channels),
    )
    sigmas = np.array([sigma_of_level(level) for level in range(LEVELS)])
    thresholds = np.ceil(SCALE_UNIT * np.sqrt(sigmas[1:] * sigmas[:-1])).astype(np.int64)
    return with_fitted_tables(Hyperprior(default_tables(z_tables), net, (), thresholds), calibration)


def freeze_sets(masses_at: Callable[[int], np.ndarray], sets: int = SETS) -> Factorized:
    """A set of tables for each of `sets` quality steps, spread evenly; masses_at: a quality step -> probabilities of
    the rounded latents -L..L of each channel [M, 2 L + 1] at that quality. All centres are 0."""
    steps = [round(s * STEPS / (sets - 1)) for s in range(sets)]
    tables = [[latent_table(mass) for mass in masses_at(step)] for step in steps]
    flat = Tables(tuple(table for rows in tables for table in rows), (), escape_table())
    return Factorized(flat, np.zeros((sets, len(tables[0])), np.int32))


@torch.no_grad()
def hyper_tables(factorised: FactorisedPrior) -> list[Weights]:
    """Integer tables of p(z), one per channel."""
    channels = factorised.mean.shape[1]
    grid = torch.arange(-MAX_HYPER, MAX_HYPER + 1.0)[None, None, None, :].expand(1, channels, 1, -1)
    masses = factorised.mass(grid.to(factorised.mean.device))[0, :, 0].double().cpu().numpy()
    return [hyper_table(mass) for mass in masses]


def rate_change(
    bits_of: Callable[[Calibration], float | None], entropy: EntropyModel, images: Sequence[Calibration]
) -> float:
    """Bits of the integer model over those of the float one (`bits_of`), minus 1, over all the images together; 0 where
    there is no float one."""
    known = [bits for bits in map(bits_of, images) if bits is not None]
    if images and not known:
        return 0.0
    exact = sum(known)
    coded = sum(entropy.encode(latents_of(image), image.quality_step).bits for image in images)
    if not exact > 0:
        raise ModelError("the entropy model gives no rate: it is not trained")
    return coded / exact - 1


def with_fitted_tables(model: Hyperprior, calibration: Sequence[Calibration]) -> Hyperprior:
    """The same networks with the tables of the scale levels fitted to what is really coded.

    A level's residuals are not quite Gaussian, and its standard deviation is what a network said, rounded to a level.
    Its table is the mean of the probabilities of its symbols k under a Dirichlet prior around the Gaussian table q,

        p(k) = (n_k + W q(k)) / (n + W),

    where n_k of n residuals of the calibration images were k, those of k and -k taken together.
    """
    half_widths = model.tables.half_widths
    counts = [np.zeros(2 * half + 2) for half in half_widths.tolist()]
    for image in calibration:
        for residuals, levels in model.symbols(latents_of(image), image.quality_step):
            half = half_widths[levels]
            symbols = np.where(np.abs(residuals) <= half, residuals + half, 2 * half + 1)
            for level in np.unique(levels).tolist():
                counts[level] += np.bincount(symbols[levels == level], minlength=len(counts[level]))
    fitted = []
    for table, seen in zip(model.tables.y, counts, strict=True):
        seen[:-1] = (seen[:-1] + seen[-2::-1]) / 2
        fitted.append(quantise_pmf(seen + PRIOR_WEIGHT * table / TOTAL))
    return dataclasses.replace(model, tables=dataclasses.replace(model.tables, y=tuple(fitted)))


def latents_of(image: Calibration) -> Latents:
    return Latents(image.y[0].numpy(), None if image.z_hat is None else image.z_hat[0].numpy())


def _hyper_input(latents: Calibration) -> Tensor:
    assert latents.z_hat is not None
    condition = quality_condition(torch.tensor([latents.quality_step]))[:, :, None, None]
    return torch.cat([latents.z_hat, condition.expand(-1, -1, *latents.z_hat.shape[2:])], 1)


def _with_level_scale(context: nn.Sequential) -> nn.Sequential:
    """The same network, whose second half of outputs is the level itself (see `priors.mean_and_level`)."""
    head = copy.deepcopy(cast(nn.Conv2d, context[-1]))
    levels = slice(head.out_channels // 2, None)
    head.weight[levels] *= LEVEL_SPREAD
    if head.bias is not None:
        head.bias[levels] = head.bias[levels] * LEVEL_SPREAD + LEVEL_CENTRE
    return nn.Sequential(*list(context)[:-1], head)
