"""`gencomp export --onnx`: what it writes runs by ONNX Runtime alone, as its README says, and agrees with gencomp."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gencomp.cli.main import main
from gencomp.codec import Codec
from gencomp.model import Model, load_model
from gencomp.networks.ladder.balle2017 import Balle2017Config, Balle2017Network
from gencomp.runtime import open_runtime
from gencomp.train.export import Calibration, to_model
from gencomp.train.onnx_folder import export_onnx

TESTS = Path(__file__).parents[1]
TINY = TESTS / "golden" / "tiny.safetensors"
BASE = TESTS.parent / "gencomp" / "weights" / "gencomp-base.safetensors"
WITHOUT = "import sys; sys.modules.update(dict.fromkeys({}))\n"


def export(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["export", *map(str, words)])
    return done.exit_code, done.output


def python(program: str, cwd: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def without_hyperprior() -> Model:
    """A family of the kind "factorized", which knows no realism, and whose model file holds no graphs."""
    torch.manual_seed(0)
    network = Balle2017Network(Balle2017Config(4))
    latents = [Calibration(torch.randn(1, 4, 8, 8) * 3, None, step) for step in (0, 300, 700, 1024)]
    return to_model(network, latents, "small", {})


@pytest.mark.parametrize("name", ["base", "tiny", "small"])
def test_the_example_of_the_readme_gives_the_bytes_and_pixels_of_gencomp(name: str, tmp_path: Path) -> None:
    photographs = pytest.importorskip("skimage.data")
    model = without_hyperprior() if name == "small" else load_model(BASE if name == "base" else TINY)
    folder = tmp_path / "new" / "onnx"
    export_onnx(model, folder)
    image = Image.fromarray(photographs.astronaut()[:201, 120:333])
    image.save(folder / "photo.bmp")
    (example,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.S)
    python(WITHOUT.format(["torch", "onnx"]) + example, folder, "photo.bmp")
    codec = Codec(model, "cpu")
    coded = (folder / "photo.gnc").read_bytes()
    assert coded == codec.compress(image, quality=45)
    difference = np.asarray(Image.open(folder / "photo.png"), int) - np.asarray(codec.decompress(coded), int)
    assert np.abs(difference).max() <= (codec.runtime.name == "torch")


def test_the_files_run_by_onnx_runtime_alone(tmp_path: Path) -> None:
    model, draw = load_model(TINY), np.random.default_rng(1)
    pixels = draw.integers(0, 256, (48, 80, 3), dtype=np.uint8)
    latents = open_runtime(model, "cpu", None, "onnx").analyze(pixels, 500)
    assert latents.z is not None
    assert export("--onnx", tmp_path / "o", "--model", TINY)[0] == 0
    np.savez(tmp_path / "wanted.npz", pixels=pixels, y=latents.y, z=latents.z)
    python(
        WITHOUT.format(["torch", "onnx", "gencomp", "constriction", "safetensors"])
        + "import numpy as np, onnxruntime\n"
        "run = lambda name, **given: onnxruntime.InferenceSession(f'o/{name}.onnx').run(None, given)[0]\n"
        "wanted, step = np.load('wanted.npz'), np.array([500])\n"
        "x = wanted['pixels'].transpose(2, 0, 1)[None] / np.float32(255)\n"
        "y = run('analysis', x=x, quality_step=step)\n"
        "assert np.array_equal(y[0], wanted['y'])\n"
        "assert np.array_equal(run('hyper_analysis', y=y)[0], wanted['z'])\n"
        "one, origin = np.ones(1, np.float32), np.zeros((1, 2), np.int64)\n"
        "image = run('synthesis', y_hat=np.rint(y), quality_step=step, realism=one, origin=origin)\n"
        "assert image.dtype == np.uint8 and image.shape == (1, 48, 80, 3)\n",
        tmp_path,
    )


def test_a_folder_is_replaced_whole_and_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    words: list[str | Path] = ["--onnx", folder, "--model", TINY]
    assert export(*words)[0] == 0
    names = {"README.md", "analysis.onnx", "entropy.safetensors", "hyper_analysis.onnx", "synthesis.onnx"}
    (folder / "README.md").write_text("mine")
    assert "is kept" in export(*words)[1]
    assert ((folder / "README.md").read_text(), export(*words, "--overwrite")[0]) == ("mine", 0)
    assert (folder / "README.md").read_text() != "mine"
    (folder / "notes.txt").write_text("mine")
    assert "holds other files" in export(*words, "--overwrite")[1]
    assert {path.name for path in folder.iterdir()} == {*names, "notes.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["o"]
    assert "give RUN and -o MODEL, or --onnx DIR" in export()[1]
