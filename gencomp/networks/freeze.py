"""A trained float prior to the integer prior that decides bits, once, at export.

    networks --calibration images--> largest activations --convert--> integer networks, proved exact
    p(z) --> integer tables per channel;  Gaussian levels --calibration images--> tables of what is coded

Also the price: rate of the integer prior against the float one, on the same images.
"""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from gencomp.bitstream import STEPS, ModelError
from gencomp.entropy.constants import HYPER_UNIT, KNOTS, LEVELS, MEAN_UNIT, SEGMENT
from gencomp.entropy.contract import EntropyModel, Latents
from gencomp.entropy.factorized import Factorized
from gencomp.entropy.hyperprior import Hyperprior
from gencomp.entropy.tables import Tables, Weights, default_tables, escape_table, sigma_of_level
from gencomp.networks.priors import (
    LEVEL_CENTRE,
    LEVEL_SPREAD,
    FactorisedPrior,
    Prior,
    gaussian_bits,
    mean_and_level,
    pass_masks,
)
from gencomp.networks.transforms import quality_condition

from .contract import Calibration
from .convert import (
    MAX_HIDDEN,
    convert,
    hyper_table,
    largest_activations,
    latent_table,
    layers_of,
)
from .counts import counted_masses
from .fit_tables import with_fitted_tables

MAX_HYPER = 127  # largest |z| that a table may hold
SETS = 17  # of tables, for latents that the quality scales: 1.3 from one to the next where it scales by 64 in all
MAX_LATENT = 1023  # largest |y| of a factorized prior that a table may hold; what is larger escapes
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
    features = prior.features(z_hat, quality_condition(torch.tensor([step])), *y.shape[2:])
    y_hat, inputs, bits = torch.zeros_like(y), [], float(prior.factorised.bits(z_hat).sum())
    for index, (context, mask) in enumerate(zip(prior.contexts, pass_masks(*y.shape[1:]))):
        inputs.append(features if index == 0 else torch.cat([features, y_hat], 1))
        mean, level = mean_and_level(context(inputs[-1]))
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
    return _with_fitted_tables(Hyperprior(default_tables(z_tables), synthesis, tuple(contexts)), calibration)


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
    return _with_fitted_tables(Hyperprior(default_tables(z_tables), net, (), thresholds), calibration)


@torch.no_grad()
def freeze_factorized(factorised: FactorisedPrior, centres: np.ndarray | None = None) -> Factorized:
    """The tables of p(y). centres [M]: what is subtracted from each channel before rounding, by default 0; they are
    rounded to 1 / MEAN_UNIT."""
    channels = factorised.mean.shape[1]
    rounded = np.rint(MEAN_UNIT * (np.zeros(channels) if centres is None else centres)).astype(np.int32)
    grid = torch.arange(-MAX_LATENT, MAX_LATENT + 1.0) + torch.from_numpy(rounded / MEAN_UNIT).float()[:, None]
    masses = factorised.mass(grid[None, :, None].to(factorised.mean.device))[0, :, 0].double().cpu().numpy()
    return Factorized(Tables(tuple(map(latent_table, masses)), (), escape_table()), rounded)


def freeze_sets(masses_at: Callable[[int], np.ndarray], sets: int = SETS) -> Factorized:
    """A set of tables for each of `sets` quality steps, spread evenly; masses_at: a quality step -> probabilities of
    the rounded latents -L..L of each channel [M, 2 L + 1] at that quality. All centres are 0."""
    steps = [round(s * STEPS / (sets - 1)) for s in range(sets)]
    tables = [[latent_table(mass) for mass in masses_at(step)] for step in steps]
    flat = Tables(tuple(table for rows in tables for table in rows), (), escape_table())
    return Factorized(flat, np.zeros((sets, len(tables[0])), np.int32))


@torch.no_grad()
def freeze_counts(symbols_at: Callable[[int], Tensor], sets: int = SETS) -> Factorized:
    """Sets of tables by counting (counts.py); symbols_at: a quality step -> rounded latents of calibration images at
    that quality, [M, n]."""
    return freeze_sets(lambda step: counted_masses(symbols_at(step), MAX_LATENT), sets)


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


def _with_fitted_tables(model: Hyperprior, calibration: Sequence[Calibration]) -> Hyperprior:
    return with_fitted_tables(model, [(latents_of(image), image.quality_step) for image in calibration])


def latents_of(image: Calibration) -> Latents:
    """As an entropy model takes them."""
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
