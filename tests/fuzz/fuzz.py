"""Fuzzing: mutated files, headers and models, and whether only what is documented happens.

    python tests/fuzz/fuzz.py --target file --inputs 1000000 --seed 1 --jobs 8
    python tests/fuzz/fuzz.py --target model --inputs 100000 --seed 1 --jobs 8 --keep found/
    python tests/fuzz/fuzz.py --target onnx --inputs 100000 --seed 1 --jobs 8
    python tests/fuzz/fuzz.py --target tar --inputs 20000     # and parquet: what passes through `gencomp bulk`

Input i of a seed is a pure function of both, so that a finding is reproduced by its number: `--first I --inputs 1`.
Mutations know the format: half of all inputs have right checksums, digests and known answers, which no search guided
by coverage would come upon. Each input has SECONDS of processor time and MEMORY bytes over the start (where the
system limits addresses); passing either is a finding, as is every exception but BitstreamError, ModelError and
Pillow's OSError, and an error of more than a line. A process that dies is one, too. Ends with status 1 on any finding.
"""

import argparse
import concurrent.futures
import contextlib
import io
import os
import random
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: time is counted over all threads

from targets import TARGETS

SECONDS = 2.0
MEMORY = 512 << 20
CHUNK = 200


class Found(NamedTuple):
    """An input that must be looked at."""

    number: int
    what: str
    data: bytes


class Result(NamedTuple):
    """Counts by outcome, and what was found. slowest: seconds of processor time, and its input."""

    counts: Counter[str]
    found: list[Found]
    slowest: tuple[float, int]


def fuzz(target: str, seed: int, first: int, inputs: int) -> Result:
    """Try inputs first .. first + inputs - 1 of a seed in this process."""
    tried = TARGETS[target]()
    for i in range(20):  # what is imported and built once is not the first input's
        with contextlib.suppress(Exception):
            tried.run(tried.mutant(random.Random(i)))
    counts, found, slowest = Counter[str](), list[Found](), (0.0, first)
    with _limited_memory():
        for index in range(first, first + inputs):
            data = tried.mutant(random.Random(f"{seed} {index}"))
            start = time.process_time()
            try:
                with _limited_time():
                    outcome = tried.run(data)
            except Exception:
                outcome = "FOUND"
                found.append(Found(index, traceback.format_exc(), data))
            spent = time.process_time() - start
            if spent > SECONDS and outcome != "FOUND":
                outcome = "FOUND"
                found.append(Found(index, f"took {spent:.1f} s of processor time", data))
            slowest = max(slowest, (spent, index))
            counts[_kind(outcome)] += 1
    return Result(counts, found, slowest)


def fuzz_in_processes(target: str, seed: int, first: int, inputs: int, jobs: int) -> Iterator[Result]:
    """The same by several processes, a chunk's result at a time; a process that dies is a finding of its chunk."""
    chunks = [(at, min(CHUNK, first + inputs - at)) for at in range(first, first + inputs, CHUNK)]
    while chunks:
        with concurrent.futures.ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
            running = {pool.submit(fuzz, target, seed, at, count): (at, count) for at, count in chunks}
            chunks, died = [], 0
            for future in concurrent.futures.as_completed(running):
                at, count = running[future]
                try:
                    yield future.result()
                except BrokenProcessPool:  # one chunk's doing, but all that were under way break: each is tried again
                    died += 1
                    chunks.append((at, count))
        if died and len(chunks) == len(running):
            at, count = chunks.pop(0)
            if count == 1:
                yield Result(Counter({"FOUND": 1}), [Found(at, "the process died", b"")], (0.0, at))
            else:
                chunks[:0] = [(at, count // 2), (at + count // 2, count - count // 2)]


def main() -> int:
    """Status 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=TARGETS, default="file")
    parser.add_argument("--inputs", type=int, default=10_000, help="how many (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write inputs that found something here")
    asked = parser.parse_args()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(errors="backslashreplace")  # mutants put anything into messages
    counts, found, slowest, start = Counter[str](), list[Found](), (0.0, 0), time.monotonic()
    for result in fuzz_in_processes(asked.target, asked.seed, asked.first, asked.inputs, asked.jobs):
        counts += result.counts
        found += result.found
        slowest = max(slowest, result.slowest)
        for finding in result.found:
            print(f"\nFOUND by input {finding.number}:\n{finding.what}", flush=True)
            if asked.keep:
                asked.keep.mkdir(parents=True, exist_ok=True)
                (asked.keep / f"{asked.target}-{asked.seed}-{finding.number}").write_bytes(finding.data)
        if sys.stderr.isatty():
            print(f"\r{counts.total():,} of {asked.inputs:,}, {len(found)} found", end="", file=sys.stderr)
    for outcome, count in counts.most_common():
        print(f"{count:9,}  {outcome}")
    print(
        f"{asked.target}: {counts.total():,} inputs from {asked.first} of seed {asked.seed} in "
        f"{time.monotonic() - start:.0f} s, slowest {slowest[0]:.2f} s (input {slowest[1]}), {len(found)} found"
    )
    return 1 if found else 0


def _kind(outcome: str) -> str:
    """An outcome without the numbers and names in it, so that there are few."""
    return re.sub(r"'[^']*'|\b[0-9a-f]{8}\b|\d[\d,.x]*", "_", outcome)[:120]


@contextlib.contextmanager
def _limited_time() -> Iterator[None]:
    """TimeoutError at SECONDS of processor time, where Python still runs; killed by the system where it does not."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"over {SECONDS:g} s of processor time")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def _limited_memory() -> Iterator[None]:
    """MemoryError MEMORY bytes over what is used now; no limit where the system knows none."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


if __name__ == "__main__":
    sys.exit(main())
