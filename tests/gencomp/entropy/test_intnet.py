"""Integer networks: the proof of exactness, and arrays of model files that may hold anything."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from gencomp.bitstream import ModelError
from gencomp.entropy import intnet as I
from gencomp.entropy.intnet import IntConv, IntNet

from .nets import example_input, example_net, forward, layer


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


def test_arrays_of_the_model_file_give_the_network_back() -> None:
    arrays = I.to_arrays(example_net(), "h_s")
    assert all(array.dtype.kind == "i" for array in arrays.values())
    x = example_input()[0]
    assert np.array_equal(forward(I.from_arrays(arrays, "h_s"), x), forward(example_net(), x))


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


@pytest.mark.parametrize(
    "form", [[5, 4, 1, 2], [0, 9, 5, 2], [0, 9, 0, 2], [0, 9, 1, 3], [0, 9, 1, 0], [0, 9, -1, 1], [0, 9, 24, 2]]
)
def test_a_form_that_no_layer_has_is_refused(form: list[int]) -> None:
    arrays = I.to_arrays(example_net(), "n")
    with pytest.raises(ModelError):
        I.from_arrays({**arrays, "n.0.form": np.array(form)}, "n")
