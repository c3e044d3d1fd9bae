"""The tables of the scale levels fitted to what is really coded, once, at export.

A level's residuals are not quite Gaussian, and its standard deviation is what a network said, rounded to a level. Its
table is the mean of the probabilities of its symbols k under a Dirichlet prior around the Gaussian table q:

    p(k) = (n_k + W q(k)) / (n + W)

n_k of n residuals of calibration images were k, those of k and -k taken together.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gencomp.entropy.contract import Latents
from gencomp.entropy.hyperprior import Hyperprior
from gencomp.entropy.tables import TOTAL, quantise_pmf

PRIOR_WEIGHT = 500.0  # residuals that the Gaussian counts for


def with_fitted_tables(model: Hyperprior, images: Sequence[tuple[Latents, int]]) -> Hyperprior:
    """The same networks with tables fitted to (latents, quality step) of images, over the whole range of qualities."""
    half_widths = model.tables.half_widths
    counts = [np.zeros(2 * half + 2) for half in half_widths.tolist()]
    for latents, quality_step in images:
        for residuals, levels in model.symbols(latents, quality_step):
            half = half_widths[levels]
            symbols = np.where(np.abs(residuals) <= half, residuals + half, 2 * half + 1)
            for level in np.unique(levels).tolist():
                counts[level] += np.bincount(symbols[levels == level], minlength=len(counts[level]))
    fitted = []
    for table, seen in zip(model.tables.y, counts, strict=True):
        seen[:-1] = (seen[:-1] + seen[-2::-1]) / 2
        fitted.append(quantise_pmf(seen + PRIOR_WEIGHT * table / TOTAL))
    return dataclasses.replace(model, tables=dataclasses.replace(model.tables, y=tuple(fitted)))
