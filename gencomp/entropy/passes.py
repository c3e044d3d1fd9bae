"""Which latents a pass codes, and in which order (the quadtree partition of DCVC-DC, Li et al. 2023).

FORMAT.md, section 3, says which. Every pass touches every position and every channel group. The latents of a pass lie
in a plane [h, w, M / passes]: at each position the channels of its group.
"""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .constants import KNOTS, ORDER, PASSES, SEGMENT
from .intnet import IntConv, IntNet

Scalar = TypeVar("Scalar", bound=np.generic)


def quality_weights(quality_step: int) -> npt.NDArray[np.int32]:
    """Integer weights of the quality knots, int32 [KNOTS]: a hat function a knot; they sum to SEGMENT."""
    return np.maximum(SEGMENT - np.abs(quality_step - SEGMENT * np.arange(KNOTS)), 0).astype(np.int32)


class Pass:
    """One pass over latents of `channels` channels (a multiple of `passes`)."""

    def __init__(self, passes: int, index: int, channels: int) -> None:
        self.width = channels // passes  # channels of a group
        # rows and columns that code group 0, 1, ..
        self.classes = [(slice(None), slice(None))] if passes == 1 else [_class(g ^ ORDER[index]) for g in range(4)]

    def _pieces(self) -> Iterator[tuple[slice, slice, slice]]:
        """Rows, columns and channels of each group, in the order of the stream."""
        for group, (rows, columns) in enumerate(self.classes):
            yield rows, columns, slice(group * self.width, (group + 1) * self.width)

    def take(self, whole: npt.NDArray[np.generic], plane: npt.NDArray[np.generic]) -> None:
        """Fill the plane [h, w, M / passes] from the whole [h, w, M]."""
        for rows, columns, channels in self._pieces():
            plane[rows, columns] = whole[rows, columns, channels]

    def put(self, whole: npt.NDArray[np.generic], plane: npt.NDArray[np.generic]) -> None:
        """The reverse: write the plane into the whole."""
        for rows, columns, channels in self._pieces():
            whole[rows, columns, channels] = plane[rows, columns]

    def to_stream(self, plane: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """The plane's values as a vector in the order of the stream."""
        pieces = [plane[rows, columns].transpose(2, 0, 1).ravel() for rows, columns, _ in self._pieces()]
        return np.concatenate(pieces)

    def from_stream(self, values: npt.NDArray[np.generic], plane: npt.NDArray[np.generic]) -> None:
        """The reverse: fill the plane from a vector."""
        start = 0
        for rows, columns, _ in self._pieces():
            piece = plane[rows, columns]
            height, width, channels = piece.shape
            block = values[start : start + piece.size].reshape(channels, height, width)
            plane[rows, columns] = block.transpose(1, 2, 0)
            start += piece.size


def _class(parity: int) -> tuple[slice, slice]:
    return slice(parity >> 1, None, 2), slice(parity & 1, None, 2)


def from_origin(every: slice, origin: int) -> slice:
    """The slice of a whole, as a slice of its part that begins at `origin`: every second row stays every second row."""
    return every if every.step is None else slice((every.start - origin) % every.step, None, every.step)


def trunk_and_heads(net: IntNet) -> tuple[IntNet, tuple[IntNet, ...]]:
    """A context network as all its layers but the last, and the last (1x1) for the means and levels of each group."""
    last, bound = net.layers[-1], np.array([max(abs(net.layers[-2].lo), abs(net.layers[-2].hi))])
    width = len(last.weight) // (2 * PASSES)
    heads = []
    for group in range(PASSES):
        mean = np.arange(group * width, (group + 1) * width)
        chosen = np.concatenate([mean, mean + PASSES * width])
        vectors = last.weight[chosen], last.bias[chosen], last.multiplier[chosen], last.shift[chosen]
        heads.append(IntNet((IntConv(*vectors, last.lo, last.hi),), bound))
    return IntNet(net.layers[:-1], net.input_bound), tuple(heads)
