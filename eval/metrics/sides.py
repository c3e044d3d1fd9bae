"""Metrics in two halves: what is made of an original is kept, since one original has many reconstructions."""

from collections.abc import Callable
from typing import TypeVar

Given = TypeVar("Given")
Original = TypeVar("Original")
Rebuilt = TypeVar("Rebuilt")


def by_sides(
    of_original: Callable[[Given], Original],
    of_rebuilt: Callable[[Given], Rebuilt],
    compare: Callable[[Original, Rebuilt], float],
) -> Callable[[Given, Given], float]:
    """The metric compare(of_original(x), of_rebuilt(y)) of (x, y), which remembers the first half of the last x.

    The same x is the same object, so whoever measures hands on the one that it has, and does not change it.
    """
    last: list[tuple[Given, Original]] = []

    def measure(x: Given, y: Given) -> float:
        if not last or last[0][0] is not x:
            last[:] = [(x, of_original(x))]
        return compare(last[0][1], of_rebuilt(y))

    return measure
