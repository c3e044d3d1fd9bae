"""Integer networks: every backend, setting and tile size gives the integers that plain Python arithmetic gives."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bitstream import ModelError
from gencomp.entropy import intnet as I
from gencomp.entropy.intnet import IntConv, IntNet, forward, forward_tiled

BACKENDS: tuple[I.Backend, ...] = ("f64", "i64")


def hashed(shape: tuple[int, ...], low: int, high: int, seed: int) -> torch.Tensor:
    """Fixed pseudo-random int64 in low..high, the same in every version of every library."""
    mixed = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) + np.uint64(seed << 40)
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(33)
    return torch.from_numpy((mixed % np.uint64(high - low + 1)).astype(np.int64).reshape(shape) + low)


def layer(
    outputs: int, inputs: int, kernel: int, *, seed: int, depthwise: bool = False, shuffle: int = 1, relu: bool = True
) -> IntConv:
    groups = outputs if depthwise else 1
    return IntConv(
        weight=hashed((outputs, inputs // groups, kernel, kernel), -2047, 2047, seed).to(torch.int16),
        bias=hashed((outputs,), -(10**6), 10**6, seed + 1),
        multiplier=hashed((outputs,), 1, 32_767, seed + 2),
        shift=hashed((outputs,), 18, 26, seed + 3),
        lo=0 if relu else -32_768,
        hi=32_767,
        groups=groups,
        shuffle=shuffle,
    )


def example_net() -> IntNet:
    """All that a layer can be: every kernel, dense and depthwise, shuffled and not."""
    layers = (
        layer(24, 3, 1, seed=1, shuffle=2),
        layer(6, 6, 5, seed=2, depthwise=True, relu=False),
        layer(8, 6, 3, seed=3),
        layer(12, 8, 1, seed=4, shuffle=2, relu=False),
        layer(3, 3, 3, seed=5, depthwise=True),
        layer(5, 3, 5, seed=6, relu=False),
    )
    return IntNet(layers, torch.tensor([100, 2_000, 7]))


def example_input(height: int = 5, width: int = 7, number: int = 2) -> torch.Tensor:
    return hashed((number, 3, height, width), -200, 200, 9).to(torch.int32)


@st.composite
def nets(draw: st.DrawFn) -> IntNet:
    channels = inputs = draw(st.integers(1, 4))
    layers = []
    for index in range(draw(st.integers(1, 4))):
        kernel, shuffle = draw(st.sampled_from(I.KERNELS)), draw(st.sampled_from([1, 1, 2]))
        depthwise = draw(st.booleans()) and (shuffle == 1 or channels % 4 == 0)
        outputs = channels if depthwise else draw(st.integers(1, 3)) * shuffle**2
        seed, relu = draw(st.integers(0, 2**20)), draw(st.booleans())
        layers.append(
            layer(outputs, channels, kernel, seed=seed + index, depthwise=depthwise, shuffle=shuffle, relu=relu)
        )
        channels = outputs // shuffle**2
    return IntNet(tuple(layers), torch.full((inputs,), 300))


def by_hand(net: IntNet, x: torch.Tensor) -> np.ndarray:
    """The definition, in Python integers: x [C, H, W]."""
    bound = net.input_bound.numpy().reshape(-1, 1, 1)
    x_int = np.clip(x.numpy().astype(np.int64), -bound, bound).astype(object)
    for conv in net.layers:
        weight = conv.weight.numpy().astype(object)
        outputs, per_group, kernel, _ = weight.shape
        pad, (_, height, width) = kernel // 2, x_int.shape
        padded = np.pad(x_int, ((0, 0), (pad, pad), (pad, pad)), constant_values=0)
        y = np.empty((outputs, height, width), object)
        for o, row, column in np.ndindex(y.shape):
            first = o * per_group if conv.groups > 1 else 0
            window = padded[first : first + per_group, row : row + kernel, column : column + kernel]
            acc = int((weight[o] * window).sum()) + int(conv.bias[o])
            s = int(conv.shift[o])
            y[o, row, column] = min(max((acc * int(conv.multiplier[o]) + 2 ** (s - 1)) // 2**s, conv.lo), conv.hi)
        if (r := conv.shuffle) > 1:
            y = y.reshape(-1, r, r, height, width).transpose(0, 3, 1, 4, 2).reshape(-1, height * r, width * r)
        x_int = y
    return x_int.astype(np.int64)


def digest(y: torch.Tensor) -> str:
    return hashlib.sha256(np.ascontiguousarray(y.numpy(), "<i4").tobytes()).hexdigest()[:16]


def test_golden_output() -> None:
    assert {digest(forward(example_net(), example_input(), backend)) for backend in BACKENDS} == {GOLDEN}


GOLDEN = "7d99507ebe00bc1a"


@pytest.mark.parametrize("backend", BACKENDS)
def test_output_is_what_python_integers_give(backend: I.Backend) -> None:
    x = example_input(3, 2, number=1)
    y = forward(example_net(), x, backend)
    assert y.dtype == torch.int32
    assert np.array_equal(y[0].numpy(), by_hand(example_net(), x[0]))
    assert len(np.unique(y)) > 50  # the example does not hide behind its clamps


@pytest.mark.parametrize("backend", BACKENDS)
def test_requantisation_is_python_integer_arithmetic_at_ties_and_ends(backend: I.Backend) -> None:
    """Identity layers: y = floor((x M + 2^(s-1)) / 2^s), at values around every tie, and with the largest M and s."""
    pairs = [(1, 1), (1, 2), (3, 1), (3, 5), (32_767, 15), (32_767, 46), (16_384, 14), (1, 46), (12_345, 20)]
    multipliers, shifts = (torch.tensor(column) for column in zip(*pairs, strict=True))
    ones = torch.ones(len(pairs), 1, 1, 1, dtype=torch.int16)
    conv = IntConv(ones, torch.zeros(len(pairs), dtype=torch.int64), multipliers, shifts, -(2**23), 2**23, len(pairs))
    net = IntNet((conv,), torch.tensor([I.MAX_ACTIVATION]))
    values = sorted({v + d for e in range(24) for v in (2**e, -(2**e), 3 * 2**e // 2) for d in (-1, 0, 1)})
    values = [v for v in values if abs(v) <= I.MAX_ACTIVATION]
    x = torch.tensor(values)[None, None, None].expand(1, len(pairs), 1, -1)
    y = forward(net, x, backend)[0, :, 0].tolist()
    for (m, s), row in zip(pairs, y, strict=True):
        assert row == [min(max((v * m + 2 ** (s - 1)) >> s, -(2**23)), 2**23) for v in values]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


SETTINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "plain": nullcontext,
    "1 thread": lambda: threads(1),
    "2 threads": lambda: threads(2),
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast half": lambda: torch.autocast("cpu", torch.float16),
    "half by default": lambda: default_dtype(torch.bfloat16),
    "double by default": lambda: default_dtype(torch.float64),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "no oneDNN": lambda: torch.backends.mkldnn.flags(enabled=False, allow_tf32=False),
    "another device by default": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:TF32")
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_setting_changes_an_integer(setting: str, backend: I.Backend) -> None:
    x, net = example_input(), example_net()
    with SETTINGS[setting]():
        y = forward(net, x, backend)
    assert digest(y) == GOLDEN
    assert not y.requires_grad
    assert digest(forward(net, x, backend)) == GOLDEN  # what was prepared under the setting serves outside it


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_memory_format_batch_and_integer_type_of_the_input_change_nothing(dtype: torch.dtype) -> None:
    x = example_input().to(dtype)
    for backend in BACKENDS:
        assert digest(forward(example_net(), x.contiguous(memory_format=torch.channels_last), backend)) == GOLDEN
        assert digest(torch.cat([forward(example_net(), one[None], backend) for one in x])) == GOLDEN
        assert digest(forward(example_net(), x.transpose(2, 3).contiguous().transpose(2, 3), backend)) == GOLDEN


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_compiled_code_gives_the_same_integers() -> None:
    net, x = example_net(), example_input()
    assert digest(torch.compile(lambda: forward(net, x), backend="eager")()) == GOLDEN


PROCESSES = [
    {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"},
    {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OMP_NUM_THREADS": "2"},
]


@pytest.mark.parametrize("environment", PROCESSES, ids=["oldest", "older"])
def test_other_instruction_sets_give_the_same_integers(environment: dict[str, str]) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_intnet as t\n"
        "print(*(t.digest(t.forward(t.example_net(), t.example_input(), backend)) for backend in t.BACKENDS))"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [GOLDEN, GOLDEN]


@settings(deadline=None, max_examples=40)
@given(nets(), st.integers(1, 9), st.integers(1, 9), st.integers(1, 10), st.sampled_from(BACKENDS))
def test_tiles_of_any_size_equal_the_whole(net: IntNet, height: int, width: int, tile: int, backend: I.Backend) -> None:
    x = hashed((1, int(net.layers[0].weight.shape[1] * net.layers[0].groups), height, width), -400, 400, 3)
    whole = forward(net, x, "f64")
    assert torch.equal(whole, forward(net, x, "i64"))
    assert torch.equal(whole, forward_tiled(net, x, tile, backend))


@settings(deadline=None, max_examples=30)
@given(nets())
def test_the_receptive_field_is_as_wide_as_it_says_and_no_wider(net: IntNet) -> None:
    """With weights of 1, no bias and no clamp, an input acts on every output within its reach, and on none beyond."""
    layers = []
    for conv in net.layers:
        one, zero = torch.ones_like(conv.bias), torch.zeros_like(conv.bias)
        layers.append(IntConv(torch.ones_like(conv.weight), zero, one, one, 0, 1 << 20, conv.groups, conv.shuffle))
    net = IntNet(tuple(layers), torch.tensor([1 << 20]))
    halo, scale, reach = I.receptive_field(net)
    x = torch.zeros(1, net.layers[0].weight.shape[1] * net.layers[0].groups, 2 * halo + 1, 1, dtype=torch.int64)
    x[:, :, halo] = 1 << 20
    rows = forward(net, x)[0].amax((0, 2)).nonzero().ravel()
    assert (int(rows[0]), int(rows[-1])) == (halo * scale - reach, (halo + 1) * scale - 1 + reach)
    assert halo - 1 < reach / scale <= halo or halo == reach == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_evaluating_again_gives_the_same(backend: I.Backend) -> None:
    """A picture of one position: no view of the prepared network may be written to."""
    net, x = example_net(), example_input(1, 1)
    assert torch.equal(forward(net, x, backend), forward(net, x, backend))


def test_inputs_are_clamped_to_their_bound() -> None:
    net, x = example_net(), example_input()
    wild = torch.where(x > 100, torch.tensor(2**31 - 1), x)
    limited = torch.minimum(wild, net.input_bound[:, None, None])
    for backend in BACKENDS:
        assert torch.equal(forward(net, wild, backend), forward(net, limited, backend))


def test_the_input_is_left_as_it_was() -> None:
    x = example_input().to(torch.int64)
    before = x.clone()
    for backend in BACKENDS:
        forward(example_net(), x, backend)
        assert torch.equal(x, before)


@pytest.mark.parametrize("x", [torch.zeros(1, 3, 4, 4), torch.zeros(3, 4, 4, dtype=torch.int32)])
def test_floats_and_other_shapes_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="integers"):
        forward(example_net(), x)


def test_the_proof_bounds_what_the_worst_input_reaches() -> None:
    conv = layer(4, 3, 3, seed=11)
    net = IntNet((conv,), torch.tensor([10, 20, 30]))
    signs = conv.weight.sign().to(torch.int64)
    worst = []
    largest = (conv.weight * signs * torch.tensor([10, 20, 30])[:, None, None]).sum((1, 2, 3)) + conv.bias.abs()
    for o, acc in enumerate(largest.tolist()):
        worst.append(acc * int(conv.multiplier[o]) + 2 ** (int(conv.shift[o]) - 1))
    assert I.prove_bounds(net) == [max(worst)]


def one_weight(acc: int, multiplier: int) -> IntNet:
    """A network of one weight, 1, whose worst |acc| is `acc`, all but 1 of it bias."""
    vectors = (torch.tensor([acc - 1]), torch.tensor([multiplier]), torch.tensor([1]))
    return IntNet((IntConv(torch.ones(1, 1, 1, 1, dtype=torch.int16), *vectors, -100, 100),), torch.tensor([1]))


def test_a_network_one_unit_beyond_the_proof_is_refused_everywhere() -> None:
    multiplier = 4_001
    most = (I.EXACT - 2) // multiplier
    assert I.prove_bounds(one_weight(most, multiplier))[0] < I.EXACT
    beyond = one_weight(most + 1, multiplier)
    for refuse in (I.prove_bounds, lambda net: forward(net, torch.ones(1, 1, 1, 1, dtype=torch.int32))):
        with pytest.raises(ModelError, match="exact"):
            refuse(beyond)


def test_emulated_double_precision_is_refused_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    with pytest.raises(RuntimeError, match="CUBLAS"), I._undisturbed(torch.device("cuda")):
        pass
    assert digest(forward(example_net(), example_input())) == GOLDEN  # the CPU does not mind


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_same_integers() -> None:
    for tile in (1, 3, 100):
        y = forward_tiled(example_net(), example_input().cuda(), tile)
        assert y.is_cuda
        assert digest(y.cpu()) == GOLDEN


def test_arrays_of_the_model_file_give_the_network_back() -> None:
    arrays = I.to_arrays(example_net(), "h_s")
    assert all(array.dtype.kind == "i" for array in arrays.values())
    assert digest(forward(I.from_arrays(arrays, "h_s"), example_input())) == GOLDEN


def test_a_network_that_the_file_cannot_hold_is_not_written() -> None:
    net = example_net()
    wide = net.layers[0]._replace(weight=net.layers[0].weight.to(torch.int32) * 100)
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
    "form", [[5, 4, 1, 2], [0, 9, 2, 2], [0, 9, 0, 2], [0, 9, 1, 3], [0, 9, 1, 0], [0, 9, -1, 1], [0, 9, 24, 2]]
)
def test_a_form_that_no_layer_has_is_refused(form: list[int]) -> None:
    arrays = I.to_arrays(example_net(), "n")
    with pytest.raises(ModelError):
        I.from_arrays({**arrays, "n.0.form": np.array(form)}, "n")
