"""Probability tables of integer weights: the only probabilities that the entropy coder knows.

A table is a vector of n >= 2 integers >= 1 that sum to 2^16; symbol i has probability w[i] / 2^16. Tables are made
once, when a model is exported, and are read from the model file ever after: a table that is computed when a file is
decoded would depend on the machine's mathematics library, and one weight that differs makes the rest of the file
unreadable.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import ModelError

from .constants import LEVELS, MAX_RESIDUAL, SIGMA_MAX, SIGMA_MIN
from .contract import IntArray

Weights = npt.NDArray[np.int32]

TOTAL = 1 << 16
ESCAPE_CLASSES = 17
TAIL = 2**-18
MAX_TABLES = 4096


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of one model.

    y[i]: weights of scale level i (of channel i for the kind "factorized", set by set) over the residuals -L..L (L =
    half_widths[i]), then the escape symbol: 2 L + 2 entries. z[c]: weights of channel c of the hyper-latents over
    -K..K: 2 K + 1 entries, no escape (the encoder clamps); empty where there are none. escape: weights of the 17
    magnitude classes of an escaped residual.
    """

    y: tuple[Weights, ...]
    z: tuple[Weights, ...]
    escape: Weights

    @property
    def half_widths(self) -> npt.NDArray[np.int32]:
        """L of each scale level, int32 [levels]."""
        return np.array([len(weights) // 2 - 1 for weights in self.y], np.int32)

    @property
    def z_half_widths(self) -> npt.NDArray[np.int32]:
        """K of each hyper-latent channel, int32 [channels]."""
        return np.array([len(weights) // 2 for weights in self.z], np.int32)


def quantise_pmf(pmf: npt.ArrayLike, total: int = TOTAL) -> Weights:
    """Integer weights >= 1 that sum to `total` and cost the fewest bits on symbols drawn from `pmf` [n].

    `pmf` need not sum to 1. Starts from floor(p * total), then hands out or takes back single units where the expected
    code length -sum p log2(w / total) gains most or loses least, until no move of a unit would shorten it.
    """
    p = np.asarray(pmf, np.float64)
    if p.ndim != 1 or not 2 <= len(p) <= total or not np.isfinite(p).all() or (p < 0).any() or p.sum() <= 0:
        raise ValueError(f"not a probability vector of 2..{total} entries")
    p = p / p.sum()
    weights = np.maximum(np.floor(p * total).astype(np.int64), 1)
    while True:
        gain = p * np.log1p(1 / weights)
        loss = np.where(weights > 1, p * -np.log1p(-1 / np.maximum(weights, 2)), np.inf)
        surplus = int(weights.sum()) - total
        if surplus == 0 and gain.max() <= loss.min() * (1 + 1e-9):  # the tolerance keeps equals from changing for ever
            break
        if surplus <= 0:
            weights[np.argmax(gain)] += 1
        else:
            weights[np.argmin(loss)] -= 1
    return weights.astype(np.int32)


def sigma_of_level(
    level: int, levels: int = LEVELS, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX
) -> float:
    """Standard deviation of a scale level: `levels` values, log-spaced from sigma_min to sigma_max."""
    return sigma_min * math.exp(math.log(sigma_max / sigma_min) * level / (levels - 1))


def gaussian_tables(
    levels: int = LEVELS, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX
) -> tuple[Weights, ...]:
    """One table a scale level: a zero-mean Gaussian integrated over unit bins, the escape symbol last.

    The half-width L is the smallest that leaves at most TAIL of the mass to the escape.
    """

    def table(sigma: float) -> Weights:
        def beyond(x: float) -> float:
            return 0.5 * math.erfc(x / (sigma * math.sqrt(2)))  # P(residual > x), accurate far out, as 1 - erf is not

        half_width = 1
        while 2 * beyond(half_width + 0.5) > TAIL:
            half_width += 1
        right = [beyond(r - 0.5) - beyond(r + 0.5) for r in range(1, half_width + 1)]
        return quantise_pmf([*right[::-1], 1 - 2 * beyond(0.5), *right, 2 * beyond(half_width + 0.5)])

    return tuple(table(sigma_of_level(level, levels, sigma_min, sigma_max)) for level in range(levels))


def escape_table() -> Weights:
    """The fixed table of escape classes: class k holds 2^k overshoots and has probability in proportion to 2^-k."""
    return quantise_pmf(2.0 ** -np.arange(ESCAPE_CLASSES))


def default_tables(z: Sequence[Weights]) -> Tables:
    """Tables of a new model: Gaussian levels, the fixed escape table and the given hyper-latent tables."""
    return Tables(gaussian_tables(), tuple(z), escape_table())


def costs(weights: Weights) -> npt.NDArray[np.float64]:
    """Ideal code length of each symbol of a table, in bits."""
    return math.log2(TOTAL) - np.log2(weights)


def to_arrays(tables: Tables) -> dict[str, npt.NDArray[np.int32]]:
    """Tables as flat int32 arrays for the model file: the weights end to end, and the half-widths that cut them."""
    arrays = {
        "y_weights": np.concatenate(tables.y),
        "y_half_widths": tables.half_widths,
        "escape_weights": tables.escape,
    }
    if tables.z:
        arrays |= {"z_weights": np.concatenate(tables.z), "z_half_widths": tables.z_half_widths}
    return arrays


def from_arrays(arrays: Mapping[str, IntArray]) -> Tables:
    """Tables from the arrays of a model file, which may hold anything: whatever is not a table raises ModelError."""
    known = {"y_weights", "y_half_widths", "escape_weights", "z_weights", "z_half_widths"}
    if unknown := sorted(arrays.keys() - known):
        raise ModelError(f"unknown table {unknown[0]!r}")
    escape = checked_integers(arrays, "escape_weights", 1, 1, TOTAL)
    if len(escape) != ESCAPE_CLASSES:
        raise ModelError(f"{len(escape)} escape classes, expected {ESCAPE_CLASSES}")
    has_z = "z_weights" in arrays or "z_half_widths" in arrays
    return Tables(_cut(arrays, "y", 2), _cut(arrays, "z", 1) if has_z else (), _checked(escape, "escape_weights"))


def below(prefix: str, arrays: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """The arrays named '<prefix>.<name>', by name."""
    return {k.removeprefix(f"{prefix}."): v for k, v in arrays.items() if k.startswith(f"{prefix}.")}


def checked_integers(
    arrays: Mapping[str, IntArray], name: str, ndim: int, low: int, high: int
) -> npt.NDArray[np.int64]:
    """The array of that name as int64, not empty, of `ndim` dimensions, values in low..high; else ModelError."""
    array = arrays.get(name)
    if array is None:
        raise ModelError(f"the model has no array {name!r}")
    if array.dtype.kind not in "iu" or array.ndim != ndim or array.size == 0:
        raise ModelError(f"array {name!r} is not {ndim}-dimensional integers")
    if array.min() < low or array.max() > high:
        raise ModelError(f"array {name!r} has values outside {low}..{high}")
    return array.astype(np.int64)


def _cut(arrays: Mapping[str, IntArray], name: str, last: int) -> tuple[Weights, ...]:
    half_widths = checked_integers(arrays, f"{name}_half_widths", 1, 1, MAX_RESIDUAL)
    if len(half_widths) > MAX_TABLES:
        raise ModelError(f"{len(half_widths)} tables of {name}, more than {MAX_TABLES}")
    sizes = 2 * half_widths + last
    flat = checked_integers(arrays, f"{name}_weights", 1, 1, TOTAL)
    if sizes.sum() != len(flat):
        raise ModelError(f"table {name!r} has {len(flat)} weights, expected {sizes.sum()}")
    return tuple(_checked(part, f"{name}_weights") for part in np.split(flat, np.cumsum(sizes)[:-1]))


def _checked(weights: npt.NDArray[np.int64], name: str) -> Weights:
    if weights.sum() != TOTAL:
        raise ModelError(f"a table of {name!r} sums to {weights.sum()}, expected {TOTAL}")
    return weights.astype(np.int32)
