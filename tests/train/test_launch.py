"""The commands as they are typed: one device, two nodes, wrong usage."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner, Result

from gencomp.cli.main import main
from gencomp.train.checkpoint import checkpoints
from gencomp.train.data.batches import share_of
from gencomp.train.recipes import RECIPES
from gencomp.train.settings import recipe

from .conftest import lines

FAST = "--steps 4 --set realism.begin=2 --log-every 2 --tracker none --validate-every 0"
PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
PIPES["env"] = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
WRONG: list[Any] = [("tin", 2, "did you mean 'tiny'")]
WRONG += [("tiny --set realism.losses.lpips_alx=1", 2, "did you mean 'lpips_alex'")]
WRONG += [("tiny --set steps", 2, "key=value"), ("tiny", 2, "--data"), ("tiny --json", 2, "--dry-run")]
WRONG += [("tiny --data x", 2, "--out")]
WRONG += [("tiny --data /nowhere/at/all --out OUT --tracker none", 1, "no folder /nowhere/at/all")]
WRONG += [("gan --data PHOTOS --out OUT --tracker none", 1, "--init")]
WRONG += [("tiny --data PHOTOS --out OUT --init /none.safetensors --tracker none", 1, "none.safetensors")]
WRONG += [("tiny --data PHOTOS --out OUT --tracker nobody", 1, "nobody")]


def words(*typed: str | Path) -> list[str]:
    """Paths as they are, texts cut at spaces."""
    return [word for each in typed for word in (each.split() if isinstance(each, str) else [str(each)])]


def gencomp(*typed: str | Path, status: int = 0) -> Result:
    done = CliRunner().invoke(main, words(*typed))
    assert done.exit_code == status, done.output
    return done


def test_two_nodes_on_loopback_are_one_run_of_two_processes(photographs: Path, tmp_path: Path) -> None:
    """The launch that train/README.md documents, both nodes on this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        launch = f"--nnodes 2 --nproc_per_node 1 --master_addr 127.0.0.1 --master_port {probe.getsockname()[1]}"
    train = words("-m gencomp.train tiny --data", photographs, "--out", tmp_path / "run", FAST)
    torchrun = [sys.executable, *words("-m torch.distributed.run", launch)]
    nodes = [subprocess.Popen([*torchrun, "--node_rank", rank, *train], **PIPES) for rank in ("0", "1")]
    ends = [node.communicate(timeout=600) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], ends
    assert sum("done:" in out for out, _ in ends) == 1
    assert [(line["step"], line["processes"]) for line in lines(tmp_path / "run")] == [(2, 2), (4, 2)]


def test_sigterm_to_every_process_of_a_run_saves_its_state(photographs: Path, tmp_path: Path) -> None:
    """As torchrun and Slurm send it: to the workers that load data, too."""
    settings = "--steps 100000 --set realism.begin=1000000 --set workers=2 --set precision=no --log-every 1"
    typed = words("-m gencomp.train tiny --data", photographs, "--out", tmp_path / "run", "--tracker none", settings)
    run = subprocess.Popen([sys.executable, *typed], start_new_session=True, **PIPES)
    log, until = tmp_path / "run" / "log.jsonl", time.monotonic() + 300
    while not (log.exists() and log.read_text().count("\n") > 2) and run.poll() is None and time.monotonic() < until:
        time.sleep(0.2)
    os.killpg(run.pid, signal.SIGTERM)
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert len(checkpoints(tmp_path / "run")) == 1


def test_train_and_export_from_the_command_line(photographs: Path, tmp_path: Path) -> None:
    run, model = tmp_path / "run", tmp_path / "m.safetensors"
    gencomp("train tiny --sample-every 4 --data", photographs, "--out", run, FAST)
    assert (run / "samples" / "step-00000004.png").is_file()
    record = json.loads(gencomp("export --json", run, "-o", model).stdout.splitlines()[0])
    assert record["bytes"] == model.stat().st_size
    assert {"model", "rate_change", "realism", "steps"} <= record.keys()


def test_validation_is_on_real_files_and_tracked(photographs: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    settings = "--steps 2 --set realism.begin=1000000 --log-every 2 --validate-every 2 --sample-every 2"
    gencomp("train tiny", settings, "--data", photographs, "--out", tmp_path, "--validate", photographs)
    assert lines(tmp_path)[-1]["file_bpp"] > 0
    assert lines(tmp_path)[-1]["validated_on"] == "held-out photographs"
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_dry_run_prints_recipe_and_estimates_and_makes_nothing(tmp_path: Path) -> None:
    said = gencomp("train tiny --dry-run --set batch=2 --out", tmp_path / "run").output
    assert all(part in said for part in ('"batch": 2', "kMAC per pixel", "GiB"))
    assert not (tmp_path / "run").exists()


def test_a_dry_run_counts_the_network_of_the_init_in_one_json_object(trained: Path) -> None:
    found = json.loads(gencomp("train gan --dry-run --json --init", trained).stdout)
    assert found["recipe"]["model"] == json.loads((trained / "recipe.json").read_text())["model"]
    assert [stage["stage"] for stage in found["stages"]] == ["realism"]  # the stage before has no steps


@pytest.mark.parametrize(("typed", "status", "message"), WRONG)
def test_what_is_wrong_is_one_line(typed: str, status: int, message: str, photographs: Path, tmp_path: Path) -> None:
    places = {"OUT": tmp_path / "run", "PHOTOS": photographs}
    said = gencomp("train --set precision=no", *(places.get(word, word) for word in typed.split()), status=status)
    assert message in said.stderr
    assert "Traceback" not in said.stderr


def test_export_of_what_is_no_run_is_said_in_one_line(tmp_path: Path) -> None:
    assert "holds no checkpoint" in gencomp("export", tmp_path, "-o", tmp_path / "m.safetensors", status=1).stderr


def test_hub_gets_file_and_card_or_one_line(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    model, upload = tmp_path / "m.safetensors", Mock()
    refuse = Mock(side_effect=ConnectionError("no way to the hub"))
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    refused = gencomp("export --push-to-hub someone/model", trained, "-o", model, status=1)
    assert "no way to the hub" in refused.stderr
    assert model.is_file()
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda self, name, **_: f"hub:{name}")
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_file", upload)
    gencomp("export --overwrite --push-to-hub someone/model", trained, "-o", model)
    sent: dict[str, Any] = {c.kwargs["path_in_repo"]: c.kwargs["path_or_fileobj"] for c in upload.call_args_list}
    assert sent["model.safetensors"] == model
    assert b'gencomp.load("someone/model")' in bytes(sent["README.md"])


def test_the_dry_run_says_which_batch_and_learning_rate_fit() -> None:
    said = gencomp("train tiny --dry-run --processes 8").output
    assert "cannot be shared by 8 processes: --set batch=8 --set learning_rate=" in said


def test_the_documented_launch_lines_can_be_shared() -> None:
    """Batch and learning rate of every launch line of the README, by the rule that the dry run prints."""
    text = (Path(__file__).parents[2] / "train" / "README.md").read_text().replace("\\\n", " ")
    launches = [line for line in text.splitlines() if line.startswith("torchrun") and "base" in line]
    assert len(launches) == 2
    for line in launches:
        nodes, each = (re.search(rf"--{name} (\d+)", line) for name in ("nnodes", "nproc_per_node"))
        processes = int(nodes[1] if nodes else 1) * int(each[1] if each else 1)
        settings = dict(re.findall(r"--set (\w+)=(\S+)", line))
        share_of(recipe("base", settings), processes)
        expected = recipe("base").learning_rate * (int(settings["batch"]) / recipe("base").batch) ** 0.5
        assert float(settings["learning_rate"]) == pytest.approx(expected, rel=0.02)


def test_the_help_names_every_recipe() -> None:
    text = gencomp("train --help").output
    assert all(re.search(rf"\b{name}\b", text) for name in RECIPES)


SCENARIOS = Path(__file__).with_name("scenarios.py")


def play(*arguments: object) -> dict[str, Any]:
    """Run one scenario in its own program and read its report."""
    command = [sys.executable, str(SCENARIOS), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert not any(report["statuses"]), done.stderr[-2000:]
    return report


def test_two_processes_and_accumulation_give_the_losses_of_one(photographs: Path, tmp_path: Path) -> None:
    """Both stages, every loss of every step, to float accuracy."""
    report = play("equal", photographs, tmp_path, 2)
    for kind in ("processes", "accumulated"):
        assert report[kind]["lines"] == 24
        assert report[kind]["largest_relative_log_difference"] < 1e-4
        assert report[kind]["largest_difference"] < 1e-2  # of any weight or moment


@pytest.mark.parametrize(("processes", "kills"), [(1, 3), (2, 1)])
def test_killed_run_ends_bit_identical(photographs: Path, tmp_path: Path, processes: int, kills: int) -> None:
    """`scenarios.py kill ... 10` does it ten times over."""
    report = play("kill", photographs, tmp_path, processes, kills)
    assert report["identical"]
    assert report["logs_identical"]
    assert report["resumed"] == kills
