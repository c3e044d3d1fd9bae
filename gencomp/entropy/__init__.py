"""Entropy coding on integers alone, so that a file decodes to the same latents everywhere. Needs numpy alone.

FORMAT.md specifies the payload. `KINDS`: how a model of each kind is made from the arrays of a model file; to add one,
see `contract.py`.
"""

from collections.abc import Callable, Mapping

from . import factorized, hybrid, hyperprior
from .contract import EntropyModel, IntArray

KINDS: dict[str, Callable[[Mapping[str, IntArray]], EntropyModel]] = {
    "context": hyperprior.from_arrays,
    "hyperprior": hyperprior.from_arrays,
    "factorized": factorized.from_arrays,
    "hybrid": hybrid.from_arrays,
}
