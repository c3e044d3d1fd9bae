"""The range coder: fixed streams, a reader by the text of FORMAT.md alone, and data that were damaged."""

import time
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import BitstreamError
from gencomp.entropy import coder as C
from gencomp.entropy.tables import TOTAL, costs, gaussian_tables, quantise_pmf

from .test_layout import Reader

GAUSSIAN = gaussian_tables()[30]


class Part(NamedTuple):
    weights: np.ndarray
    symbols: np.ndarray


def encode(parts: list[Part]) -> bytes:
    encoder = C.Encoder()
    for part in parts:
        encoder.symbols(part.symbols, part.weights)
    return encoder.finish()


def decode(data: bytes, parts: list[Part]) -> list[np.ndarray]:
    decoder = C.Decoder(data)
    decoded = [decoder.symbols(len(part.symbols), part.weights) for part in parts]
    decoder.finish()
    return decoded


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """Tables of every skew, and symbols drawn from them or at their ends."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    drawn = []
    for _ in range(draw(st.integers(0, 4))):
        size = draw(st.one_of(st.integers(2, 5), st.integers(2, 600)))
        weights = quantise_pmf(rng.dirichlet(np.full(size, draw(st.sampled_from([0.02, 0.3, 5.0])))) + 1e-12)
        count = draw(st.integers(0, 200))
        kind = draw(st.sampled_from(["typical", "first", "last", "any"]))
        symbols: dict[str, Any] = {"typical": rng.choice(size, count, p=weights / TOTAL), "first": np.zeros(count)}
        symbols |= {"last": np.full(count, size - 1), "any": rng.integers(0, size, count)}
        drawn.append(Part(weights, symbols[kind].astype(np.int32)))
    return drawn


def test_golden_words() -> None:
    weights = np.array([1, 253, 30_002, 34_998, 282], np.int32)
    symbols = (np.arange(64) * 7919 % 101 % 5).astype(np.int32)
    encoder = C.Encoder()
    encoder.symbols(symbols, weights)
    encoder.uniform_bits(np.array([5, 0, 1, 16_777_215]), np.array([3, 0, 1, 24]))
    assert encoder.finish().hex() == GOLDEN
    decoder = C.Decoder(bytes.fromhex(GOLDEN))
    assert np.array_equal(decoder.symbols(64, weights), symbols)
    assert decoder.uniform_bits(4, np.array([3, 0, 1, 24])).tolist() == [5, 0, 1, 16_777_215]
    decoder.finish()
    assert decoder.bits == encoder.bits


GOLDEN = (
    "0000003707b543000000182d29c42200031f2a6bfba55e0012c8a48ee9883206e45cda8a8497a8295e916d000000122c455fc000024baaeb55"
)


@settings(deadline=None, max_examples=30)
@given(parts(), st.lists(st.tuples(st.integers(0, 24), st.integers(0, 2**24 - 1)), max_size=20))
def test_streams_are_read_by_the_text_of_the_format_alone(drawn: list[Part], bits: list[tuple[int, int]]) -> None:
    counts = np.array([count for count, _ in bits], np.int32)
    values = np.array([value & (1 << count) - 1 for count, value in bits], np.int32)
    encoder = C.Encoder()
    for part in drawn:
        encoder.symbols(part.symbols, part.weights)
    encoder.uniform_bits(values, counts)
    data = encoder.finish()
    reader, decoder = Reader(data), C.Decoder(data)
    for part in drawn:
        assert [reader.symbol(part.weights.tolist()) for _ in part.symbols] == part.symbols.tolist()
        assert np.array_equal(decoder.symbols(len(part.symbols), part.weights), part.symbols)
    assert [reader.bits(count) for count in counts.tolist()] == values.tolist()
    assert np.array_equal(decoder.uniform_bits(len(counts), counts), values)
    decoder.finish()
    assert decoder.bits == pytest.approx(encoder.bits)


def test_a_carry_runs_through_finished_words() -> None:
    """The last symbol again and again keeps the interval at its upper end, where a step up makes the words overflow."""
    weights = np.array([1, 65_534, 1], np.int32)
    part = Part(weights, np.random.default_rng(0).choice(3, 5000, p=[0.01, 0.01, 0.98]).astype(np.int32))
    data = encode([part])
    reader = Reader(data)
    assert [reader.symbol(weights.tolist()) for _ in part.symbols] == part.symbols.tolist()
    assert np.array_equal(decode(data, [part])[0], part.symbols)


def test_a_stream_is_the_shortest_that_its_interval_holds() -> None:
    """Also where that ends in 56 or more zero bits."""
    rng, short = np.random.default_rng(0), 0
    for _ in range(2000):
        counts = rng.integers(0, 25, rng.integers(1, 8))
        encoder = C.Encoder()
        encoder.uniform_bits(rng.integers(0, 1 << counts), counts)
        (low, high, words), data = encoder._interval(), encoder.finish()
        assert low <= int.from_bytes(data.ljust(4 * words, b"\0"), "big") < high
        if data:
            unit = 256 ** (4 * words - len(data) + 1)  # of streams that are a byte shorter
            assert -(-low // unit) * unit >= high
        short += 4 * words - len(data) >= 8
    assert short > 100


@pytest.mark.parametrize("count", [10, 17, 60, 5000])
def test_a_stream_of_symbols_that_zeros_would_decode_to_is_as_long_as_it_must_be(count: int) -> None:
    """Symbol 0 costs 16 bits and moves the interval's lower end nowhere: the roundest number in it is 0."""
    part = Part(np.array([1, 65_535]), np.zeros(count, np.int32))
    data = encode([part])
    assert (data == b"") == (16 * count <= C.SLACK)
    assert 16 * count - C.SLACK <= 8 * len(data) <= 16 * count + 8
    assert np.array_equal(decode(data, [part])[0], part.symbols)


@settings(deadline=None, max_examples=40)
@given(parts())
def test_a_stream_is_within_two_bytes_of_its_entropy(drawn: list[Part]) -> None:
    encoder = C.Encoder()
    for part in drawn:
        encoder.symbols(part.symbols, part.weights)
    entropy = sum(costs(part.weights)[part.symbols].sum() for part in drawn)
    assert encoder.bits == pytest.approx(entropy, abs=1e-6)
    assert 8 * len(encoder.finish()) < 1.001 * entropy + 16


@pytest.mark.parametrize("count", [-1, C.MAX_SYMBOLS + 1, 10**13])
def test_an_absurd_count_is_refused_before_memory_is_asked_for(count: int) -> None:
    with pytest.raises(BitstreamError):
        C.Decoder(b"abcd").symbols(count, GAUSSIAN)


@pytest.mark.parametrize("symbol", [-1, len(GAUSSIAN), 2**31 - 1])
def test_a_symbol_outside_its_table_is_refused(symbol: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        C.Encoder().symbols(np.array([0, symbol]), GAUSSIAN)


@pytest.mark.parametrize("weights", [[65_536], [65_536, 0], [65_535, 2], [70_000, -4464], [[32_768, 32_768]], []])
def test_what_is_no_table_is_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="table"):
        C.Table(np.array(weights, np.int32))


@pytest.mark.parametrize(("value", "count"), [(2, 1), (-1, 4), (1, 0), (0, 25), (0, -1)])
def test_a_value_that_does_not_fit_its_bits_is_refused(value: int, count: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        C.Encoder().uniform_bits(np.array([value]), np.array([count]))


def test_reading_beyond_the_end_stops_within_a_chunk() -> None:
    table = C.Table(np.array([1_000, 63_536, 1_000]))
    decoder = C.Decoder(b"\x01")
    assert 5_000 * table.cheapest < 8 + C.SLACK
    with pytest.raises(BitstreamError, match="end before"):  # the zeros beyond the end are symbols of 6 bits
        decoder.symbols(5_000, table)


def test_more_symbols_than_the_data_can_hold_are_refused_before_they_are_read() -> None:
    table = np.array([1, 65_534, 1])  # the likeliest symbol costs 4.4e-5 bits
    started = time.process_time()
    with pytest.raises(BitstreamError, match="end before"):
        C.Decoder(b"\x80").symbols(C.MAX_SYMBOLS, table)
    assert time.process_time() - started < 0.1


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=12), st.binary(min_size=1, max_size=12), st.integers(0, 60))
def test_data_that_no_encoder_writes_are_refused(start: bytes, more: bytes, count: int) -> None:
    """Of two streams that begin alike and decode to the same symbols, at most one is what an encoder writes."""
    table = np.array([10_000, 40_000, 15_536])
    accepted: dict[bytes, bytes] = {}
    for data in (start.rstrip(b"\0"), (start + more).rstrip(b"\0")):
        decoder = C.Decoder(data)
        try:
            symbols = decoder.symbols(count, table).tobytes()
            decoder.finish()
        except BitstreamError:
            continue
        assert accepted.setdefault(symbols, data) == data


def test_an_encoder_that_keeps_what_it_wrote_notices_every_changed_byte() -> None:
    encoder = C.Encoder(keep=True)
    encoder.symbols(np.random.default_rng(2).integers(0, len(GAUSSIAN), 20), GAUSSIAN)
    encoder.uniform_bits(np.array([5, 0, 1023]), np.array([3, 0, 10]))
    data = encoder.finish()
    assert encoder.reads_back(data)
    assert not encoder.reads_back(data[: len(data) // 2])
    for index in range(len(data) - 1):  # the last byte may have room
        assert not encoder.reads_back(data[:index] + bytes([data[index] ^ 0x81]) + data[index + 1 :])
