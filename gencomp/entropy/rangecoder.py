"""A range coder in plain Python: the twin of constriction's `queue` coders (Martin 1979; FORMAT.md, section 1).

The arithmetic is that of constriction 0.5, word for word. Used where constriction has no wheel, and by the tests.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .coder import Table

Symbols = npt.NDArray[np.int32]

PRECISION = 24
_WORD = (1 << 32) - 1


class PythonEncoder:
    """Writes symbols of tables, and numbers of so many equally likely bits."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._lower, self._range = 0, (1 << 64) - 1

    def symbols(self, symbols: Symbols, table: "Table") -> None:
        for symbol in symbols.tolist():
            left, right = table.cumulative[symbol : symbol + 2]
            self._narrow(left, right - left)

    def uniform_bits(self, values: Symbols, counts: Symbols) -> None:
        for value, count in zip(values.tolist(), counts.tolist()):
            self._narrow(value << (PRECISION - count), 1 << (PRECISION - count))

    def _narrow(self, left: int, weight: int) -> None:
        """The interval of what lies at cumulative weights left .. left + weight of 2^24."""
        scale = self._range >> PRECISION
        self._lower += scale * left
        self._range = scale * weight
        if self._lower >> 64:
            self._lower &= (1 << 64) - 1
            last = len(self._words) - 1
            while self._words[last] == _WORD:
                self._words[last] = 0
                last -= 1
            self._words[last] += 1
        if self._range <= _WORD:
            self._words.append(self._lower >> 32)
            self._lower = (self._lower & _WORD) << 32
            self._range <<= 32

    def interval(self) -> tuple[int, int, int]:
        """(low, high, words): any number of `words` words in low <= number < high names the symbols written so far."""
        low = int.from_bytes(b"".join(word.to_bytes(4, "big") for word in self._words), "big") << 64 | self._lower
        return low, low + self._range, len(self._words) + 2


class PythonDecoder:
    """Reads them from words; beyond the last word it reads zeros. ValueError where no symbol fits."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        self._words = iter(words.tolist())
        self._offset = next(self._words, 0) << 32 | next(self._words, 0)  # the number less the interval's lower end
        self._range = (1 << 64) - 1

    def symbols(self, n: int, table: "Table") -> Symbols:
        return np.fromiter((self._symbol(table.cumulative) for _ in range(n)), np.int32, n)

    def uniform_bits(self, counts: Symbols) -> Symbols:
        return np.array([self._bits(PRECISION - count) for count in counts.tolist()], np.int32)

    def _symbol(self, cumulative: list[int]) -> int:
        symbol = bisect_right(cumulative, self._quantile()) - 1
        self._narrow(cumulative[symbol], cumulative[symbol + 1] - cumulative[symbol])
        return symbol

    def _bits(self, spare: int) -> int:
        value = self._quantile() >> spare
        self._narrow(value << spare, 1 << spare)
        return value

    def _quantile(self) -> int:
        quantile = self._offset // (self._range >> PRECISION)
        if quantile >> PRECISION:
            raise ValueError("the stream holds no symbol here")
        return quantile

    def _narrow(self, left: int, weight: int) -> None:
        scale = self._range >> PRECISION
        self._offset -= scale * left
        self._range = scale * weight
        if self._range <= _WORD:
            self._range <<= 32
            self._offset = self._offset << 32 | next(self._words, 0)
