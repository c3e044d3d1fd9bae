"""Worker processes: all tasks done once, a worker that native code takes down replaced, and none that outlives us."""

import importlib
import multiprocessing
import signal
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gencomp.processes import START_TRIES, Died, Returned, Told, WorkerError, Workers

HERE = Path(__file__).parent
# Waits in a worker until the parent is ended.
PROGRAM = """
import sys
from functools import partial
from gencomp.processes import Workers
sys.path.insert(0, {here!r})
from worker_tasks import prepare_to_wait

if __name__ == "__main__":
    with Workers(partial(prepare_to_wait, {pid!r}), 1) as workers:
        list(workers.run([1]))
"""


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module worker_tasks, which workers must be able to import by its name."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("worker_tasks")


@pytest.mark.parametrize("count", [0, 2])
def test_every_task_is_done_once_and_may_say_a_word_before_its_end(count: int, tasks: Any) -> None:
    with Workers(tasks.prepare, count) as workers:
        assert workers.greeting == "ready"
        assert sorted(event[1:] for event in workers.run(range(7)) if event) == [(k, k * k) for k in range(7)]
        assert list(workers.run([])) == []
        assert [type(event) for event in workers.run([77])] == [Told, Returned]


def test_a_death_names_its_task_which_may_be_tried_again_and_the_rest_is_done(tasks: Any) -> None:
    waiting, died = deque([3, 13, 4, 5]), 0
    with Workers(tasks.prepare, 1) as workers:
        done = []
        for event in workers.run(waiting):
            if isinstance(event, Died):
                assert event == (0, 13, "SIGABRT")
                died += 1
                waiting.extend([13] if died < 2 else [])
            elif isinstance(event, Returned):
                done.append(event.task)
    assert (sorted(done), died) == ([3, 4, 5], 2)
    assert not multiprocessing.active_children()


def test_a_worker_that_died_between_two_runs_is_replaced_and_no_task_is_blamed(tasks: Any) -> None:
    with Workers(tasks.prepare, 1) as workers:
        list(workers.run([1]))
        (child,) = multiprocessing.active_children()
        child.kill()
        child.join()
        assert list(workers.run([2])) == [Returned(0, 2, 4)]


def test_what_a_task_raises_is_raised_here_though_it_cannot_be_sent(tasks: Any) -> None:
    with Workers(tasks.prepare, 1) as workers, pytest.raises(ValueError, match="ninety-nine is wrong"):
        list(workers.run([99]))


def test_workers_that_cannot_begin_are_an_error_when_none_is_left(tasks: Any, tmp_path: Path) -> None:
    with Workers(tasks.unfit, 2) as workers, pytest.raises(WorkerError, match="SIGABRT"):
        list(workers.run([1]))
    with Workers(partial(tasks.unfit_but_the_last, str(tmp_path)), 2) as workers:
        assert sum(isinstance(event, Returned) for event in workers.run(range(3))) == 3
        for _ in workers.run([], tick=0.1):
            raise AssertionError
    assert len(list(tmp_path.glob("0-*"))) <= START_TRIES


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child may outlive its parent")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_ends_the_parent_ends_the_workers_and_what_is_half_done(number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    (tmp_path / "program.py").write_text(PROGRAM.format(here=str(HERE), pid=str(pid)))
    command = [sys.executable, str(tmp_path / "program.py")]
    program = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=_hear_interrupts)
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
    assert not Path(f"{pid}.half").exists()


def _hear_interrupts() -> None:
    """A shell's background job is started deaf to SIGINT, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
