"""A range coder in plain Python: the definition of the stream, and the twin of constriction's `queue` coders.

The stream is one number, written in words of 32 bits, most significant first. The coder keeps an interval of 64
bits; a symbol of weight w with cumulative weight c, out of 2^24, narrows it to [lower + scale c, lower + scale (c +
w)), where scale = range >> 24, and when the range has fallen below 2^32 the interval grows by a word (Martin 1979;
the arithmetic is that of constriction 0.5, word for word).

Used where constriction has no wheel, and by the tests as the reference.
"""

from bisect import bisect_right
from collections.abc import Sequence

PRECISION = 24
_WORD = (1 << 32) - 1


class RangeEncoder:
    """Writes symbols given by cumulative weights that run from 0 to 2^24."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._lower, self._range = 0, (1 << 64) - 1

    def encode(self, left: int, weight: int) -> None:
        """Narrow the interval to the symbol at cumulative weights left .. left + weight."""
        scale = self._range >> PRECISION
        self._lower += scale * left
        self._range = scale * weight
        if self._lower >> 64:
            self._carry()
        if self._range <= _WORD:
            self._words.append(self._lower >> 32)
            self._lower = (self._lower & _WORD) << 32
            self._range <<= 32

    def _carry(self) -> None:
        self._lower &= (1 << 64) - 1
        last = len(self._words) - 1
        while self._words[last] == _WORD:
            self._words[last] = 0
            last -= 1
        self._words[last] += 1

    def interval(self) -> tuple[int, int, int]:
        """(low, high, words): any number of `words` words in low <= number < high names the symbols written so far."""
        low = int.from_bytes(b"".join(word.to_bytes(4, "big") for word in self._words), "big") << 64 | self._lower
        return low, low + self._range, len(self._words) + 2


class RangeDecoder:
    """Reads symbols from words; beyond the last word it reads zeros."""

    def __init__(self, words: Sequence[int]) -> None:
        self._words = iter(words)
        self._offset = next(self._words, 0) << 32 | next(self._words, 0)  # the number less the interval's lower end
        self._range = (1 << 64) - 1

    def decode(self, cumulative: Sequence[int]) -> int:
        """The next symbol of a table whose cumulative weights run from 0 to 2^24; ValueError if no symbol fits."""
        scale = self._range >> PRECISION
        quantile = self._offset // scale
        if quantile >> PRECISION:
            raise ValueError("the stream holds no symbol here")
        symbol = bisect_right(cumulative, quantile) - 1
        left = cumulative[symbol]
        self._narrow(scale * left, scale * (cumulative[symbol + 1] - left))
        return symbol

    def decode_bits(self, count: int) -> int:
        """The next `count` (1..24) equally likely bits."""
        scale = self._range >> PRECISION
        value = self._offset // scale >> (PRECISION - count)
        if value >> count:
            raise ValueError("the stream holds no symbol here")
        self._narrow(scale * value << (PRECISION - count), scale << (PRECISION - count))
        return value

    def _narrow(self, left: int, width: int) -> None:
        self._offset -= left
        self._range = width
        if width <= _WORD:
            self._range = width << 32
            self._offset = self._offset << 32 | next(self._words, 0)
