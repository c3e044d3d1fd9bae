"""A program that native code takes down: named, and outlived; interrupts still reach it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gencomp.eval.run import crashes
from gencomp.eval.run import records as cells
from gencomp.eval.run.records import Cell

# Three pieces of work, of which the second takes the program down; what has failed already is left out.
PROGRAM = """
import os, sys, time
from pathlib import Path
from gencomp.eval.run import records as cells
from gencomp.eval.run import crashes
from gencomp.eval.run.records import Cell, Place

out = Path(sys.argv[1])
crashes.outlive(out)
assert "torch" not in sys.modules
if "wait" in sys.argv:
    (out / "pid").write_text(str(os.getpid()))
    time.sleep(60)
for image in ("one", "two", "three"):
    cell = Cell({"image": image, "codec": "odd", "setting": "1 bpp", "realism": None, "error": ""}, {}, {}, {})
    if cells.load(out, cell.place) is None:
        with crashes.noted(out, [cell]):
            if image == "two":
                os.abort()
            cells.save(out, cell)
if "outside" in sys.argv:
    os.abort()
print("done")
"""


def start(out: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, str(out), *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(  # type: ignore[call-overload]
        command, text=True, env=os.environ | environment, preexec_fn=_hear_interrupts, **pipes
    )


def _hear_interrupts() -> None:
    """A shell's background job is started deaf to SIGINT, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_crash_is_a_result_and_the_rest_is_done(tmp_path: Path) -> None:
    program = start(tmp_path)
    said, complained = program.communicate(timeout=60)
    assert (program.returncode, said) == (0, "done\n")
    assert "odd, two at 1 bpp: crashed the program (SIGABRT)" in complained
    errors = {cell.place.image: cell.row["error"] for cell in cells.load_all(tmp_path)}
    assert errors == {"one": "", "two": "crashed the program (SIGABRT)", "three": ""}
    assert list(tmp_path.glob(".coding-*")) == []


def test_a_crash_elsewhere_is_no_codec_s(tmp_path: Path) -> None:
    program = start(tmp_path, "outside")
    assert "in no codec" in program.communicate(timeout=60)[1]
    assert program.returncode == 1


def test_one_of_several_processes_ends_and_can_be_given_again(tmp_path: Path) -> None:
    first = start(tmp_path, WORLD_SIZE="2", RANK="1")
    assert "goes on where this run was" in first.communicate(timeout=60)[1]
    assert first.returncode == 1
    second = start(tmp_path, WORLD_SIZE="2", RANK="1")
    assert second.communicate(timeout=60)[0] == "done\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child may outlive its parent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_ends_the_parent_ends_the_child(number: signal.Signals, tmp_path: Path) -> None:
    program = start(tmp_path, "wait")
    pid = tmp_path / "pid"
    while not (pid.is_file() and pid.read_text()):
        time.sleep(0.02)
    program.send_signal(number)
    program.communicate(timeout=20)
    assert program.returncode != 0
    deadline = time.monotonic() + 10
    while Path("/proc", pid.read_text()).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path("/proc", pid.read_text()).exists()


def test_a_note_lasts_as_long_as_its_work(tmp_path: Path) -> None:
    row = {"image": "one", "codec": "odd", "setting": "1 bpp", "realism": None, "error": ""}
    with crashes.noted(tmp_path, [Cell(row, {}, {}, {})]):
        (note,) = tmp_path.iterdir()
        assert json.loads(note.read_text())[0]["row"] == row
    assert list(tmp_path.iterdir()) == []
