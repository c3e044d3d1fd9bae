"""The seams hold: a toy family and a toy entropy model train, export, code, decode exactly and are evaluated."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gencomp import entropy, networks
from gencomp.cli.main import main
from gencomp.train.recipe import Recipe
from gencomp.train.recipes import RECIPES

spec = importlib.util.spec_from_file_location("toy", Path(__file__).parent / "toy.py")
assert spec is not None
assert spec.loader is not None
toy = sys.modules["toy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)


def test_a_family_and_an_entropy_model_are_a_file_and_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.FAMILIES, "toy", networks.Family(toy.ToyConfig, toy.ToyNetwork))
    monkeypatch.setitem(entropy.KINDS, "toy", lambda arrays: toy.ToyEntropy(int(arrays["channels"][0])))
    recipe = Recipe(
        "toy", model=toy.ToyConfig(), steps=6, batch=2, crop=64, ms_ssim_weight=0.0, workers=0, precision="no"
    )
    monkeypatch.setitem(RECIPES, "toy", recipe)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for line in (
        "train toy --data . --out run --tracker none",
        "export run -o toy.safetensors",
        "compress a.png --model toy.safetensors",
        "info a.gnc --verify --model toy.safetensors",
        "decompress a.gnc -o back.png --model toy.safetensors",
        "eval a.png --out report --codec toy.safetensors --quality 50 --metric psnr --jobs 0",
    ):
        done = CliRunner().invoke(main, line.split())
        assert done.exit_code == 0, f"{line}: {done.output}"
    with Image.open("back.png") as back:
        assert back.size == (90, 70)
    assert "toy" in Path("report/results.csv").read_text()
