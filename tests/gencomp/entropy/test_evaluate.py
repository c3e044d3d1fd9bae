"""Both arithmetics, every setting and tile size give the integers that plain Python arithmetic gives."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import ModelError
from gencomp.entropy import check, hyperprior
from gencomp.entropy import evaluate as evaluation
from gencomp.entropy import intnet as I
from gencomp.entropy.check import verify_depthwise
from gencomp.entropy.contract import Arithmetic, Latents
from gencomp.entropy.evaluate import Evaluation, evaluate
from gencomp.entropy.intnet import IntConv, IntNet

from .models import MODELS
from .nets import ARITHMETICS, EXAMPLE_DIGEST, example_digest, example_input, example_net, forward, hashed, layer, nets
from .test_layout import Model

arithmetics = pytest.mark.parametrize("arithmetic", ARITHMETICS)


def by_hand(net: IntNet, x: np.ndarray) -> np.ndarray:
    """The definition, in Python integers: x [C, H, W]."""
    return Model(I.to_arrays(net, "n")).evaluate("n", x.astype(object)).astype(np.int64)


@arithmetics
def test_golden_output(arithmetic: Arithmetic) -> None:
    assert example_digest(arithmetic) == EXAMPLE_DIGEST


@settings(deadline=None, max_examples=25)
@given(nets(), st.integers(1, 4), st.integers(1, 4))
def test_every_form_of_layer_is_what_python_integers_give(net: IntNet, height: int, width: int) -> None:
    x = hashed((net.inputs, height, width), -400, 400, 3)
    expected = by_hand(net, x)
    for arithmetic in ARITHMETICS:
        assert np.array_equal(forward(net, x, arithmetic), expected)


@arithmetics
def test_requantisation_is_python_integer_arithmetic_at_ties_and_ends(arithmetic: Arithmetic) -> None:
    """Identity layers: y = floor((x M + 2^(s-1)) / 2^s), at values around every tie, and with the largest M and s."""
    pairs = [(1, 1), (1, 2), (3, 1), (3, 5), (32_767, 15), (32_767, 46), (16_384, 14), (1, 46), (12_345, 20)]
    multipliers, shifts = (np.array(column) for column in zip(*pairs, strict=True))
    ones = np.ones((len(pairs), 1, 1, 1), np.int16)
    conv = IntConv(ones, np.zeros(len(pairs), np.int64), multipliers, shifts, -(2**23), 2**23, len(pairs))
    net = IntNet((conv,), np.array([I.MAX_ACTIVATION]))
    values = sorted({v + d for e in range(24) for v in (2**e, -(2**e), 3 * 2**e // 2) for d in (-1, 0, 1)})
    values = [v for v in values if abs(v) <= I.MAX_ACTIVATION]
    y = forward(net, np.broadcast_to(np.array(values), (len(pairs), 1, len(values))), arithmetic)[:, 0].tolist()
    for (m, s), row in zip(pairs, y, strict=True):
        assert row == [min(max((v * m + 2 ** (s - 1)) >> s, -(2**23)), 2**23) for v in values]


PROCESSES = [
    {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3", "OMP_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Nehalem", "OMP_NUM_THREADS": "4"},
]


@pytest.mark.parametrize("environment", PROCESSES, ids=["oldest", "older", "four threads"])
def test_other_instruction_sets_and_threads_give_the_same_integers(environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import nets as t\n"
        "print(*(t.example_digest(arithmetic) for arithmetic in t.ARITHMETICS))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [EXAMPLE_DIGEST, EXAMPLE_DIGEST]


@settings(deadline=None, max_examples=40)
@given(nets(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 10), st.sampled_from(ARITHMETICS))
def test_tiles_equal_the_whole(net: IntNet, height: int, width: int, tile: int, arithmetic: Arithmetic) -> None:
    x = hashed((net.inputs, height, width), -400, 400, 3)
    whole = forward(net, x)
    assert np.array_equal(whole, forward(net, x, "int64"))
    assert np.array_equal(whole, forward(net, x, arithmetic, tile))


def test_inputs_that_are_given_in_parts_are_one_input() -> None:
    x = example_input()[0].transpose(1, 2, 0)
    whole = evaluate(example_net(), [x], Evaluation(3))
    assert np.array_equal(evaluate(example_net(), [x[..., :1], x[..., 1:].astype(np.int16)], Evaluation(3)), whole)


@settings(deadline=None, max_examples=30)
@given(nets())
def test_the_receptive_field_is_as_wide_as_it_says_and_no_wider(net: IntNet) -> None:
    """With weights of 1, no bias and no clamp, an input acts on every output within its reach, and on none beyond."""
    layers = []
    for conv in net.layers:
        one, zero = np.ones_like(conv.bias), np.zeros_like(conv.bias)
        weight = np.ones_like(conv.weight)
        layers.append(IntConv(weight, zero, one, one, 0, 1 << 20, conv.groups, conv.shuffle))
    net = IntNet(tuple(layers), np.array([1 << 20]))
    halo, scale, reach = I.receptive_field(net)
    x = np.zeros((net.inputs, 2 * halo + 1, 1), np.int64)
    x[:, halo] = 1 << 20
    rows = np.flatnonzero(forward(net, x).max((0, 2)))
    assert (int(rows[0]), int(rows[-1])) == (halo * scale - reach, (halo + 1) * scale - 1 + reach)
    assert halo - 1 < reach / scale <= halo or halo == reach == 0


@arithmetics
def test_evaluating_again_gives_the_same_and_leaves_the_input_as_it_was(arithmetic: Arithmetic) -> None:
    """An image of one position: no view of the prepared network may be written to."""
    net = example_net()
    x = example_input(1, 1)[0].astype(np.int64)
    before, first = x.copy(), forward(net, x, arithmetic)
    assert np.array_equal(forward(net, x, arithmetic), first)
    assert np.array_equal(x, before)


def test_a_network_without_the_proof_is_not_evaluated() -> None:
    conv = layer(4, 3, 3, seed=11)
    beyond = dataclasses.replace(conv, bias=conv.bias + (1 << 50))
    with pytest.raises(ModelError, match="exact"):
        forward(IntNet((beyond,), np.array([1])), np.ones((3, 1, 1), np.int64))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_the_proof_bounds_what_the_worst_input_reaches(groups: int) -> None:
    conv, bounds = layer(4, 4, 3, seed=11, groups=groups), np.array([10, 20, 30, 40])
    seen = np.repeat(bounds.reshape(groups, -1), 4 // groups, axis=0)  # [O, I / groups]
    largest = (np.abs(conv.weight.astype(np.int64)) * seen[..., None, None]).sum((1, 2, 3)) + np.abs(conv.bias)
    worst = [acc * m + 2 ** (s - 1) for acc, m, s in zip(largest.tolist(), conv.multiplier, conv.shift)]
    assert list(I.prove_bounds(IntNet((conv,), bounds))) == [max(worst)]


def one_weight(acc: int, multiplier: int) -> IntNet:
    """A network of one weight, 1, whose worst |acc| is `acc`, all but 1 of it bias."""
    vectors = (np.array([acc - 1]), np.array([multiplier]), np.array([1]))
    return IntNet((IntConv(np.ones((1, 1, 1, 1), np.int16), *vectors, -100, 100),), np.array([1]))


def test_a_network_one_unit_beyond_the_proof_is_refused() -> None:
    multiplier = 4_001
    most = (I.EXACT - 2) // multiplier
    assert I.prove_bounds(one_weight(most, multiplier))[0] < I.EXACT
    with pytest.raises(ModelError, match="exact"):
        I.prove_bounds(one_weight(most + 1, multiplier))


def test_a_network_that_the_file_cannot_hold_is_not_written() -> None:
    net = example_net()
    wide = dataclasses.replace(net.layers[0], weight=net.layers[0].weight.astype(np.int32) * 100)
    with pytest.raises(ModelError):
        I.to_arrays(IntNet((wide, *net.layers[1:]), net.input_bound), "h_s")


@pytest.mark.parametrize("name", sorted(I.to_arrays(example_net(), "n")))
def test_every_spoilt_array_is_refused(name: str) -> None:
    arrays = I.to_arrays(example_net(), "n")
    good = arrays[name].astype(np.int64)
    bad: list[Any] = [None, good[:-1], good[:0], good[None], good.astype(np.float64), good + 2**60, good - 2**60]
    for array in bad:
        spoilt = {key: value for key, value in {**arrays, name: array}.items() if value is not None}
        with pytest.raises(ModelError):
            I.from_arrays(spoilt, "n")


def test_arrays_that_do_not_belong_are_refused() -> None:
    arrays = I.to_arrays(example_net(), "n")
    for extra in ("n.6.weight", "n.0.gain", "n.input"):
        with pytest.raises(ModelError, match="unknown"):
            I.from_arrays({**arrays, extra: np.zeros(1, np.int64)}, "n")
    with pytest.raises(ModelError, match="0 integer layers"):
        I.from_arrays(arrays, "other")


@pytest.mark.parametrize("form", ["5 4 1 2", "0 9 5 2", "0 9 0 2", "0 9 1 3", "0 9 1 0", "0 9 -1 1", "0 9 24 2"])
def test_a_form_that_no_layer_has_is_refused(form: str) -> None:
    arrays = I.to_arrays(example_net(), "n")
    with pytest.raises(ModelError):
        I.from_arrays({**arrays, "n.0.form": np.array([int(part) for part in form.split()])}, "n")


CHECKED = Evaluation(check=True)


def spoiling(change: Callable[[np.ndarray], None], call: int) -> Callable[..., None]:
    """Matrix products, the `call`-th of which comes out changed."""
    right, calls = evaluation._multiply, [0]

    def multiply(rows: np.ndarray, weight: np.ndarray, out: np.ndarray) -> None:
        right(rows, weight, out)
        if calls[0] == call:
            change(out)
        calls[0] += 1

    return multiply


def one_unit(out: np.ndarray) -> None:
    out[-1, 0, 1] += 1


def one_channel(out: np.ndarray) -> None:
    out[:, 0, 0] -= 3


def single_precision(out: np.ndarray) -> None:
    out[:] = out.astype(np.float32)


@pytest.mark.parametrize("change", [one_unit, one_channel, single_precision])
@pytest.mark.parametrize("call", [0, 1, 9, 30])
def test_wrong_products_fail(change: Callable[[np.ndarray], None], call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = IntNet((layer(8, 3, 1, seed=1), layer(9, 8, 5, seed=2), layer(4, 9, 3, seed=3)), np.array([2**20]))
    x = hashed((6, 7, 3), -(2**20), 2**20, 4)
    evaluate(net, [x], CHECKED)
    monkeypatch.setattr(evaluation, "_multiply", spoiling(change, call))
    with pytest.raises(ModelError, match="exactly"):
        evaluate(net, [x], CHECKED)


def test_a_wrong_sum_of_a_depthwise_layer_is_noticed() -> None:
    weight, x = hashed((9, 4), -2047, 2047, 1).astype(float), hashed((5, 8, 4), -32767, 32767, 2).astype(float)
    acc = np.zeros((3, 6, 4))
    for dy in range(3):
        for dx in range(3):
            acc += weight[3 * dy + dx] * x[dy : dy + 3, dx : dx + 6]
    verify_depthwise(weight, x, acc)
    acc[1, 2, 3] += 1
    with pytest.raises(ModelError, match="exactly"):
        verify_depthwise(weight, x, acc)


def test_sums_too_large_for_floats_against_a_vector_are_verified_in_int64() -> None:
    probe = check.probe_of(8, 2**52, np.float64)
    assert (probe.dtype, check.probe_of(8, 2**40, np.float64).dtype) == (np.int64, np.float64)
    assert (probe != 0).all()


@pytest.mark.parametrize("name", ["context", "factorized"])
def test_a_payload_that_does_not_read_back_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS[name]()
    y = np.random.default_rng(0).normal(size=(model.latent_channels, 4, 4)).astype(np.float32)
    z = np.zeros((model.hyper_channels, 1, 1), np.float32) if model.hyper_channels else None
    model.encode(Latents(y, z), 5, Evaluation(check=True))
    right = hyperprior.Encoder.finish
    monkeypatch.setattr(hyperprior.Encoder, "finish", lambda self: bytes([right(self)[0] ^ 1]) + right(self)[1:])
    with pytest.raises(ModelError, match="did not decode to what was coded"):
        model.encode(Latents(y, z), 5, Evaluation(check=True))
