"""The transforms over pictures of any size, in tiles with enough halo to agree with the whole.

Every layer is local, so an output depends on inputs within the receptive field alone. A tile is cut with that much
around it, never beyond the picture, so that the networks' zero padding stands where it stands for the whole.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..image import pad_to_multiple, to_tensor, to_uint8
from ..networks.hyperprior import HyperpriorCodec
from ..networks.layers import Block
from ..networks.transforms import STRIDE, TransformConfig

WHOLE_LATENTS = 6144  # latents a channel up to which a picture is coded in one piece: 1.5 megapixels
TILE_LATENTS = 96  # side of a tile of a larger picture, in latents: 1536 pixels


class Tile(NamedTuple):
    """In latents: what a tile yields (top, left, bottom, right), and what it must see (the same with its halo)."""

    yields: tuple[int, int, int, int]
    sees: tuple[int, int, int, int]


def analysis_halo(config: TransformConfig) -> int:
    """Latents around a tile that act on g_a's outputs inside: the blocks at 1/8 and at 1/16."""
    fine, coarse = config.encoder_depths
    return math.ceil(Block.REACH * (fine / 2 + coarse))


def synthesis_halo(config: TransformConfig) -> int:
    """Latents around a tile that act on g_s's pixels inside: blocks at 1/16, 1/8 and 1/4, two convolutions at 1/2."""
    d16, d8, d4 = config.decoder_depths
    return math.ceil(Block.REACH * (d16 + d8 / 2 + d4 / 4) + 2 / 8)


def tiles(height: int, width: int, side: int, halo: int) -> Iterator[Tile]:
    """Cover height x width latents with tiles of at most side x side, in reading order."""
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            sees = (max(top - halo, 0), max(left - halo, 0), min(bottom + halo, height), min(right + halo, width))
            yield Tile((top, left, bottom, right), sees)


def tile_side(height: int, width: int, side: int | None) -> int:
    """The tile side to use, in latents: as asked for, else the whole of a small picture and 96 of a large one."""
    if side is not None:
        return side
    return max(height, width) if height * width <= WHOLE_LATENTS else TILE_LATENTS


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Size of the latents of a picture of height x width pixels."""
    return -(-height // STRIDE), -(-width // STRIDE)


@torch.no_grad()
def analyse(network: HyperpriorCodec, pixels: np.ndarray, step: int, side: int | None = None) -> Tensor:
    """Scaled latents of a picture: uint8 [H, W, 3] -> float32 [M, h, w] on the CPU. `side`: tile side in latents."""
    height, width = latent_size(*pixels.shape[:2])
    device = next(network.parameters()).device
    y = torch.empty(network.config.transform.latent_channels, height, width)
    for tile in tiles(height, width, tile_side(height, width, side), analysis_halo(network.config.transform)):
        top, left, bottom, right = (v * STRIDE for v in tile.sees)
        x = pad_to_multiple(to_tensor(pixels[top:bottom, left:right]), STRIDE).to(device)
        x = x.to(memory_format=torch.channels_last)
        part = network.latents(x, torch.tensor([step], device=device))[0].cpu()
        t, l, b, r = tile.yields
        dy, dx = t - tile.sees[0], l - tile.sees[1]
        y[:, t:b, l:r] = part[:, dy : dy + b - t, dx : dx + r - l]
    return y


@torch.no_grad()
def synthesise(
    network: HyperpriorCodec, y_hat: Tensor, size: tuple[int, int], step: int, realism: float, side: int | None = None
) -> np.ndarray:
    """The picture of latents y_hat [M, h, w] on the CPU, any dtype that holds y_int / 64: uint8 [height, width, 3]."""
    height, width = y_hat.shape[1:]
    device = next(network.parameters()).device
    pixels = np.empty((height * STRIDE, width * STRIDE, 3), np.uint8)
    steps, realisms = torch.tensor([step], device=device), torch.tensor([realism], device=device)
    for tile in tiles(height, width, tile_side(height, width, side), synthesis_halo(network.config.transform)):
        top, left, bottom, right = tile.sees
        part = y_hat[None, :, top:bottom, left:right].float().to(device, memory_format=torch.channels_last)
        shown = to_uint8(network.pictures(part, steps, realisms, torch.tensor([[top, left]], device=device)))
        t, l, b, r = tile.yields
        dy, dx = (t - top) * STRIDE, (l - left) * STRIDE
        rows, columns = slice(dy, dy + (b - t) * STRIDE), slice(dx, dx + (r - l) * STRIDE)
        pixels[t * STRIDE : b * STRIDE, l * STRIDE : r * STRIDE] = shown[rows, columns]
    return pixels[: size[0], : size[1]]
