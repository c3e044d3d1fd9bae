"""The order of the stream: which latent is coded when, and by which table (FORMAT.md, section 2).

Residuals go level by level, so that a whole level goes to the coder in one call, and what escaped its table follows.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import BitstreamError

from .coder import Encoder, Symbols, SymbolSource, Table
from .constants import MAX_RESIDUAL
from .tables import Tables, Weights, costs

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]  # types that numpy sorts by radix


class _Compiled(NamedTuple):
    y: tuple[Table, ...]
    z: tuple[Table, ...]
    escape: Table


@lru_cache(maxsize=8)
def _compiled(tables: Tables) -> _Compiled:
    return _Compiled(tuple(map(Table, tables.y)), tuple(map(Table, tables.z)), Table(tables.escape))


def clamp_residuals(residuals: npt.NDArray[np.generic]) -> Symbols:
    """Residuals limited to what a file can hold: |r| <= 30000, int32."""
    return np.clip(residuals, -MAX_RESIDUAL, MAX_RESIDUAL).astype(np.int32)


def encode_pass(encoder: Encoder, residuals: npt.NDArray[np.integer], levels: Levels, tables: Tables) -> None:
    """Write residuals [n] (|r| <= 30000), each by the table of its scale level, levels [n] uint8 or uint16."""
    if residuals.ndim != 1 or residuals.shape != levels.shape:
        raise ValueError(f"residuals {residuals.shape} and levels {levels.shape} are not vectors of one length")
    order, ends = _grouped(levels, tables)
    ordered = residuals[order].astype(np.int32, copy=False)
    escaped: list[Symbols] = []
    start = 0
    for table, end in zip(_compiled(tables).y, ends):
        if start < end:
            half_width = table.size // 2 - 1
            symbols = ordered[start:end] + np.int32(half_width)
            outside = np.flatnonzero((symbols < 0) | (symbols > 2 * half_width))
            if len(outside):
                escaped.append(_overshoot(ordered[start:end][outside], half_width))
                symbols[outside] = 2 * half_width + 1
            encoder.symbols(symbols, table)
        start = end
    if escaped:
        _encode_escapes(encoder, np.concatenate(escaped), tables)


def decode_pass(decoder: SymbolSource, levels: Levels, tables: Tables) -> Symbols:
    """Read residuals, int32 [n], of scale levels [n]; BitstreamError if the data do not hold them."""
    order, ends = _grouped(levels, tables)
    ordered = np.empty(len(levels), np.int32)
    escapes: list[npt.NDArray[np.intp]] = []
    start = 0
    for table, end in zip(_compiled(tables).y, ends):
        if start < end:
            half_width = table.size // 2 - 1
            symbols = decoder.symbols(end - start, table)
            outside = np.flatnonzero(symbols == 2 * half_width + 1)
            if len(outside):
                escapes.append(outside + start)
            np.subtract(symbols, np.int32(half_width), out=ordered[start:end])
        start = end
    if escapes:
        where = np.concatenate(escapes)
        ordered[where] = _decode_escapes(decoder, tables.half_widths[levels[order[where]]], tables)
    residuals = np.empty_like(ordered)
    residuals[order] = ordered
    return residuals


def encode_z(encoder: Encoder, z: npt.NDArray[np.integer], tables: Tables) -> None:
    """Write hyper-latents z [C, H, W], each within the half-width K of its channel's table (see clamp_z)."""
    if z.ndim != 3 or len(z) != len(tables.z):
        raise ValueError(f"hyper-latents {z.shape}, expected {len(tables.z)} channels")
    for channel, table in zip(z, _compiled(tables).z):
        encoder.symbols(channel.ravel() + table.size // 2, table)


def decode_z(decoder: SymbolSource, shape: tuple[int, int, int], tables: Tables) -> Symbols:
    """Read hyper-latents, int32 of the given shape [C, H, W]."""
    channels, height, width = shape
    if channels != len(tables.z):
        raise ValueError(f"{channels} channels of hyper-latents, expected {len(tables.z)}")
    rows = [decoder.symbols(height * width, table) - table.size // 2 for table in _compiled(tables).z]
    return np.stack(rows).reshape(shape).astype(np.int32, copy=False)


def least_bits(tables: Sequence[Weights]) -> float:
    """What one symbol of each table costs at least: the likeliest."""
    return float(sum(costs(weights).min() for weights in tables))


def clamp_z(z: npt.NDArray[np.generic], tables: Tables) -> Symbols:
    """Hyper-latents [C, H, W] limited to what their tables hold: -K..K by channel, int32."""
    bound = tables.z_half_widths[:, None, None]
    return np.clip(z, -bound, bound).astype(np.int32)


def _grouped(levels: Levels, tables: Tables) -> tuple[npt.NDArray[np.intp], list[int]]:
    """The stable order that sorts latents by level, and where each level's group ends in it."""
    if levels.dtype not in (np.uint8, np.uint16) or levels.ndim != 1:
        raise ValueError(f"scale levels are a vector of uint8 or uint16, not {levels.dtype} {levels.shape}")
    ends = np.cumsum(np.bincount(levels, minlength=len(tables.y))).tolist()
    if len(ends) > len(tables.y):
        raise ValueError(f"a scale level above {len(tables.y) - 1}")
    return np.argsort(levels, kind="stable"), ends


def _overshoot(residuals: Symbols, half_width: int) -> Symbols:
    if residuals.min() < -MAX_RESIDUAL or residuals.max() > MAX_RESIDUAL:
        raise ValueError(f"residuals beyond {MAX_RESIDUAL}: clamp them before they are coded")
    return np.where(residuals > 0, 2 * (residuals - half_width - 1), 2 * (-half_width - 1 - residuals) + 1)


def _encode_escapes(encoder: Encoder, overshoots: Symbols, tables: Tables) -> None:
    classes = np.frexp(overshoots + 1.0)[1] - 1  # floor(log2), exact
    encoder.symbols(classes, _compiled(tables).escape)
    encoder.uniform_bits(overshoots + 1 - (1 << classes), classes)


def _decode_escapes(decoder: SymbolSource, half_widths: Symbols, tables: Tables) -> Symbols:
    """Escaped residuals [n], the i-th at a level of half-width half_widths[i]."""
    classes = decoder.symbols(len(half_widths), _compiled(tables).escape)
    overshoots = (1 << classes) + decoder.uniform_bits(len(classes), classes) - 1
    distance = half_widths + 1 + (overshoots >> 1)
    if (distance > MAX_RESIDUAL).any():
        raise BitstreamError("the coded data are damaged: a residual beyond the format's limit")
    return np.where(overshoots & 1, -distance, distance).astype(np.int32)
