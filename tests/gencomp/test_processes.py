"""Worker processes: all tasks done once, the dead replaced, none that outlives us; cores and memory that are ours."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gencomp import machine
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


@pytest.fixture
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


GIB = 1 << 30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 cores and 64 GiB, whose /proc/self lies in the folder."""
    monkeypatch.setattr(machine, "_PROC", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.__getitem__)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def mounted(proc: Path, groups: str, mounts: list[tuple[str, str, str]], files: Mapping[str, object]) -> None:
    """mounts: root, mount point below `proc`, kind with options."""
    (proc / "cgroup").write_text(groups)
    lines = [f"30 23 0:28 {root} {proc}/{point} rw,relatime shared:9 - {kind}" for root, point, kind in mounts]
    (proc / "mountinfo").write_text("22 1 0:2 / / rw - ext4 /dev/sda rw\n" + "\n".join(lines) + "\n")
    for name, text in files.items():
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text(str(text))


V2 = "cgroup2 cgroup2 rw"
QUOTAS = [("max", 8), ("200000", 2), ("150000", 2), ("5000", 1), ("9900000", 8), ("odd", 8), ("", 8)]


@pytest.mark.parametrize(("quota", "cores"), [(f"{quota} 100000" * bool(quota), cores) for quota, cores in QUOTAS])
def test_a_quota_of_version_2_and_that_of_a_group_above_it(groups: Path, quota: str, cores: int) -> None:
    mounted(groups, "0::/a/b\n", [("/", "fs", V2)], {"fs/a/b/cpu.max": quota, "fs/cpu.max": "max 100000"})
    assert machine.cores() == cores
    mounted(groups, "0::/a/b\n", [("/", "fs", V2)], {"fs/a/cpu.max": quota, "fs/a/b/cpu.max": "max 100000"})
    assert machine.cores() == cores


def test_version_1_has_a_mount_for_each_controller(groups: Path) -> None:
    mounts = [("/", "fs/cpu,cpuacct", "cgroup cgroup rw,cpu,cpuacct"), ("/", "fs/mem", "cgroup cgroup rw,memory")]
    files = {"fs/cpu,cpuacct/x/cpu.cfs_quota_us": 300000, "fs/cpu,cpuacct/x/cpu.cfs_period_us": 100000}
    files |= {"fs/mem/y/memory.limit_in_bytes": 5 * GIB, "fs/mem/memory.limit_in_bytes": 1 << 63}
    mounted(groups, "4:memory:/y\n2:cpu,cpuacct:/x\n0::/\n", mounts, files)
    assert (machine.cores(), machine.memory(), machine.processes_that_fit(2 * GIB)) == (3, 5 * GIB, 2)
    (groups / "fs/cpu,cpuacct/x/cpu.cfs_quota_us").write_text("-1")
    assert machine.cores() == 8


@pytest.mark.parametrize("root", ["/", "/docker/0123"])
def test_in_a_container_the_mounted_root_is_its_own_group(groups: Path, root: str) -> None:
    """Docker without a namespace of control groups shows the name outside, which is not found inside."""
    mounted(groups, "0::/docker/0123\n", [(root, "fs", V2)], {"fs/memory.max": 3 * GIB, "fs/cpu.max": "100000 100000"})
    assert (machine.cores(), machine.memory(), machine.processes_that_fit(8 * GIB)) == (1, 3 * GIB, 1)


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("3", 3), ("", None), ("many", None), ("0", None)])
def test_granted_threads_count(groups: Path, monkeypatch: pytest.MonkeyPatch, asked: str, threads: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert (machine.threads(), machine.threads(4)) == (threads or 8, threads or 2)


def test_a_silent_system_has_a_core_and_no_limit(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert (machine.cores(), machine.memory(), machine.processes_that_fit(GIB)) == (1, sys.maxsize, 1)


def test_peak_memory_grows_with_what_is_held() -> None:
    before = machine.peak_memory()
    assert before is not None
    held = bytearray(b"x" * (2 * before))
    after = machine.peak_memory()
    assert after is not None
    assert after > 2 * before
    assert len(held) == 2 * before
