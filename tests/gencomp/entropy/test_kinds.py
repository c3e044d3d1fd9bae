"""Entropy models of every kind: what is coded comes back, under any tile and arithmetic; hostile arrays are refused."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import BitstreamError, ModelError
from gencomp.entropy import KINDS
from gencomp.entropy.constants import MAX_RESIDUAL, MEAN_UNIT
from gencomp.entropy.contract import EntropyModel, Evaluation, IntArray, Latents
from gencomp.entropy.hybrid import CHANNELS, Hybrid

from .models import ALL, MODELS, hybrid
from .nets import ARITHMETICS

kinds = pytest.mark.parametrize("name", sorted(ALL))


def latents(model: EntropyModel, height: int, width: int, seed: int) -> Latents:
    rng = np.random.default_rng(seed)
    y = (rng.normal(size=(model.latent_channels, height, width)) * 4).astype(np.float32)
    if not model.hyper_channels:
        return Latents(y, None)
    size = -(-height // 4), -(-width // 4)
    return Latents(y, (rng.normal(size=(model.hyper_channels, *size)) * 2).astype(np.float32))


@kinds
@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), quality_step=st.integers(0, 1024), tile=st.integers(1, 30))
def test_latents_of_every_size_come_back(name: str, height: int, width: int, quality_step: int, tile: int) -> None:
    model = ALL[name]()
    given_latents = latents(model, height, width, seed=width)
    coded = model.encode(given_latents, quality_step, Evaluation(check=True))
    back = model.decode(coded.payload, height, width, quality_step, Evaluation(tile=tile))
    assert np.array_equal(back.y_int, coded.y_int)
    assert (back.y_int.dtype, back.bits) == (np.int32, pytest.approx(coded.bits))
    error = np.abs(back.y_int / MEAN_UNIT - given_latents.y)
    if isinstance(model, Hybrid):
        planes = np.abs(back.y_int[:CHANNELS] / MEAN_UNIT - given_latents.y[:CHANNELS].clip(-2, 127 / 64))
        assert planes.max() <= 4 * model.step_at(quality_step) / 64  # 64 coefficients, each half a step off at most
        error = error[CHANNELS:]
    assert error.max() <= 0.5
    assert 8 * len(coded.payload) <= coded.bits * 1.01 + 16


@kinds
def test_hyper_latents_go_to_the_nearest_integer(name: str) -> None:
    model, (y, z) = ALL[name](), latents(ALL[name](), 9, 6, 1)
    nearest: Any = None if z is None else np.rint(z)
    for off in (-0.4, 0.4) if nearest is not None else ():
        near = (Latents(y, nearest + np.float32(shift)) for shift in (0, off))
        assert len({model.encode(each, 300).payload for each in near}) == 1


@kinds
def test_both_arithmetics_give_the_same_file_and_read_it(name: str) -> None:
    model = ALL[name]()
    payloads = {model.encode(latents(model, 9, 6, 1), 300, Evaluation(3, a)).payload for a in ARITHMETICS}
    assert len(payloads) == 1
    payload = payloads.pop()
    first, second = (model.decode(payload, 9, 6, 300, Evaluation(arithmetic=a, tile=5)).y_int for a in ARITHMETICS)
    assert np.array_equal(first, second)
    assert model.known_answer("float64") == model.known_answer("int64")


@kinds
def test_latents_that_are_not_numbers_are_coded_as_something_that_decodes(name: str) -> None:
    model = ALL[name]()
    wild = latents(model, 5, 3, 0)
    for channel in (0, -1):
        wild.y[channel, :4, 0] = np.nan, np.inf, -np.inf, -1e30
    if wild.z is not None:
        wild.z[0, :, 0] = np.inf, np.nan
    coded = model.encode(wild, 1024)
    assert np.array_equal(model.decode(coded.payload, 5, 3, 1024).y_int, coded.y_int)
    assert np.abs(coded.y_int).max() >= MEAN_UNIT * (MAX_RESIDUAL - 1000)


@kinds
def test_arrays_of_the_model_file_give_the_model_back(name: str) -> None:
    model = ALL[name]()
    again = KINDS[model.kind](model.arrays())
    assert (again.kind, again.known_answer()) == (model.kind, model.known_answer())
    assert (again.latent_channels, again.hyper_channels) == (model.latent_channels, model.hyper_channels)
    given_latents = latents(model, 7, 5, 2)
    assert again.encode(given_latents, 512).payload == model.encode(given_latents, 512).payload


@kinds
@pytest.mark.parametrize("payload", [b"", b"\x80", b"\x01", bytes(range(1, 200)), b"\xff" * 20, b"\x81\x00" * 99])
@pytest.mark.parametrize("size", [(836, 836), (6, 131_072), (20_000, 20_000)])
def test_a_short_payload_of_a_large_image_is_refused_at_once(name: str, payload: bytes, size: tuple[int, int]) -> None:
    model = ALL[name]()
    started = time.process_time()
    with pytest.raises(BitstreamError):
        model.decode(payload, *size, 512)
    assert time.process_time() - started < 0.2


@kinds
def test_what_is_longer_than_it_codes_is_refused(name: str) -> None:
    model = ALL[name]()
    payload = model.encode(latents(model, 6, 5, 0), 512).payload
    for more in (b"\x01", b"\x00\x01", b"\xff" * 9):
        with pytest.raises(BitstreamError):
            model.decode(payload + more, 6, 5, 512)


def mutated(arrays: dict[str, IntArray], draw: np.random.Generator) -> dict[str, Any]:
    """One array lost, of another type, shape or content, or one too many."""
    changed: dict[str, Any] = dict(arrays)
    name = sorted(changed)[draw.integers(len(changed))]
    array = changed[name]
    wild = array.astype(np.int64).copy()
    wild.flat[draw.integers(wild.size)] = draw.choice([-(2**62), -1, 0, 1, 2, 3, 1000, 2**15, 2**40, 2**62])
    others = array.astype(np.float32), array.astype(np.uint8), array[:0], array[..., None], array.ravel()[:-1]
    kind = int(draw.integers(9))
    if kind < 3:
        changed[name] = wild
    elif kind == 3:
        del changed[name]
    elif kind < 8:
        changed[name] = others[kind - 4]
    else:
        changed[f"{name}{draw.choice(['.0.weight', 'x', '.form'])}"] = array
    return changed


@kinds
def test_hostile_arrays_end_in_a_model_or_a_model_error_at_once(name: str) -> None:
    model, draw, refused = ALL[name](), np.random.default_rng(7), list[str]()
    arrays = model.arrays()
    for _ in range(300):
        changed = mutated(arrays, draw)
        started = time.process_time()
        try:
            again = KINDS[model.kind](changed)
            again.known_answer()
            again.decode(again.encode(latents(again, 3, 2, 0), 100).payload, 3, 2, 100)
        except ModelError as error:
            refused.append(str(error))
        assert time.process_time() - started < 0.5
    assert len(refused) > 150
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": np.arange(1, 9)}, {"steps": np.arange(9)}, {"steps": np.arange(248, 257)}, {"more": np.arange(1)}],
)
def test_steps_that_no_quantiser_has_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        KINDS["hybrid"]({**hybrid().arrays(), **wrong})


def test_a_network_that_would_enlarge_without_end_is_refused() -> None:
    model = MODELS["direct"]()
    arrays = dict(model.arrays())
    for index in range(2, 30):  # each doubles height and width
        arrays |= {f"synthesis.{index}.{part}": arrays[f"synthesis.1.{part}"] for part in PARTS}
        arrays[f"synthesis.{index}.weight"] = np.ones((64, 16, 1, 1), np.int64)
    with pytest.raises(ModelError, match="enlarges"):
        KINDS[model.kind](arrays)


PARTS = ("weight", "bias", "multiplier", "shift", "form")


def test_a_network_too_large_to_hold_is_refused_before_it_is_copied() -> None:
    model = MODELS["context"]()
    large = np.broadcast_to(np.int16(1), (4096, 4096, 5, 5))  # no memory behind it
    with pytest.raises(ModelError, match="weights"):
        KINDS[model.kind]({**model.arrays(), "context1.0.weight": large})


def test_sets_of_tables_serve_the_qualities_nearest_to_them() -> None:
    model = MODELS["factorized-sets"]()
    given_latents = latents(model, 4, 4, 0)
    payloads = [model.encode(given_latents, step).payload for step in (0, 255, 256, 512, 767, 768, 1024)]
    assert payloads[0] == payloads[1] != payloads[2] == payloads[3] == payloads[4] != payloads[5] == payloads[6]


@pytest.mark.parametrize("centres", [np.zeros((1, 24)), np.zeros((24, 2)), np.zeros((3, 7)), np.zeros((2, 2, 6))])
def test_sets_that_do_not_fit_their_tables_are_refused(centres: np.ndarray) -> None:
    arrays = dict(MODELS["factorized-sets"]().arrays()) | {"centres": centres.astype(np.int32)}
    with pytest.raises(ModelError):
        KINDS["factorized"](arrays)
