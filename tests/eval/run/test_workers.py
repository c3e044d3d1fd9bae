"""Worker processes: all tasks done once, a worker that native code takes down replaced, and none that outlives us."""

import importlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gencomp.eval.run import notes, records
from gencomp.eval.run.records import Record
from gencomp.eval.run.workers import Crashed, WorkerError, Workers

# Waits in a worker until the parent is ended.
PROGRAM = """
import sys
from functools import partial
from gencomp.eval.run.workers import Workers
sys.path.insert(0, {here!r})
from worker_tasks import prepare_to_wait

if __name__ == "__main__":
    with Workers(partial(prepare_to_wait, {pid!r}), 1) as workers:
        list(workers.run([1]))
"""


HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module worker_tasks, which workers must be able to import by its name."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("worker_tasks")


@pytest.mark.parametrize("count", [0, 2])
def test_every_task_is_done_once(count: int, tasks: Any) -> None:
    with Workers(tasks.prepare, count) as workers:
        assert workers.greeting == "worker 0"
        assert sorted(workers.run(range(7))) == [(k, k * k) for k in range(7)]
        assert list(workers.run([])) == []


def test_a_crash_is_a_result_and_the_rest_is_done(tasks: Any) -> None:
    with Workers(tasks.prepare, 1) as workers:
        done = dict(workers.run([3, 13, 4, 13, 5]))
    assert done == {3: 9, 4: 16, 5: 25, 13: Crashed(0, "SIGABRT")}


def test_what_a_task_raises_is_raised_here(tasks: Any) -> None:
    with Workers(tasks.prepare, 1) as workers, pytest.raises(ValueError, match="ninety-nine"):
        list(workers.run([99]))


def test_a_worker_that_cannot_begin_is_an_error(tasks: Any) -> None:
    with pytest.raises(WorkerError, match="SIGABRT"):
        Workers(tasks.unfit, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child may outlive its parent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_ends_the_parent_ends_the_workers(number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "program.py").write_text(PROGRAM.format(here=str(HERE), pid=str(pid)))
    program = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stderr=subprocess.DEVNULL, preexec_fn=_hear_interrupts
    )
    while not (pid.is_file() and pid.read_text()):
        assert program.poll() is None
        time.sleep(0.02)
    program.send_signal(number)
    program.communicate(timeout=20)
    assert program.returncode != 0
    deadline = time.monotonic() + 10
    while Path("/proc", pid.read_text()).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path("/proc", pid.read_text()).exists()


def _hear_interrupts() -> None:
    """A shell's background job is started deaf to SIGINT, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_note_lasts_as_long_as_its_work_and_is_kept_by_who_finds_it(tmp_path: Path) -> None:
    row = {"image": "one", "codec": "odd", "setting": "1 bpp", "realism": None, "error": ""}
    note = tmp_path / "note.json"
    with notes.noted(note, [Record(row, {}, {}, {})]):
        assert json.loads(note.read_text())[0]["row"] == row
        assert notes.keep(tmp_path, note, "SIGSEGV") == "odd, one at 1 bpp"
    assert not note.exists()
    (kept,) = records.load_all(tmp_path)
    assert kept.row["error"] == "crashed the program (SIGSEGV)"
    assert notes.keep(tmp_path, note, "SIGSEGV") is None
