"""The command from photographs to a page: runs that are killed, nothing twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from gencomp.eval.family.cli import family

LIMIT = 300.0


def wait_for(condition: object, what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.parametrize(
    "wrong",
    [["--budget", "0"], ["--budget", "nan"], ["--rungs", ""], ["--rungs", "../x"], ["--jobs", "0"], ["--data", "x"]],
)
def test_wrong_options_are_refused_before_any_work(wrong: list[str], tmp_path: Path) -> None:
    budget = () if "--budget" in wrong else ("--budget", "1")
    given = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), *budget, *wrong]
    done = CliRunner().invoke(family, given)
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "out").exists()


def test_a_page_without_any_rung_is_refused(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gencomp", "family", "--data", str(photos), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--budget", "1", "--rungs", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: none of these rungs can be trained here: no recipe nothing is installed"
    )


@pytest.mark.slow
def test_a_family_that_is_killed_goes_on_and_does_nothing_twice(photos: Path, tmp_path: Path) -> None:
    out, few = tmp_path / "out", tmp_path / "few"
    few.mkdir()
    with Image.open(next(iter(sorted(photos.iterdir())))) as photo:
        photo.convert("RGB").crop((0, 0, 192, 192)).save(few / "one.png")
    arguments = ["--data", str(photos), "--out", str(out), "--budget", "0.05", "--rungs", "tiny", "--eval", str(few)]
    command = [sys.executable, "-m", "gencomp", "family", *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "runs" / "tiny" / "1" / "log.jsonl").is_file() or first.poll() is not None, "no training")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    plan = (out / "plan.json").read_bytes()
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (out / "plan.json").read_bytes() == plan
    assert {line["curve"] for line in found["rungs"]} == {"tiny, realism 0", "tiny, realism 1"}
    page = (out / "page" / "index.html").read_text()
    for shown in ("tiny, realism 0", "webp", "A recipe that is no rung", "kMAC", "gencomp"):
        assert shown in page
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    crops = sorted((out / "page" / "crops").glob("*.webp"))
    assert len(crops) == 1 + 2 + 3
    assert Image.open(crops[0]).size[0] > 100
    model = out / "models" / "tiny.safetensors"
    before = model.stat().st_mtime_ns, sum(1 for _ in (out / "runs").rglob("*"))
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (model.stat().st_mtime_ns, sum(1 for _ in (out / "runs").rglob("*"))) == before
    other = subprocess.run([*command[:-2], "--budget", "1"], capture_output=True, text=True)
    assert other.returncode == 1
    assert "was begun with --budget 0.05 (now 1)" in other.stderr
