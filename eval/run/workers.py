"""Worker processes: tasks on all cores, and a process that native code takes down is replaced, not mourned.

Workers are started afresh (spawned), so that nothing depends on what this process has imported. With no worker at all
the tasks are done here, one after the other.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

Task = Any
Do = Callable[[Task], Any]
Prepare = Callable[[int], tuple[Any, Do]]  # by a worker's number: its greeting, and what does a task


class Crashed(NamedTuple):
    """What a task came to whose worker died: the worker's number, and the fault or status that it died of."""

    worker: int
    fault: str


class WorkerError(RuntimeError):
    """A worker died before it could begin."""


class _Worker(NamedTuple):
    number: int
    process: Any
    connection: "Connection[Any, Any]"


class Workers:
    """`count` processes that each call prepare(number) and then do one task after the other; 0: this process does.

    `greeting` is what the first of them returned with its preparation. What preparing raises is raised here.
    """

    def __init__(self, prepare: Prepare, count: int) -> None:
        self._prepare = prepare
        self._here: Do | None = None
        self._workers: list[_Worker] = []
        if count == 0:
            self.greeting, self._here = prepare(0)
            return
        try:
            self._workers = [self._start(number) for number in range(count)]
            greetings = [self._greet(worker) for worker in self._workers]
            self.greeting = greetings[0]
        except BaseException:
            self.close()
            raise

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Any]]:
        """Each task with what it returned, or Crashed, in the order in which they end."""
        if self._here is not None:
            yield from ((task, self._here(task)) for task in tasks)
            return
        waiting, busy = list(reversed(tasks)), {}
        for worker in self._workers:
            if waiting:
                busy[worker.number] = self._give(worker, waiting.pop())
        while busy:
            for connection in wait([w.connection for w in self._workers if w.number in busy]):
                worker = next(w for w in self._workers if w.connection is connection)
                task = busy.pop(worker.number)
                try:
                    is_error, result = worker.connection.recv()
                except (EOFError, OSError):
                    is_error, result = False, Crashed(worker.number, _fault(worker.process))
                    worker = self._replace(worker)
                if is_error:
                    raise _raised(result)
                yield task, result
                if waiting:
                    busy[worker.number] = self._give(worker, waiting.pop())

    def close(self) -> None:
        """End all workers at once: what they have finished is on the disk."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, number: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._prepare, number, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        return _Worker(number, process, ours)

    def _greet(self, worker: _Worker) -> Any:
        try:
            is_error, greeting = worker.connection.recv()
        except EOFError:
            raise WorkerError(f"a worker process ended before it could begin ({_fault(worker.process)})") from None
        if is_error:
            raise _raised(greeting)
        return greeting

    def _replace(self, dead: _Worker) -> _Worker:
        worker = self._start(dead.number)
        self._workers[dead.number] = worker
        self._greet(worker)
        return worker

    @staticmethod
    def _give(worker: _Worker, task: Task) -> Task:
        worker.connection.send(task)
        return task


def _serve(connection: "Connection[Any, Any]", prepare: Prepare, number: int, parent: int) -> None:
    """What a worker does. An interrupt of the terminal is its parent's to handle, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(parent)
    try:
        greeting, do = prepare(number)
        connection.send((False, greeting))
        while True:
            connection.send((False, do(connection.recv())))
    except EOFError:
        return
    except Exception as error:  # in words: not every exception can be sent
        with suppress(OSError):
            connection.send((True, (isinstance(error, (ValueError, OSError)), str(error) or type(error).__name__)))


def _raised(told: tuple[bool, str]) -> Exception:
    """A worker's exception: ValueError where it said what is wrong with the input, else RuntimeError."""
    is_plain, text = told
    return ValueError(text) if is_plain else RuntimeError(text)


def _end_with(parent: int) -> None:
    """Where the system knows how (Linux), let this process be killed when its parent is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _fault(process: Any) -> str:
    """The name of the signal that ended a process, or its exit status."""
    process.join(10)
    code = process.exitcode
    return signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"
