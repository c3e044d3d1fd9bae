"""Integers to bytes and back: one range-coded stream, symbols by integer tables. Only this file imports constriction.

Traps, all measured on constriction 0.5:
* its models take floats. With p = w - 1 (w: integer weights that sum to 2^24) every value inside is an exact
  integer, so that the cumulative weights are the table's on every machine; with p = w / 2^24 they are not. 16-bit
  tables become w << 8.
* a panic is a BaseException, and a huge count aborts the process: both are checked for before they reach it.
* its decoder reads zeros (or garbage) beyond the end for ever, and does not say where it stands: what the symbols cost
  by their tables says it here.

The stream is a big-endian number (FORMAT.md, section 1), cut after the last byte that is needed to stay in the final
interval: the decoder reads zeros beyond the end. So a stream never ends in a zero byte. It might be far shorter than
its symbols cost, when the interval happens to hold a very round number; by more than SLACK bits it never is, the
encoder then takes a less round one. So a decoder whose symbols have cost more than the length and SLACK is beyond the
end, and stops.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import constriction
import numpy as np
import numpy.typing as npt

from gencomp.bitstream import BitstreamError

from .tables import TOTAL, Weights, costs

Symbols = npt.NDArray[np.int32]

PRECISION = 24  # bits of the coder's weights
MAX_SYMBOLS = 1 << 28  # a call; a larger count can only come from a damaged header, and would ask for gigabytes
CHUNK = 1 << 16  # symbols between two looks at how far the stream goes
SLACK = 256  # bits that symbols may cost beyond the stream's length
MAX_BITS = 24


class Table:
    """A weight table (n >= 2 integers >= 1 that sum to 2^16) made ready for the coder: build once, use many times."""

    def __init__(self, weights: Weights) -> None:
        weights = np.asarray(weights)
        if weights.ndim != 1 or len(weights) < 2 or weights.min() < 1 or int(weights.sum(dtype=np.int64)) != TOTAL:
            raise ValueError(f"a table is at least 2 weights of at least 1 that sum to {TOTAL}")
        fine = weights.astype(np.int64) * ((1 << PRECISION) // TOTAL)
        self.size = len(weights)
        self.costs = costs(weights)
        self.cheapest = float(self.costs.min())
        self.cumulative: list[int] = [0, *np.cumsum(fine).tolist()]
        self.model = constriction.stream.model.Categorical((fine - 1).astype(np.float64), lazy=False, perfect=False)


class SymbolSource(Protocol):
    """Where symbols come from: a file (`Decoder`), or chance (`Draws`)."""

    def symbols(self, n: int, table: Table) -> Symbols:
        """n symbols, int32 [n], each an index into the table."""
        ...

    def uniform_bits(self, n: int, nbits: Symbols) -> Symbols:
        """n values, int32 [n], the i-th of nbits[i] equally likely bits."""
        ...


class Encoder:
    """Writes symbols first in, first out; `bits` is the ideal code length of all that was written so far."""

    def __init__(self, *, keep: bool = False) -> None:
        """keep: remember what was written, for `reads_back`."""
        self.bits, self.keeps = 0.0, keep
        self._kept: list[tuple[Symbols, Table | Symbols]] = []
        self._coder = constriction.stream.queue.RangeEncoder()

    def symbols(self, symbols: npt.NDArray[np.integer], table: Table | Weights) -> None:
        """Write symbols [n], each an index into the table; ValueError if one is not."""
        table = table if isinstance(table, Table) else Table(table)
        indices = np.ascontiguousarray(symbols, np.int32)
        if not len(indices):
            return
        if indices.min() < 0 or indices.max() >= table.size:
            raise ValueError(f"symbols outside 0..{table.size - 1}")
        self._coder.encode(indices, table.model)
        self.bits += float(table.costs[indices].sum())
        if self.keeps:
            self._kept.append((indices, table))

    def uniform_bits(self, values: npt.NDArray[np.integer], nbits: npt.NDArray[np.integer]) -> None:
        """Write values [n], each in nbits[i] (0..24) equally likely bits."""
        numbers, counts = np.ascontiguousarray(values, np.int32), _bit_counts(nbits)
        if numbers.shape != counts.shape or (numbers < 0).any() or (numbers >> counts).any():
            raise ValueError("a value does not fit its number of bits")
        if (counts > 0).any():  # a choice of one is no choice, and constriction panics on it
            numbers, counts = numbers[counts > 0], counts[counts > 0]
            self._coder.encode(numbers, constriction.stream.model.Uniform(), 1 << counts)
            if self.keeps:
                self._kept.append((numbers, counts))
        self.bits += float(counts.sum())

    def reads_back(self, data: bytes) -> bool:
        """Whether a decoder reads from `data`, what `finish` gave, all that was written; for an encoder that keeps it.

        The decoder is given the tables as they were used, and nothing else that the encoder made of the latents."""
        decoder = _Reader(data)
        try:
            with _guarded():
                for symbols, table in self._kept:
                    if isinstance(table, Table):
                        seen = decoder.symbols(len(symbols), table)
                    else:
                        seen = decoder.uniform_bits(table)
                    if seen.tobytes() != symbols.tobytes():  # both int32; on few symbols a tenth of array_equal's time
                        return False
        except BitstreamError:
            return False
        return self.bits <= 8 * len(data) + SLACK

    def finish(self) -> bytes:
        """The shortest bytes that decode to what was written; empty if zeros alone do."""
        low, high, words = self._interval()
        for zeros in range(64, -1, -8):  # the interval is narrower than 2^64: the roundest number in it ends in at most
            number = -(-low >> zeros) << zeros  # 64 zero bits, or is the only multiple of 2^64 and ends in more
            if number < high:
                break
        data = number.to_bytes(4 * words, "big").rstrip(b"\0")
        if 8 * len(data) + SLACK < 32 * words - (high - low).bit_length():
            zeros = (high - low).bit_length() - 2 & -8  # two multiples of 2^zeros lie in the interval
            number = -(-low >> zeros) << zeros
            number += (number >> zeros & 255 == 0) << zeros
            data = number.to_bytes(4 * words, "big").rstrip(b"\0")
        return data

    def _interval(self) -> tuple[int, int, int]:
        """(low, high, words): any number of `words` words in low <= number < high names the symbols written so far."""
        position, (lower, width) = self._coder.pos()
        words = np.zeros(position + 2, ">u4")
        sealed = self._coder.get_compressed()
        words[: len(sealed)] = sealed
        number = int.from_bytes(words.tobytes(), "big")  # in the interval; `lower` is the last 64 bits of its lower end
        low = number - ((number - lower) & ((1 << 64) - 1))
        return low, low + width, position + 2


class Decoder:
    """Reads what an Encoder wrote, in the same order and with the same tables; BitstreamError for all other data.

    Damaged data mostly decode to wrong symbols at first. They are found out where the symbols cost more bits than there
    are, or in `finish`, by writing all symbols again.
    """

    def __init__(self, data: bytes) -> None:
        if data[-1:] == b"\0":
            raise BitstreamError("the coded data end in a zero byte, which no encoder writes")
        self.bits = 0.0
        self._data = bytes(data)
        self._again = Encoder()
        self._reader = _Reader(data)

    def require(self, bits: float) -> None:
        """BitstreamError unless the data can hold symbols that cost so many bits more."""
        if self.bits + bits > 8 * len(self._data) + SLACK:
            raise BitstreamError("the coded data end before the last symbol")

    def symbols(self, n: int, table: Table | Weights) -> Symbols:
        """Read n symbols, int32 [n], each an index into the table."""
        table = table if isinstance(table, Table) else Table(table)
        if not 0 <= n <= MAX_SYMBOLS:
            raise BitstreamError(f"{n} symbols claimed, more than the {MAX_SYMBOLS} that are read at once")
        self.require(n * table.cheapest)
        symbols = np.empty(n, np.int32)
        for start in range(0, n, CHUNK):
            some = symbols[start : start + CHUNK]
            with _guarded():
                some[:] = self._reader.symbols(len(some), table)
            self.bits += float(table.costs[some].sum())
            self.require((n - start - len(some)) * table.cheapest)
            self._again.symbols(some, table)
        return symbols

    def uniform_bits(self, n: int, nbits: npt.NDArray[np.integer]) -> Symbols:
        """Read n values, int32 [n], the i-th of nbits[i] (0..24) equally likely bits."""
        counts = _bit_counts(nbits)
        if counts.shape != (n,):
            raise ValueError(f"{n} values of {counts.shape} bit counts")
        self.require(float(counts.sum()))
        values = np.zeros(n, np.int32)
        if (counts > 0).any():
            with _guarded():
                values[counts > 0] = self._reader.uniform_bits(counts[counts > 0])
        self.bits += float(counts.sum())
        self._again.uniform_bits(values, counts)
        return values

    def finish(self) -> None:
        """Raise BitstreamError if the data are not what an encoder writes for the symbols read: longer, or other."""
        if self._again.finish() != self._data:
            raise BitstreamError("the coded data are not what an encoder writes: something is left over, or damaged")


class Draws:
    """Symbols by chance, each with the probability that its table gives it.

    A range decoder that reads random bits gives the same distribution: it finds the symbol in whose part of the
    interval a uniform number lies. Here the number is drawn for each symbol, and there is no end of the data.
    """

    def __init__(self, chance: np.random.Generator) -> None:
        self._chance = chance

    def symbols(self, n: int, table: Table) -> Symbols:
        """n symbols, int32 [n], drawn by the table's weights."""
        numbers = self._chance.integers(0, 1 << PRECISION, n)
        return (np.searchsorted(np.array(table.cumulative), numbers, side="right") - 1).astype(np.int32)

    def uniform_bits(self, n: int, nbits: Symbols) -> Symbols:
        """n values, int32 [n], the i-th below 2^nbits[i], all of them as likely."""
        return self._chance.integers(0, np.left_shift(1, nbits.astype(np.int64))).astype(np.int32).reshape(n)


class _Reader:
    """constriction's own decoder: beyond the last word it reads zeros."""

    def __init__(self, data: bytes) -> None:
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def symbols(self, n: int, table: Table) -> Symbols:
        return self._coder.decode(table.model, n)

    def uniform_bits(self, counts: Symbols) -> Symbols:
        return self._coder.decode(constriction.stream.model.Uniform(), 1 << counts)


def _bit_counts(nbits: npt.NDArray[np.integer]) -> Symbols:
    counts = np.ascontiguousarray(nbits, np.int32)
    if counts.ndim != 1 or (counts < 0).any() or (counts > MAX_BITS).any():
        raise ValueError(f"numbers of bits outside 0..{MAX_BITS}")
    return counts


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # a Rust panic is one, and cannot be imported by name
        if isinstance(error, AssertionError | KeyError | ValueError) or type(error).__name__ == "PanicException":
            raise BitstreamError("the coded data are damaged") from error
        raise
