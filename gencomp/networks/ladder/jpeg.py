"""What JPEG makes of planes, and how many bits it takes: the coder of gencomp/entropy/jpeg.py for batches, in training.

    blocks of 8 x 8 --DCT--> c(u, v) --round(c / step)--> q --times step, inverse DCT, round--> planes

(ITU-T T.81 | ISO/IEC 10918-1, annexes A.3 and F.1.2.) The DCT is computed in floating point here, so that a
coefficient halfway between two steps may go to the other, and a byte be off by one; training does not mind. Bits are
those of the scan's Huffman codes, without its last, incomplete byte and the zero bytes that are stuffed after bytes of
ones. Nothing here has a gradient.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gencomp.entropy.jpeg import AC_CODES, DC_CODES, code_lengths

SIDE = 8  # of a block
RUNS, LONG_RUN, END = 16, 0xF0, 0x00  # zeros that a symbol can hold; the symbols of 16 zeros, of the end of the block
LONGEST = 10  # bits of an AC coefficient of 8-bit samples


@functools.cache
def _basis() -> Tensor:
    """The 64 cosines of a block in the order of the zigzag, orthonormal: [64, 1, 8, 8]."""
    place = torch.arange(SIDE, device="cpu")  # it is kept: also where networks are counted on no device
    row = torch.cos(math.pi / SIDE * place[:, None] * (place + 0.5)) * (2 / SIDE) ** 0.5
    row[0] *= 0.5**0.5
    zigzag = sorted(((u, v) for u in range(SIDE) for v in range(SIDE)), key=_diagonal)
    return torch.stack([torch.outer(row[u], row[v]) for u, v in zigzag])[:, None]


def _diagonal(place: tuple[int, int]) -> tuple[int, int]:
    """The sort key of the zigzag: diagonals, up and down in turn."""
    u, v = place
    return u + v, u if (u + v) % 2 else v


@torch.no_grad()
def jpeg_planes(planes: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """planes [N, P, H, W] about 0..255 minus 128, step int [N] -> the same decoded, whole numbers, and bits [N]."""
    images, count, height, width = planes.shape
    rows = planes.float().clamp(-128, 127).round().reshape(-1, 1, height, width)
    padded = F.pad(rows, (0, -width % SIDE, 0, -height % SIDE), "replicate")
    basis, scale = _basis().to(planes.device), step.float().repeat_interleave(count)[:, None, None, None]
    quantised = torch.round(F.conv2d(padded, basis, stride=SIDE) / scale)
    decoded = F.conv_transpose2d(quantised * scale, basis, stride=SIDE)[:, :, :height, :width]
    blocks = quantised.flatten(2).transpose(1, 2)  # [N P, blocks in reading order, 64]
    bits = scan_bits(blocks).reshape(images, count).sum(1)
    return decoded.round().clamp(-128, 127).reshape(planes.shape), bits


def scan_bits(blocks: Tensor) -> Tensor:
    """Quantised coefficients [K, B, 64], in the order of the zigzag -> bits of the scan of each of K planes, [K]."""
    dc_lengths, ac_lengths = (torch.from_numpy(code_lengths(c)).to(blocks.device) for c in (DC_CODES, AC_CODES))
    change = torch.diff(blocks[..., 0], dim=1, prepend=torch.zeros_like(blocks[:, :1, 0]))
    sizes = bit_length(change)
    bits = (dc_lengths[sizes] + sizes).sum(1)
    place = torch.arange(1, SIDE**2, device=blocks.device)
    ac = blocks[..., 1:]
    last = torch.cummax(place * (ac != 0), -1).values  # place of the last one that is not zero, up to here
    run = place - 1 - F.pad(last[..., :-1], (1, 0))
    sizes = bit_length(ac).clamp(max=LONGEST)
    cost = ac_lengths[RUNS * (run % RUNS) + sizes] + sizes + run // RUNS * ac_lengths[LONG_RUN]
    bits = bits + (cost * (ac != 0)).sum((1, 2))
    return bits + (ac_lengths[END] * (last[..., -1] < SIDE**2 - 1)).sum(1)


def bit_length(values: Tensor) -> Tensor:
    """Bits of |v| for whole numbers: 0 for 0, else floor(log2 |v|) + 1; int64."""
    return torch.frexp(values.abs())[1].long()
