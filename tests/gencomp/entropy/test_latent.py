"""The order of the stream: groups by scale level, escapes, hyper-latents, passes."""

import contextlib
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import BitstreamError
from gencomp.entropy import latent as L
from gencomp.entropy.coder import Decoder, Encoder
from gencomp.entropy.tables import Tables, default_tables, quantise_pmf, sigma_of_level


@cache
def tables() -> Tables:
    return default_tables([quantise_pmf(np.ones(2 * k + 1)) for k in (1, 3, 20)])


def encode(residuals: np.ndarray, levels: np.ndarray) -> bytes:
    encoder = Encoder()
    L.encode_pass(encoder, residuals, levels, tables())
    return encoder.finish()


def decode(data: bytes, levels: np.ndarray) -> np.ndarray:
    decoder = Decoder(data)
    residuals = L.decode_pass(decoder, levels, tables())
    decoder.finish()
    return residuals


def photograph_like(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Residuals drawn from their levels' Gaussians, one in a hundred far outside."""
    rng = np.random.default_rng(seed)
    levels = np.clip(rng.normal(10, 12, count), 0, 63).astype(np.uint8)
    sigmas = np.array([sigma_of_level(level) for level in range(64)])
    residuals = np.rint(rng.normal(size=count) * sigmas[levels]).astype(np.int32)
    outliers = rng.random(count) < 0.01
    residuals[outliers] = rng.integers(-L.MAX_RESIDUAL, L.MAX_RESIDUAL + 1, outliers.sum())
    return residuals, levels


@pytest.mark.parametrize("count", [0, 1, 2, 10, 5000])
def test_any_number_of_residuals_comes_back(count: int) -> None:
    residuals, levels = photograph_like(count)
    assert np.array_equal(decode(encode(residuals, levels), levels), residuals)


def test_golden_stream() -> None:
    """Tables made of integers alone, so that this stream owes nothing to a mathematics library."""
    falling = [4 ** np.arange(half_width, dtype=np.int32) for half_width in (1, 3, 6)]
    sides = [65_536 - 1 - 2 * int(side.sum()) for side in falling]
    y = tuple(np.array([*side, peak, *side[::-1], 1], np.int32) for side, peak in zip(falling, sides, strict=True))
    escape = np.array([65_536 - 16 * 3_000] + [3_000] * 16, np.int32)
    fixed = Tables(y, (np.array([1_000, 60_000, 4_536], np.int32),), escape)
    levels = (np.arange(40) * 11 % 3).astype(np.uint8)
    residuals = (np.arange(40) * 37 % 9 - 4).astype(np.int32)
    residuals[[3, 17]] = [-30_000, 2_000]
    encoder = Encoder()
    L.encode_z(encoder, np.array([[[0, 1, -1, 0]]]), fixed)
    L.encode_pass(encoder, residuals, levels, fixed)
    assert encoder.finish().hex() == GOLDEN


GOLDEN = (
    "de4a26367479e1ffffc5fd3a02ffffc5fd3a02ffffc5fd3a02ffffc5fd000122098fa97f888263ea5fe21fa8ff180487"
    "ea3fc6003a4bbfdc640a2076d5960021efa7665848a31e6ee8a3"
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(-L.MAX_RESIDUAL, L.MAX_RESIDUAL), st.integers(0, 63)), max_size=60))
def test_every_residual_up_to_the_limit_can_be_coded_at_every_level(drawn: list[tuple[int, int]]) -> None:
    residuals = np.array([residual for residual, _ in drawn], np.int32)
    levels = np.array([level for _, level in drawn], np.uint8)
    assert np.array_equal(decode(encode(residuals, levels), levels), residuals)


@pytest.mark.parametrize("level", [0, 31, 63])
def test_the_edge_of_a_table_and_the_first_escapes_come_back(level: int) -> None:
    width = int(tables().half_widths[level])
    residuals = np.array([-width - 2, -width - 1, -width, 0, width, width + 1, width + 2], np.int32)
    levels = np.full(len(residuals), level, np.uint8)
    assert np.array_equal(decode(encode(residuals, levels), levels), residuals)


def test_clamps_keep_what_fits_and_limit_the_rest() -> None:
    far = np.array([-(2**40), -30_001, 5, 30_000, 31_000])
    assert L.clamp_residuals(far).tolist() == [-30_000, -30_000, 5, 30_000, 30_000]
    z = np.tile(np.array([-99, -2, 0, 99]), (3, 1, 1)).reshape(3, 1, 4)
    assert L.clamp_z(z, tables())[:, 0].tolist() == [[-1, -1, 0, 1], [-3, -2, 0, 3], [-20, -2, 0, 20]]


def test_what_no_stream_can_hold_is_refused() -> None:
    zeros = np.zeros(2, np.int32)
    for residual in (30_001, -30_001, 2**31 - 1, -(2**31)):
        with pytest.raises(ValueError, match="clamp"):
            encode(np.array([residual], np.int32), np.zeros(1, np.uint8))
    levels = {"level": np.array([0, 64], np.uint8), "uint8": np.array([0, 1]), "length": np.zeros(3, np.uint8)}
    for said, wrong in levels.items():
        with pytest.raises(ValueError, match=said):
            encode(zeros, wrong)
    with pytest.raises(ValueError, match="channels"):
        L.encode_z(Encoder(), np.zeros((2, 4, 4), np.int32), tables())
    with pytest.raises(ValueError, match="channels"):
        L.decode_z(Decoder(b""), (2, 4, 4), tables())


def test_damaged_streams_raise_bitstream_errors_or_decode_to_residuals_within_the_limit() -> None:
    residuals, levels = photograph_like(600)
    data = encode(residuals, levels)
    rng = np.random.default_rng(2)
    for trial in range(300):
        damaged = bytearray(data)
        position = int(rng.integers(len(data)))
        if trial % 3 == 0:
            damaged[position] ^= 1 << int(rng.integers(8))
        elif trial % 3 == 1:
            del damaged[position:]
        else:
            damaged[position:] = rng.bytes(int(rng.integers(0, 2 * len(data))))
        with contextlib.suppress(BitstreamError):
            assert np.abs(decode(bytes(damaged), levels)).max() <= L.MAX_RESIDUAL
