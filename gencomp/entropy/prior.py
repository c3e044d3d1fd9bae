"""Latents to bytes and back under the integer prior: the four passes of `priors.py`, in integers alone.

Integers cross these borders and nothing else: z int32, features, means in 1/64 and levels from the integer networks,
residuals r int32, and y_int = 64 r + mean. y_hat = y_int / 64 is exact in float32, and is all that the synthesis sees.
"""

import hashlib
import zlib
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.networks.priors import HYPER_UNIT, LEVELS, MEAN_UNIT, pass_masks
from gencomp.networks.transforms import KNOTS, quality_knots

from .coder import Decoder, Encoder
from .intnet import Backend, IntNet, forward_tiled
from .latent import clamp_residuals, clamp_z, decode_pass, decode_z, encode_pass, encode_z
from .tables import Tables

TILE = 64  # latents a side that the integer networks see at a time; any value gives the same integers


class IntegerPrior(NamedTuple):
    """All that decides bits: tables, h_s, and one context network a pass."""

    tables: Tables
    synthesis: IntNet
    contexts: tuple[IntNet, ...]


class CodedLatents(NamedTuple):
    """payload: the range-coded stream; y_int int32 [M, h, w]; bits: ideal length by the tables, escapes included."""

    payload: bytes
    y_int: Tensor
    bits: float


def hyper_size(height: int, width: int) -> tuple[int, int]:
    """Size of z for latents of height x width."""
    return -(-height // 4), -(-width // 4)


def hyper_features(prior: IntegerPrior, z: Tensor, step: int, backend: Backend, tile: int = TILE) -> Tensor:
    """h_s: z int32 [Z, h', w'] at quality step -> features int32 [F, 4 h', 4 w']."""
    knots = quality_knots(torch.tensor([step]))[0].to(torch.int32)[:, None, None]
    planes = knots.expand(KNOTS, *z.shape[1:])
    return forward_tiled(prior.synthesis, torch.cat([HYPER_UNIT * z, planes])[None], max(1, tile // 4), backend)[0]


def mean_and_level(
    prior: IntegerPrior, index: int, features: Tensor, y_int: Tensor, backend: Backend, tile: int = TILE
) -> tuple[Tensor, Tensor]:
    """Pass `index`: features int32 [F, h, w], y_int int32 [M, h, w] (0 where unknown) -> mean int32, level uint8."""
    known = features if index == 0 else torch.cat([features, y_int])
    mean, level = forward_tiled(prior.contexts[index], known[None], tile, backend)[0].chunk(2)
    return mean, level.clamp(0, LEVELS - 1).to(torch.uint8)


def encode_latents(
    prior: IntegerPrior, y: Tensor, z: Tensor, step: int, backend: Backend = "f64", tile: int = TILE
) -> CodedLatents:
    """Code scaled latents y float32 [M, h, w] and rounded hyper-latents z [Z, h', w'], both on the CPU."""
    encoder = Encoder()
    hyper = clamp_z(z.numpy().astype(np.int32), prior.tables)
    encode_z(encoder, hyper, prior.tables)
    features = hyper_features(prior, torch.from_numpy(hyper), step, backend, tile)[:, : y.shape[1], : y.shape[2]]
    y_int = torch.zeros(y.shape, dtype=torch.int32)
    for index, mask in enumerate(pass_masks(*y.shape)):
        mean, level = mean_and_level(prior, index, features, y_int, backend, tile)
        mean_here = mean[mask].numpy()
        offset = y[mask].double().numpy() - mean_here / MEAN_UNIT
        residuals = clamp_residuals(np.rint(np.nan_to_num(offset)))
        encode_pass(encoder, residuals, level[mask].numpy(), prior.tables)
        y_int[mask] = torch.from_numpy(MEAN_UNIT * residuals + mean_here)
    return CodedLatents(encoder.finish(), y_int, encoder.bits)


def decode_latents(
    prior: IntegerPrior, payload: bytes, height: int, width: int, step: int, backend: Backend = "f64", tile: int = TILE
) -> CodedLatents:
    """The reverse of `encode_latents`; BitstreamError where the payload cannot hold height x width latents."""
    decoder = Decoder(payload)
    hyper = decode_z(decoder, (len(prior.tables.z), *hyper_size(height, width)), prior.tables)
    features = hyper_features(prior, torch.from_numpy(hyper), step, backend, tile)[:, :height, :width]
    y_int = torch.zeros(latent_channels(prior), height, width, dtype=torch.int32)
    for index, mask in enumerate(pass_masks(*y_int.shape)):
        mean, level = mean_and_level(prior, index, features, y_int, backend, tile)
        residuals = decode_pass(decoder, level[mask].numpy(), prior.tables)
        y_int[mask] = torch.from_numpy(MEAN_UNIT * residuals + mean[mask].numpy())
    decoder.finish()
    return CodedLatents(payload, y_int, decoder.bits)


def latent_channels(prior: IntegerPrior) -> int:
    """M, from the last layer of the first context network."""
    return len(prior.contexts[0].layers[-1].weight) // 2


def checksum(y_int: Tensor) -> int:
    """CRC-32 of y_int as little-endian int32 in CHW order."""
    return zlib.crc32(np.ascontiguousarray(y_int.numpy(), "<i4").data)


def known_answer(prior: IntegerPrior, backend: Backend) -> str:
    """SHA-256 over features, means and levels of fixed hyper-latents of odd sizes at several steps, extremes included.

    Equal on every machine that evaluates the integer networks exactly; stored in the model file.
    """
    digest = hashlib.sha256()
    widest = prior.tables.z_half_widths[:, None, None]
    for seed, (height, width, step) in enumerate(((1, 1, 0), (2, 3, 300), (3, 2, 777), (1, 4, STEPS))):
        chance = _scatter((len(prior.tables.z), height, width), seed)
        z = np.where(chance % 11 == 0, widest, (chance >> 8) % 5 - 2).astype(np.int32)
        features = hyper_features(prior, torch.from_numpy(clamp_z(z, prior.tables)), step, backend)
        y_int = torch.zeros(latent_channels(prior), *features.shape[1:], dtype=torch.int32)
        chance = _scatter(tuple(y_int.shape), seed + 100)
        residuals = torch.from_numpy((((chance >> 8) % 7 - 3) * np.where(chance % 101 == 0, 1000, 1)).astype(np.int32))
        for index, mask in enumerate(pass_masks(*y_int.shape)):
            mean, level = mean_and_level(prior, index, features, y_int, backend)
            for part in (features, mean, level.to(torch.int32)):
                digest.update(np.ascontiguousarray(part.numpy(), "<i4").tobytes())
            y_int = torch.where(mask, MEAN_UNIT * residuals + mean, y_int)
    return digest.hexdigest()


def _scatter(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Fixed pseudo-random int64 in 0..2^31 - 1: a hash, since library generators change with versions."""
    numbers = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(seed << 32)
    mixed = (numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return mixed.astype(np.int64).reshape(shape)
