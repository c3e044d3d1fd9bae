"""Symbols by chance, each with the probability that its table gives it.

A range decoder that reads random bits gives the same distribution: it finds the symbol in whose part of the interval a
uniform number lies. Here the number is drawn for each symbol, and there is no end of the data to keep clear of.
"""

import numpy as np

from .coder import Symbols, Table
from .rangecoder import PRECISION


class Draws:
    """A source of symbols for the functions of latent.py that read a stream."""

    def __init__(self, chance: np.random.Generator) -> None:
        self._chance = chance

    def symbols(self, n: int, table: Table) -> Symbols:
        """n symbols, int32 [n], drawn by the table's weights."""
        numbers = self._chance.integers(0, 1 << PRECISION, n)
        return (np.searchsorted(np.array(table.cumulative), numbers, side="right") - 1).astype(np.int32)

    def uniform_bits(self, n: int, nbits: Symbols) -> Symbols:
        """n values, int32 [n], the i-th below 2^nbits[i], all of them as likely."""
        return self._chance.integers(0, np.left_shift(1, nbits.astype(np.int64))).astype(np.int32).reshape(n)
