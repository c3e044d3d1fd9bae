"""What a machine that does not compute exactly would do, and that the encoder notices."""

from collections.abc import Callable

import numpy as np
import pytest

from gencomp.bitstream import ModelError
from gencomp.entropy import check, hyperprior
from gencomp.entropy import evaluate as evaluation
from gencomp.entropy.check import verify_depthwise
from gencomp.entropy.contract import Latents
from gencomp.entropy.evaluate import Evaluation, evaluate
from gencomp.entropy.intnet import IntNet

from .models import MODELS
from .nets import hashed, layer

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
    assert probe.dtype == np.int64
    assert check.probe_of(8, 2**40, np.float64).dtype == np.float64
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
