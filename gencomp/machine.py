"""What this process may use of the machine: cores and memory, as affinity and control groups (containers) allow.

Running out of memory is said in the caller's own kind of error and with the size that asked for it.
"""

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc/self")
_OUT_OF_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate memory|failed to allocate|unable to allocate|DefaultCPUAllocator|bad[_ ]alloc|"
    r"ALLOC_FAILED|failed to map segment",
    re.IGNORECASE,
)


def cores() -> int:
    """Processor cores that this process may use: those of its affinity, or of its control groups' quota if fewer. A
    quota of part of a core counts as a whole one, as the JVM and joblib count it."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas())]))


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control groups' limit if that is less.
    sys.maxsize where the system does not say (Windows)."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        whole = sys.maxsize
    limits = [_read(folder / name) for folder, name in _files("memory", "memory.max", "memory.limit_in_bytes")]
    return min([whole, *(int(limit) for limit in limits if limit.isdecimal() and int(limit))])


def status(field: str) -> int | None:
    """Bytes of a field of /proc/self/status (VmRSS, VmHWM), None where there is none."""
    words = _read(_PROC / "status").partition(f"{field}:")[2].split()
    return int(words[0]) * 1024 if words else None


def peak_memory() -> int | None:
    """Largest resident memory of this process in bytes; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    # Linux counts into ru_maxrss what the parent held when it forked, but not into VmHWM.
    return status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def processes_that_fit(bytes_each: int) -> int:
    """How many processes that take a core and so many bytes each fit here, at least one."""
    return max(1, min(cores(), memory() // bytes_each))


def threads(processes: int = 1) -> int:
    """Threads for numerical libraries in each of so many processes. OMP_NUM_THREADS, by which people share a machine,
    is respected."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else max(1, cores() // processes)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is Python's, torch's or another library's way of saying that memory has run out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


@contextmanager
def memory_for(width: int, height: int, kind: type[ValueError]) -> Iterator[None]:
    """Turn running out of memory over an image of width x height pixels into an error of `kind`."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise kind(f"not enough memory for an image of {width}x{height} pixels") from error


def _quotas() -> Iterator[float]:
    for folder, name in _files("cpu", "cpu.max", "cpu.cfs_quota_us"):
        if name == "cpu.max":
            quota, _, period = _read(folder / name).partition(" ")
        else:
            quota, period = _read(folder / name), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            yield int(quota) / int(period)


def _files(controller: str, v2: str, v1: str) -> Iterator[tuple[Path, str]]:
    """The folders of this process's control groups, each up to its mount point, with the file that limits in each."""
    groups = [line.split(":", 2) for line in _read(_PROC / "cgroup").splitlines()]
    for line in _read(_PROC / "mountinfo").splitlines():
        mount, _, kind = (part.split() for part in line.partition(" - "))
        if len(mount) < 5 or not kind or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if kind[0] == "cgroup" and controller not in kind[-1].split(","):
            continue
        names = "" if kind[0] == "cgroup2" else controller
        inside = next((path for _, of, path in groups if names in of.split(",")), "/")
        root, top = mount[3], Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), mount[4]))
        # In a container the mounted root is often its own group, whose name outside is not seen inside.
        below = inside[len(root) :] if root != "/" and (inside + "/").startswith(root + "/") else inside
        folder = Path(os.path.normpath(f"{top}/{below}"))
        for each in (folder, *folder.parents):
            if each == top or top in each.parents:
                yield each, v2 if kind[0] == "cgroup2" else v1


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
