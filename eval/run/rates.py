"""Finding the setting of a codec's knob at which its file has a wanted size: bisection over real files."""

import math
from collections.abc import Callable
from typing import NamedTuple

from ..codecs.baseline import Knob

TOLERANCE = 0.02  # a file within 2 % of the wanted size counts as matched


class Match(NamedTuple):
    """The setting whose file is nearest to the wanted size. `note` says why it is not nearer, empty when matched."""

    setting: float
    size: int  # bytes
    matched: bool
    note: str


class RateSearch:
    """The sizes of one picture's files over a codec's knob, coded as they are asked for and remembered.

    Several targets for one picture share what was coded for the others.
    """

    def __init__(self, knob: Knob, size_at: Callable[[float], int], pixels: int) -> None:
        self.knob = knob
        self.pixels = pixels
        self._size_at = size_at
        self._sizes: dict[int, int] = {}

    def size(self, position: int) -> int:
        """Bytes of the file at a position of the knob."""
        if position not in self._sizes:
            self._sizes[position] = self._size_at(self.knob.setting(position))
        return self._sizes[position]

    def match(self, target: float) -> Match:
        """The setting whose file is nearest to `target` bytes, by ratio.

        Sizes are taken to grow along the knob; where a codec's sizes waver by a little, the result is still the nearest
        of the files that were coded.
        """
        low, high = 0, self.knob.last
        if self.size(low) > target or self.size(high) <= target:
            return self._result(low if self.size(low) > target else high, target)
        # What was coded for other targets brackets this one.
        low = max(p for p, size in self._sizes.items() if size <= target)
        high = min((p for p, size in self._sizes.items() if size > target and p > low), default=high)
        tries = 0
        while high - low > 1 and self._off(self._nearest(low, high, target), target) > TOLERANCE / 4:
            tries += 1
            position = self._between(low, high, target) if tries % 2 else (low + high) // 2
            if self.size(position) <= target:
                low = position
            else:
                high = position
        return self._result(self._nearest(low, high, target), target)

    def _between(self, low: int, high: int, target: float) -> int:
        """Where the target lies between two positions if the logarithm of the size is linear there."""
        a, b = math.log(self.size(low)), math.log(self.size(high))
        part = (math.log(target) - a) / (b - a) if b > a else 0.5
        return min(high - 1, max(low + 1, round(low + part * (high - low))))

    def _off(self, position: int, target: float) -> float:
        return abs(math.log(self.size(position) / target))

    def _nearest(self, low: int, high: int, target: float) -> int:
        return min((low, high), key=lambda position: self._off(position, target))

    def _result(self, position: int, target: float) -> Match:
        size = self.size(position)
        matched = abs(size / target - 1) <= TOLERANCE
        note = ""
        if not matched:
            got, wanted = 8 * size / self.pixels, 8 * target / self.pixels
            reason = {0: "its smallest file", self.knob.last: "its largest file"}.get(position, "its nearest setting")
            note = f"{wanted:.4g} bpp is not reached: {reason} has {got:.4g} bpp"
        return Match(self.knob.setting(position), size, matched, note)
