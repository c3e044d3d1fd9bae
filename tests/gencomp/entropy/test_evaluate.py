"""Both arithmetics, every setting and tile size give the integers that plain Python arithmetic gives."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import ModelError
from gencomp.entropy import intnet as I
from gencomp.entropy.contract import Arithmetic
from gencomp.entropy.evaluate import Evaluation, evaluate
from gencomp.entropy.intnet import IntConv, IntNet

from .nets import ARITHMETICS, EXAMPLE_DIGEST, example_digest, example_input, example_net, forward, hashed, layer, nets
from .test_layout import Model

arithmetics = pytest.mark.parametrize("arithmetic", ARITHMETICS)


def by_hand(net: IntNet, x: np.ndarray) -> np.ndarray:
    """The definition, in Python integers: x [C, H, W]."""
    return Model(I.to_arrays(net, "n")).evaluate("n", x.astype(object)).astype(np.int64)


@arithmetics
def test_golden_output(arithmetic: Arithmetic) -> None:
    assert example_digest(arithmetic) == EXAMPLE_DIGEST


@arithmetics
def test_output_is_what_python_integers_give(arithmetic: Arithmetic) -> None:
    x = example_input(3, 2, number=1)[0]
    y = forward(example_net(), x, arithmetic)
    assert y.dtype == np.int32
    assert np.array_equal(y, by_hand(example_net(), x))
    assert len(np.unique(y)) > 50  # the example does not hide behind its clamps


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


def test_inputs_are_clamped_to_their_bound() -> None:
    net, x = example_net(), example_input()[0]
    wild = np.where(x > 100, 2**31 - 1, x)
    limited = np.minimum(wild, net.input_bound[:, None, None])
    for arithmetic in ARITHMETICS:
        assert np.array_equal(forward(net, wild, arithmetic), forward(net, limited, arithmetic))


def test_a_network_without_the_proof_is_not_evaluated() -> None:
    conv = layer(4, 3, 3, seed=11)
    beyond = dataclasses.replace(conv, bias=conv.bias + (1 << 50))
    with pytest.raises(ModelError, match="exact"):
        forward(IntNet((beyond,), np.array([1])), np.ones((3, 1, 1), np.int64))
