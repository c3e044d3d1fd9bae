"""Tiles over images of any size, with enough halo to agree with the whole.

Every layer is local, so an output depends on inputs within the receptive field alone. A tile is cut with that much
around it, never beyond the image, so that the networks' zero padding stands where it stands for the whole.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

WHOLE_PIXELS = 6144 * 16**2  # up to which an image is coded in one piece: 1.5 megapixels
TILE_PIXELS = 96 * 16  # side of a tile of a larger image


class Tile(NamedTuple):
    """In latents: what a tile yields (top, left, bottom, right), and what it must see (the same with its halo).

    As rows and columns of arrays that have `unit` positions a side for each latent:
    """

    yields: tuple[int, int, int, int]
    sees: tuple[int, int, int, int]

    def yielded(self, unit: int = 1) -> tuple[slice, slice]:
        """What it yields, of the whole."""
        return _slices(self.yields, (0, 0), unit)

    def seen(self, unit: int = 1) -> tuple[slice, slice]:
        """What it sees, of the whole."""
        return _slices(self.sees, (0, 0), unit)

    def inside(self, unit: int = 1) -> tuple[slice, slice]:
        """What it yields, of what it sees."""
        return _slices(self.yields, self.sees[:2], unit)


def _slices(box: tuple[int, int, int, int], origin: tuple[int, int], unit: int) -> tuple[slice, slice]:
    (top, left, bottom, right), (row, column) = box, origin
    return slice((top - row) * unit, (bottom - row) * unit), slice((left - column) * unit, (right - column) * unit)


def tiles(height: int, width: int, side: int, halo: int) -> Iterator[Tile]:
    """Cover height x width latents with tiles of at most side x side, in reading order."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            sees = (max(top - halo, 0), max(left - halo, 0), min(bottom + halo, height), min(right + halo, width))
            yield Tile((top, left, bottom, right), sees)


def tile_side(height: int, width: int, side: int | None, stride: int) -> int:
    """The tile side to use, in latents: as asked for, else the whole of a small image and a part of a large one."""
    if side is not None:
        return side
    return max(height, width) if height * width * stride**2 <= WHOLE_PIXELS else TILE_PIXELS // stride


def latent_size(height: int, width: int, stride: int) -> tuple[int, int]:
    """Size of the latents of an image of height x width pixels."""
    return -(-height // stride), -(-width // stride)


def pad_to_multiple(pixels: npt.NDArray[np.uint8], multiple: int) -> npt.NDArray[np.uint8]:
    """[H, W, 3] with the bottom and right edges repeated until `multiple` divides H and W; works from 1x1 up."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="edge")
