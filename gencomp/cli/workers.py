"""One codec for a few files, or one in each of several processes for many; results always in the order of the files.

Processes are spawned, not forked, so that they share no thread and no lock with this one; each takes its share of the
cores. An interruption ends them and leaves nothing half written. One that is ended from outside costs its file alone.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gencomp.bitstream import ModelError
from gencomp.cli.batch import Done, Outcome, attempt
from gencomp.cli.planning import load_codec

if TYPE_CHECKING:
    from gencomp.codec import Codec

FILES_A_PROCESS = 2  # with fewer, one process is done before another has loaded its model
MEMORY_A_PROCESS = 3 << 30  # bytes: what an image of 24 megapixels takes
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

CodecWork = Callable[["Codec", Path], Outcome]


class Facts(NamedTuple):
    """What a verb wants to know of the codec that its crew has loaded."""

    model_name: str
    knows_realism: bool


class Crew(NamedTuple):
    """Those who do the work. do: from files to what came of them, in their order."""

    facts: Facts
    do: Callable[[Sequence[Path]], Iterable[Done]]


def default_jobs(files: int, device: str) -> int:
    """Processes for so many files: over the cores, as memory allows; one where a GPU does the work."""
    if device == "cuda" or (device == "auto" and NVIDIA_DRIVER.exists()):
        return 1
    return max(1, min(_cores(), files // FILES_A_PROCESS, _memory() // MEMORY_A_PROCESS))


@contextlib.contextmanager
def crew(work: CodecWork, model: str | None, device: str, jobs: int) -> Iterator[Crew]:
    """Those who do `work`, ready: in this process for one job, else in `jobs` others, which end with the context.

    work: a function that can be pickled. ModelError where the model cannot be loaded.
    """
    if jobs == 1:
        codec = load_codec(model, device)
        alone = functools.partial(work, codec)
        yield Crew(_facts(codec), lambda files: (attempt(alone, file) for file in files))
        return
    workers: dict[Connection, SpawnProcess] = {}
    try:
        _start(workers, jobs, (work, model, device))
        yield Crew(_first_facts(next(iter(workers))), functools.partial(_spread, workers))
    finally:
        for process in workers.values():
            process.terminate()
        for process in workers.values():
            process.join(5)
            process.kill()


def _start(workers: dict[Connection, SpawnProcess], jobs: int, task: tuple[CodecWork, str | None, str]) -> None:
    context = multiprocessing.get_context("spawn")
    with _inherited(str(max(1, _cores() // jobs))):
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, *task), daemon=True)
            process.start()
            theirs.close()
            workers[ours] = process


@contextlib.contextmanager
def _inherited(threads: str) -> Iterator[None]:
    """What new processes take over: their number of threads, and deafness to Ctrl-C, which this process hears."""
    before, main = os.environ.get("OMP_NUM_THREADS"), threading.current_thread() is threading.main_thread()
    os.environ["OMP_NUM_THREADS"] = threads
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        del os.environ["OMP_NUM_THREADS"]
        os.environ.update({} if before is None else {"OMP_NUM_THREADS": before})


def _first_facts(connection: Connection) -> Facts:
    """The facts of the first worker, or the error with which it could not load its codec."""
    try:
        answer = connection.recv()
    except EOFError:
        raise ModelError("a process ended before it had loaded the model: try --jobs 1") from None
    if isinstance(answer, Exception):
        raise answer
    return Facts(*answer)


def _spread(workers: dict[Connection, SpawnProcess], files: Sequence[Path]) -> Iterator[Done]:
    """Give each worker the next file as soon as it asks for one, and yield what came of them in order.

    The first worker has said its facts already and is free; the others ask by saying theirs.
    """
    first, waiting = next(iter(workers)), list(enumerate(files))[::-1]
    listening, busy, done = set(workers), dict[Connection, tuple[int, Path]](), dict[int, Done]()

    def give(worker: Connection) -> None:
        if waiting:
            busy[worker] = waiting.pop()
            with contextlib.suppress(OSError):  # one that has ended is noticed when it is listened to
                worker.send(busy[worker][1])

    give(first)
    for turn, file in enumerate(files):
        while turn not in done and listening:
            speaking = wait(list(listening))
            for worker in [each for each in listening if each in speaking]:
                index, given = busy.pop(worker, (-1, file))
                try:
                    answer = worker.recv()
                except (EOFError, OSError):
                    listening.remove(worker)
                    answer = _lost(given)
                if isinstance(answer, Done) and index >= 0:
                    done[index] = answer
                if worker in listening and not isinstance(answer, Exception):
                    give(worker)
        yield done.pop(turn, _lost(file))


def _lost(file: Path) -> Done:
    return Done(file, None, "its process was ended from outside, perhaps for its memory: try --jobs 1", [])


def _serve(connection: Connection, work: CodecWork, model: str | None, device: str) -> None:
    """A worker's life: load the codec, say its facts, then files in and what came of them out, until it is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half done is undone
    try:
        codec = load_codec(model, device)
    except Exception as error:  # for the first process to say
        connection.send(error)
        return
    connection.send(_facts(codec))
    alone = functools.partial(work, codec)
    with contextlib.suppress(EOFError, BrokenPipeError):  # the first process has gone
        while True:
            connection.send(attempt(alone, connection.recv()))


def _facts(codec: Codec) -> Facts:
    return Facts(codec.model_name, codec.knows_realism)


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    """Bytes of this machine's memory; where it does not say, enough not to count."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize
