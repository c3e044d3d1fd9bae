"""The promise of exact decoding: settings of the machine change no latent, and no pixel by more than two levels."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden"
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
    run = subprocess.run(
        [sys.executable, str(HERE / "exact_matrix.py"), str(GOLDEN), *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(run.stdout.splitlines()[-1])
    assert result
    assert "--compile" in options or result.keys() == CASES.keys()
    for case, found in result.items():
        assert found["latents"] == CASES[case]["latents"]
        recorded = np.asarray(Image.open(GOLDEN / f"{case}.png"), np.int16)
        pixels = np.frombuffer(bytes.fromhex(found["pixels"]), np.uint8).reshape(recorded.shape)
        assert np.abs(pixels - recorded).max() <= 2
