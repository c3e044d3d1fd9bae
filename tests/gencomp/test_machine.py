"""Cores and memory: those of the affinity and of control groups, of both versions, wherever they are mounted."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gencomp import machine

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
    files = {
        "fs/cpu,cpuacct/x/cpu.cfs_quota_us": 300000,
        "fs/cpu,cpuacct/x/cpu.cfs_period_us": 100000,
        "fs/mem/y/memory.limit_in_bytes": 5 * GIB,
        "fs/mem/memory.limit_in_bytes": 1 << 63,
    }
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
    assert (machine.peak_memory(children=True) or 0) >= after
    assert len(held) == 2 * before
