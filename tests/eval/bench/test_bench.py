"""The benchmark: every stage is measured where it happens, and ratios are those of the times beside them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gencomp.eval.bench import stages
from gencomp.eval.bench.cli import bench

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    patch = pytest.MonkeyPatch()
    small = stages.mbt2018_synthesis  # 157 M parameters are too many here
    patch.setattr(stages, "hific_generator", small)
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    given = ["--size", "96x64", "--threads", "1", "--device", "cpu", "--repeat", "1", "--model", str(TINY)]
    done = CliRunner().invoke(bench, [*given, "-o", str(path)])
    patch.undo()
    assert done.exit_code == 0, done.output
    assert "ratio: the baseline's seconds" in done.stdout
    (found,) = json.loads(path.read_text())["runs"]
    assert isinstance(found, dict)
    return found


def test_every_stage_is_measured(run: dict[str, Any]) -> None:
    assert set(run["encode"]) == {"transform", "hyper", "integer networks", "range coder", "check", "total"}
    assert set(run["decode"]) == {"integer networks", "range coder", "synthesis", "total"}
    for way in ("encode", "decode"):
        parts = [stage["seconds"] for name, stage in run[way].items() if name != "total"]
        assert all(seconds > 0 for seconds in parts)
        assert sum(parts) <= 1.05 * run[way]["total"]["seconds"]
    assert run["latents"] % (4 * 6) == 0  # whole channels of a 6x4 grid


def test_ratios_are_against_the_codec_s_own_time(run: dict[str, Any]) -> None:
    assert run["runtime"] == "torch"
    names = [baseline["name"] for baseline in run["baselines"]]
    assert names == ["jpeg", "webp", "avif", "HiFiC generator", "mbt2018-mean synthesis"]
    for baseline in run["baselines"]:
        assert baseline["decode_ratio"] == pytest.approx(baseline["decode_s"] / run["decode"]["total"]["seconds"])


def test_the_reference_decoders_return_images() -> None:
    import torch

    assert stages.mbt2018_synthesis(40, 50, torch.device("cpu"))().shape == (1, 3, 48, 64)


@pytest.mark.parametrize("size", ["0x5", "axb", "99999x9999"])
def test_a_wrong_size_is_wrong_usage(size: str) -> None:
    assert CliRunner().invoke(bench, ["--size", size]).exit_code == 2
