"""The promise of exact decoding: settings of the machine change no latent, and no pixel by more than two levels."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import gencomp
from gencomp.codec import Codec

HERE = Path(__file__).parent
GOLDEN = Path(__file__).parent.parent / "golden"
CASES = json.loads((GOLDEN / "golden.json").read_text())
SETTINGS: dict[str, tuple[dict[str, str], list[str]]] = {
    "one thread": ({"OMP_NUM_THREADS": "1"}, []),
    "two threads": ({"OMP_NUM_THREADS": "2"}, []),
    "no vector instructions": ({"ATEN_CPU_CAPABILITY": "default"}, []),
    "oneDNN on SSE4.1": ({"ONEDNN_MAX_CPU_ISA": "SSE41"}, []),
    "MKL compatible": ({"MKL_CBWR": "COMPATIBLE"}, []),
    "compiled": ({}, ["--compile"]),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_changes_a_latent_or_a_pixel_by_more_than_two(name: str) -> None:
    environment, options = SETTINGS[name]
    if "--compile" in options and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    command = [sys.executable, str(HERE / "exact_matrix.py"), str(GOLDEN), *options]
    run = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    result = json.loads(run.stdout.splitlines()[-1])
    assert result
    assert "--compile" in options or result.keys() == CASES.keys()
    for case, found in result.items():
        assert found["latents"] == CASES[case]["latents"]
        recorded = np.asarray(Image.open(GOLDEN / f"{case}.png"), np.int16)
        pixels = np.frombuffer(bytes.fromhex(found["pixels"]), np.uint8).reshape(recorded.shape)
        assert np.abs(pixels - recorded).max() <= 2


CODED = (GOLDEN / "odd.gnc").read_bytes()
PIXELS = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)


class Outcome(NamedTuple):
    """All that a codec gives: a file, one made by effort, latents and pixels."""

    file: bytes
    refined: bytes
    latents: bytes
    pixels: bytes


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


STATES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "gradients": torch.enable_grad,
    "inference": torch.inference_mode,
}


def load(runtime: str) -> Codec:
    return gencomp.load(GOLDEN / "tiny.safetensors", runtime=runtime, device="cpu")


def use(codec: Codec) -> Outcome:
    return Outcome(
        codec.compress(PIXELS, bpp=2.0),
        codec.compress(PIXELS, quality=50, effort=1),
        codec.latents(CODED).tobytes(),
        codec.decompress(CODED).tobytes(),
    )


@pytest.fixture(scope="module", params=["torch", "onnx"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def expected(runtime: str) -> Outcome:
    return use(load(runtime))


@pytest.mark.parametrize("state", STATES)
def test_no_setting_of_torch_changes_what_is_coded(state: str, runtime: str, expected: Outcome) -> None:
    before = load(runtime)
    with STATES[state]():
        within = load(runtime)
        assert (use(before), use(within)) == (expected, expected)
    assert use(within) == expected


def test_calls_within_compiled_functions_run_as_they_stand(runtime: str, expected: Outcome) -> None:
    codec = load(runtime)
    assert torch.compile(lambda: use(codec), backend="eager")() == expected
    assert torch.compile(lambda: use(load(runtime)), backend="eager")() == expected
