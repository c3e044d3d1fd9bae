"""The seams hold: one of each kind of extension, as CONTRIBUTING says, does its work as a file and a row."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gencomp import entropy, networks
from gencomp.cli.main import main
from gencomp.eval import cli
from gencomp.eval.codecs import build
from gencomp.eval.metrics import table
from gencomp.train import terms
from gencomp.train.checkpoint import checkpoints, load_checkpoint
from gencomp.train.discriminators import KINDS
from gencomp.train.loop import RunOptions, run
from gencomp.train.procedures.rate_distortion import RateDistortion
from gencomp.train.procedures.realism import Realism
from gencomp.train.recipe import Recipe
from gencomp.train.recipes import RECIPES
from gencomp.train.settings import recipe

spec = importlib.util.spec_from_file_location("toy", Path(__file__).parent / "toy.py")
assert spec is not None
assert spec.loader is not None
toy = sys.modules["toy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)


SMALL: dict[str, Any] = {"batch": 2, "crop": 64, "ms_ssim_weight": 0.0, "workers": 0, "precision": "no", "ema": 0.9}


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row for each kind of extension, and a photograph in the working folder."""
    monkeypatch.setitem(networks.FAMILIES, "toy", networks.Family(toy.ToyConfig, toy.ToyNetwork))
    monkeypatch.setitem(entropy.KINDS, "toy", lambda arrays: toy.ToyEntropy(int(arrays["channels"][0])))
    monkeypatch.setitem(terms.TERMS, "toy", terms.Row(terms.Term(), lambda *_: toy.toy_loss))
    monkeypatch.setitem(KINDS, "toy", toy.ToyDiscriminator())
    metric = table.Metric("toy", "toy", "lower", "", 3, "image", "a toy", lambda _: toy.toy_metric)
    monkeypatch.setitem(table.METRICS, "toy", metric)
    monkeypatch.setitem(build.BUILT_IN, "toy", toy.toy_codec)
    monkeypatch.setattr(cli, "NAMES", (*build.NAMES, "toy"))  # what is derived from rows at import
    (asked,) = (option for option in cli.evaluate.params if option.name == "metrics")
    monkeypatch.setattr(asked, "type", click.Choice([*table.NAMES, "toy"]))
    for name, those in {"toy": (toy.ToyProcedure(),), "toy-gan": (RateDistortion(), Realism(0.5))}.items():
        monkeypatch.setitem(RECIPES, name, Recipe(name, model=toy.ToyConfig(), steps=6, stages=those, **SMALL))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)


def said(line: str) -> str:
    done = CliRunner().invoke(main, line.split())
    assert done.exit_code == 0, f"{line}: {done.output}"
    return done.output


def test_a_family_an_entropy_model_a_procedure_and_a_metric_are_a_file_and_a_row_each() -> None:
    for line in (
        "train toy --data . --out run --tracker none --log-every 2 --set toy.power=1.5",
        "export run -o toy.safetensors",
        "compress a.png --model toy.safetensors",
        "info a.gnc --verify --model toy.safetensors",
        "decompress a.gnc -o back.png --model toy.safetensors",
        "eval a.png --out report --codec toy.safetensors --quality 50 --metric psnr --metric toy --jobs 0",
    ):
        said(line)
    with Image.open("back.png") as back:
        assert back.size == (90, 70)
    header, *lines = Path("report/results.csv").read_text().splitlines()
    assert "toy" in header.split(",")
    assert lines
    assert '"surprise"' in Path("run/log.jsonl").read_text()


def test_a_run_of_another_procedure_resumes_bit_for_bit(tmp_path: Path) -> None:
    options = RunOptions(save_every=3, log_every=1, keep=9)
    run(RECIPES["toy"], ["."], tmp_path / "whole", options=options)
    (tmp_path / "half" / "checkpoints").mkdir(parents=True)
    first = checkpoints(tmp_path / "whole")[0]
    (tmp_path / "half" / "checkpoints" / first.name).write_bytes(first.read_bytes())
    run(RECIPES["toy"], ["."], tmp_path / "half", options=options)
    ends = [load_checkpoint(checkpoints(tmp_path / name)[-1]).tensors for name in ("whole", "half")]
    assert any(name.startswith("guess.") for name in ends[0])
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_a_loss_and_a_discriminator_are_a_file_and_a_row_each(tmp_path: Path) -> None:
    values = {"losses.toy": "3", "losses.toy.times_realism": "true", "discriminators.toy.sharpness": "2"}
    values |= {"trains": "all", "discriminators.toy": "0.5", "discriminators.patch": "0.1"}
    values |= {"discriminators.patch.width": "4"}
    chosen = recipe("toy-gan", {f"realism.{key}": value for key, value in values.items()})
    assert chosen.stages[1].discriminators["toy"] == toy.ToyDiscriminator(0.5, sharpness=2.0)
    run(chosen, ["."], tmp_path / "run", options=RunOptions(log_every=3))
    line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"toy", "d_loss", "d_loss_patch"} <= line.keys()
    assert load_checkpoint(checkpoints(tmp_path / "run")[-1]).tensors["toy.conv.weight"].any()


def test_a_codec_to_compare_with_is_a_function_and_a_row() -> None:
    said("eval a.png --out report --codec toy --quality 4 --metric psnr --jobs 0")
    assert "toy" in Path("report/results.csv").read_text()
