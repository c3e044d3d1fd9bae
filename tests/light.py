"""The light installation, `pip install .` without extras: a round trip and what calls cost, run by its own Python.

    python3 -m venv light && light/bin/pip install . && light/bin/python tests/light.py

Fails where PyTorch is installed beside it, where a golden file decodes to other latents, or where a call costs more
processor time than a small image should.
"""

import hashlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parent / "golden"
LIMITS = {"compress": 1.6, "decompress": 1.6, "info": 0.6}  # seconds of processor time, twice what a slow machine takes


class Cost(NamedTuple):
    """Processor seconds and peak memory [MB] of a process."""

    seconds: float
    memory: int


def photograph() -> Image.Image:
    """Smooth colours, an edge and some noise, 240x200."""
    draw = np.random.default_rng(3)
    coarse = Image.fromarray(draw.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((240, 200), Image.Resampling.BICUBIC)).astype(float) + draw.normal(
        0, 4, (200, 240, 3)
    )
    pixels[60:90] += 40
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def cost_of(*command: str) -> Cost:
    """Run a verb of this installation's command to its end."""
    program = str(Path(sys.executable).parent / "gencomp")
    pid = os.spawnve(os.P_NOWAIT, program, [program, *command], {**os.environ, "OMP_NUM_THREADS": "1"})
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, f"{command} ended with status {status}"
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024)


def main() -> None:
    assert importlib.util.find_spec("torch") is None, "this installation has PyTorch: it is not the light one"
    import gencomp

    golden = json.loads((GOLDEN / "golden.json").read_text())
    tiny = gencomp.load(GOLDEN / "tiny.safetensors")
    for name, expected in golden.items():
        latents = tiny.latents((GOLDEN / f"{name}.gnc").read_bytes()).astype("<i4").tobytes()
        assert hashlib.sha256(latents).hexdigest() == expected["latents"], f"{name}.gnc decodes to other latents"
    with tempfile.TemporaryDirectory() as folder:
        source, coded, back = (str(Path(folder) / name) for name in ("photo.png", "photo.gnc", "back.png"))
        photograph().save(source)
        costs = {
            "compress": cost_of("compress", source, "-o", coded),
            "decompress": cost_of("decompress", coded, "-o", back),
            "info": cost_of("info", coded),
        }
        error = np.asarray(Image.open(source), float) - np.asarray(Image.open(back), float)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 24
        Image.open(source).save(str(Path(folder) / "pillow.gnc"), quality=30)
        assert Image.open(str(Path(folder) / "pillow.gnc")).size == (240, 200)
        Image.open(str(Path(folder) / "pillow.gnc")).load()
        refused = subprocess.run([sys.executable, "-m", "gencomp", "train", "tiny"], capture_output=True, text=True)
        assert refused.returncode == 1
        assert "gencomp[train]" in refused.stderr, refused.stderr
    site = Path(sysconfig.get_paths()["purelib"])
    size = sum(p.stat().st_size for p in site.rglob("*") if p.is_file()) / 1e6
    print(f"installed: {size:.0f} MB; a photograph of 240x200:")
    for verb, (seconds, memory) in costs.items():
        print(f"  {verb:10}  {seconds:.2f} s of processor time, {memory} MB")
        assert seconds <= LIMITS[verb], f"{verb} takes {seconds:.2f} s, over {LIMITS[verb]}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"light installation: golden files, round trip and Pillow are right ({peak} MB)")


if __name__ == "__main__":
    main()
