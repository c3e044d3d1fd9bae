"""Many files over processes: in order, each file's failure its own, and gone when they are interrupted."""

import functools
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp import machine
from gencomp.bitstream import ModelError
from gencomp.cli import batch
from gencomp.cli.batch import FileOutcome, crew, default_jobs
from gencomp.cli.compress import Further, _code
from gencomp.cli.planning import plan
from gencomp.walk import is_image

MODEL = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")
JOBS: list[Any] = [(8, 64 << 30, 1, "cpu", 1), (8, 64 << 30, 3, "cpu", 1), (8, 64 << 30, 7, "cpu", 3)]
JOBS += [(8, 64 << 30, 1000, "auto", 8), (8, 10 << 30, 1000, "cpu", 3), (8, 1 << 30, 1000, "cpu", 1)]
JOBS += [(8, 64 << 30, 1000, "cuda", 1)]


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Five images, the second of which is none."""
    (tmp_path / "in").mkdir()
    rng, paths = np.random.default_rng(0), [tmp_path / "in" / f"{name}.png" for name in "abcde"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8)).save(path)
    paths[1].write_bytes(b"no image")
    return paths


def _work(photos: list[Path], output: Path) -> functools.partial[FileOutcome]:
    planned = plan([photos[0].parent], is_image, str(output), ".gnc")
    asked = {"quality": 50, "effort": 0, "max_pixels": None, "background": "white"}
    return functools.partial(_code, planned, asked, Further())


def test_processes_give_what_one_gives_in_the_order_of_the_files(photos: list[Path], tmp_path: Path) -> None:
    results = {}
    for jobs in (1, 2):
        with crew(_work(photos, tmp_path / str(jobs)), MODEL, "cpu", jobs) as (facts, do):
            assert facts == ("tiny", False)
            results[jobs] = list(do(photos))
        assert multiprocessing.active_children() == []
    assert [done.source for done in results[2]] == photos
    assert [done.error for done in results[2]] == ["", "not an image that can be read", "", "", ""]
    names = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert names == ["a.gnc", "c.gnc", "d.gnc", "e.gnc"]
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_processes_that_are_ended_from_outside_cost_no_file(photos: list[Path], tmp_path: Path) -> None:
    with crew(_work(photos, tmp_path / "out"), MODEL, "cpu", 2) as (_, do):
        done = []
        for each in do(photos):
            done.append(each)
            if len(done) in (1, 3):  # one photograph whose process ends twice would be given up
                multiprocessing.active_children()[0].kill()
    assert [each.source for each in done] == photos
    assert sum(each.outcome is not None for each in done) == 4


def _kill_at_c(codec: object, source: Path) -> FileOutcome:
    if source.stem == "c":
        os.kill(os.getpid(), signal.SIGKILL)
    return FileOutcome(source.stem, {})


def test_a_file_that_kills_processes_is_named_alone(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    kill_at_c = importlib.import_module("test_workers")._kill_at_c
    with crew(kill_at_c, MODEL, "cpu", 2) as (_, do):
        done = list(do(photos))
    assert [each.outcome and each.outcome.text for each in done] == ["a", "b", None, "d", "e"]
    assert "ended from outside (SIGKILL)" in done[2].error


def test_model_that_cannot_be_loaded_is_one_error(photos: list[Path], tmp_path: Path) -> None:
    work = _work(photos, tmp_path / "out")
    with pytest.raises(ModelError, match="no model file"), crew(work, str(tmp_path / "no.safetensors"), "cpu", 2):
        pass
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(("cores", "memory", "files", "device", "jobs"), JOBS)
def test_default_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, cores: int, memory: int, files: int, device: str, jobs: int
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(machine, "memory", lambda: memory)
    monkeypatch.setattr(batch, "NVIDIA_DRIVER", Path("/nowhere"))
    assert default_jobs(files, device) == jobs


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups on this system")
def test_interruption_ends_all_processes_with_one_line_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for index in range(60):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{index:02}.png")
    options = ["-o", "out", "--json", "--jobs", "2", "--model", MODEL]
    command = [sys.executable, "-m", "gencomp", "compress", "in", *options]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["source"] == "in/00.png"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its processes
    _, errors = process.communicate(timeout=60)  # returns once no process holds the pipes any more
    assert (process.returncode, errors) == (130, "Interrupted\n")
    assert all(path.suffix == ".gnc" for path in (tmp_path / "out").iterdir())
