"""What this program starts imports nothing from the folder that it is started in, nor from a folder of data."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
TINY = str(ROOT / "tests" / "golden" / "tiny.safetensors")
SOURCES = [path for folder in ("gencomp", "train", "eval") for path in sorted((ROOT / folder).rglob("*.py"))]
GUARDS = {"gencomp/processes.py", "gencomp/cli/group.py"}
"""Who sets PYTHONSAFEPATH: around the start of workers, and around a whole command, with all that libraries start."""

OTHERS = ("os.system", "os.popen", "os.posix_spawn", "os.spawn", "os.exec", "pty.spawn", "asyncio.create_subprocess")
HOSTILE = """
open({mark!r}, "a").write(__name__ + " ran\\n")
raise ImportError("a stranger's module")
"""
STRANGERS = ["struct", "types", "signal", "random", "socket", "pickle", "numpy", "gencomp", "sitecustomize", "queue"]
STRANGERS += ["torch", "json", "click"]


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_every_start_of_a_process_is_one_that_is_guarded() -> None:
    """A spawn of multiprocessing in one place, programs by their name, Python by `python(...)` alone."""
    starts = {"subprocess.run", "subprocess.Popen", "subprocess.check_output", "subprocess.check_call"}
    found = []
    for path in SOURCES:
        text, name = path.read_text("utf-8"), path.relative_to(ROOT).as_posix()
        tree = ast.parse(text)
        if "sys.executable" in text and name != "gencomp/processes.py":
            found.append(f"{name}: starts Python by itself")
        for called, node in calls(tree):
            last = called.rpartition(".")[2]
            if last in ("get_context", "ProcessPoolExecutor", "Pool", "Process") or called.startswith(OTHERS):
                found += [] if name == "gencomp/processes.py" else [f"{name}:{node.lineno} {called}"]
            if called in starts and not isinstance(node.args[0], ast.Name):
                found.append(f"{name}:{node.lineno} {called} of a command that has no name")
            if last == "DataLoader" and not name.startswith("train/"):  # where every command is guarded
                found.append(f"{name}:{node.lineno} {called}")
    assert found == []
    holders = {path.relative_to(ROOT).as_posix() for path in SOURCES if "guarded(" in path.read_text("utf-8")}
    assert holders >= GUARDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs with modules beside them, which say so when they are run."""
    place = tmp_path / "holiday"
    place.mkdir()
    for name in "abcd":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{name}.png")
    for name in STRANGERS:
        (place / f"{name}.py").write_text(HOSTILE.format(mark=str(tmp_path / "ran")))
    (place / "matplotlibrc").write_text("text.usetex: True\nfigure.dpi: 90000\n")  # read where matplotlib is imported
    return place


VERBS = {
    "compress": ["compress", ".", "-o", "{out}/", "--jobs", "2", "--model", TINY],
    "bulk": ["bulk", ".", "{out}", "--jobs", "2", "--quiet", "--model", TINY],
    "eval here": ["eval", ".", "--out", "{out}", "--codec", TINY, "--quality", "50", "--metric", "psnr", "--jobs", "0"],
    "eval": ["eval", ".", "--out", "{out}", "--codec", "jpeg", "--quality", "50", "--metric", "psnr", "--jobs", "2"],
    "train": ["train", "tiny", "--data", ".", "--out", "{out}", "--steps", "2", "--set", "batch=2", "--set", "crop=64",
              "--set", "workers=2", "--tracker", "none", "--sample-every", "0", "--validate-every", "0"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("here", [True, False], ids=["working folder", "data folder"])
def test_no_verb_runs_what_lies_beside_the_photographs(verb: str, here: bool, folder: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = [part.format(out=out) if part != "." or here else str(folder) for part in VERBS[verb]]
    command = [str(Path(sys.executable).with_name("gencomp")), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(elsewhere)}
    how: dict[str, Any] = {"cwd": folder if here else elsewhere, "env": environment, "timeout": 300}
    done = subprocess.run(command, capture_output=True, text=True, **how)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert any(out.iterdir())


@pytest.mark.parametrize("module", ["", ".train", ".eval", ".eval.report", ".eval.demo.crops"])
def test_no_module_started_by_name_runs_what_lies_in_the_folder(module: str, folder: Path, tmp_path: Path) -> None:
    """But for a folder's own gencomp.py, which Python runs instead of ours."""
    (folder / "gencomp.py").unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", f"gencomp{module}", "--help"], cwd=folder, env=environment, capture_output=True
    )
    assert (done.returncode, (tmp_path / "ran").exists()) == (0, False), done.stderr


@pytest.mark.parametrize("start", ["spawn", "forkserver", "python"])
def test_whatever_starts_a_python_is_guarded_and_pythonpath_holds(start: str, folder: Path, tmp_path: Path) -> None:
    """As a loader of data on macOS or Python 3.14, a compiler's workers, or Ray do."""
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "mine.py").write_text("def task():\n    import random, socket, queue\n    print('done')\n")
    program = tmp_path / "users" / "program.py"
    begun = f"p = multiprocessing.get_context('{start}').Process(target=mine.task); p.start(); p.join()"
    if start == "python":
        begun = "subprocess.run([sys.executable, '-c', 'import mine; mine.task()'], check=True)"
    program.write_text(
        "import multiprocessing, subprocess, sys, mine\nfrom gencomp.processes import guarded\n"
        f"if __name__ == '__main__':\n    with guarded():\n        {begun}\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "users")}
    done = subprocess.run([sys.executable, program], cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
