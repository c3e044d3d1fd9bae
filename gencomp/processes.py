"""Child processes: workers that do tasks, and a Python of our own that is started for one.

Workers are spawned, not forked, so that they share no thread and no lock with this process, and each has its own pipe,
so that one that is killed in the middle of a message spoils nothing of the others. The death of a worker names its task
and another takes its place; the pools of the standard library and of joblib break at a death and say no task, and none
lets a worker report before its task ends. A terminal's Ctrl-C is this process's to handle. All workers end with it,
however it ends.

No child imports from its working folder, which may hold anything: photographs of strangers and a `random.py`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

Task = Any
Say = Callable[[Any], None]  # to the first process, while a task is done
Do = Callable[[Task], Any]
Prepare = Callable[[int, Say], tuple[Any, Do]]  # by a worker's number: its greeting, and what does a task

START_TRIES = 3
_GRACE = 5.0  # seconds in which a worker that is told to end removes what it has half written
_NONE = object()


class Told(NamedTuple):
    """What a worker says of the task that it is doing."""

    worker: int
    task: Task
    message: Any


class Returned(NamedTuple):
    """What a task came to."""

    worker: int
    task: Task
    result: Any


class Died(NamedTuple):
    """A worker ended before its task did; fault: the signal or the status with which it ended."""

    worker: int
    task: Task
    fault: str


class WorkerError(RuntimeError):
    """No worker lives to begin."""


@dataclass(eq=False)
class _Worker:
    number: int
    process: SpawnProcess
    pipe: Connection[Any, Any]
    ready: bool = False
    task: Task = _NONE


class Workers:
    """`count` processes that each call prepare(number, say) and then do one task after the other; 0: this process does.

    prepare: a function that can be pickled. threads: what OMP_NUM_THREADS says to each, None for what it says here;
    has_children: whether a task may start processes of its own. What preparing or a task raises is raised here.
    """

    def __init__(self, prepare: Prepare, count: int, threads: int | None = None, *, has_children: bool = False) -> None:
        self._prepare, self._threads, self._daemon = prepare, threads, not has_children
        self._workers: dict[int, _Worker] = {}
        self._deaths: Counter[int] = Counter()
        self._said: list[Any] = []
        self._here: Do | None = None
        self._greeting: Any = _NONE
        if count == 0:
            self._greeting, self._here = prepare(0, self._said.append)
            return
        try:
            Path.cwd()
        except FileNotFoundError:  # no process starts in a folder that is gone, and no name within it means anything
            os.chdir(os.sep)
        try:
            for number in range(count):
                self._start(number)
        except OSError:  # no more processes, or no more open files: as many as the system gives
            if not self._workers:
                raise
        except BaseException:
            self.close()
            raise

    @property
    def greeting(self) -> Any:
        """What the first worker that was ready returned with its preparation."""
        while self._greeting is _NONE:
            for _ in self._listen(None):
                pass
        return self._greeting

    def run(self, tasks: Iterable[Task], tick: float | None = None) -> Iterator[Told | Returned | Died | None]:
        """What happens until all tasks are done, in the order in which it does; with `tick`, a None every so many
        seconds at least.

        tasks: a deque is emptied, and who reads these events may add to it: a task whose worker died, perhaps. Raises
        WorkerError where every worker died START_TRIES times before it was ready.
        """
        waiting = tasks if isinstance(tasks, deque) else deque(tasks)
        while self._here is not None and waiting:
            task = waiting.popleft()
            result = self._here(task)
            yield from (Told(0, task, message) for message in self._said)
            self._said.clear()
            yield Returned(0, task, result)
        while waiting or any(worker.task is not _NONE for worker in self._workers.values()):
            for worker in self._workers.values():
                if waiting and worker.ready and worker.task is _NONE and worker.process.is_alive():
                    worker.task = waiting.popleft()
                    with contextlib.suppress(OSError):  # it has died just now, which is noticed when it is listened to
                        worker.pipe.send(worker.task)
            yield from self._listen(tick)

    def kill(self, number: int) -> None:
        """End a worker whose task takes too long: a Died follows."""
        self._workers[number].process.kill()

    def close(self) -> None:
        """End all workers; what they have half written is removed."""
        for worker in self._workers.values():
            worker.process.terminate()
        end = time.monotonic() + _GRACE
        for worker in self._workers.values():
            worker.process.join(max(0.0, end - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._prepare, number), daemon=self._daemon)
        threads = {} if self._threads is None else {"OMP_NUM_THREADS": str(self._threads)}
        with theirs, guarded(**threads), _deaf_to_interrupts():  # closed, or its end would not be seen on our side
            process.start()
        self._workers[number] = _Worker(number, process, ours)

    def _listen(self, tick: float | None) -> Iterator[Told | Returned | Died | None]:
        """What the workers say until `tick` seconds have passed or one has spoken."""
        if not self._workers:
            raise WorkerError("no worker process is left")
        ready = wait([worker.pipe for worker in self._workers.values()], tick)
        for worker in [worker for worker in self._workers.values() if worker.pipe in ready]:
            if self._workers.get(worker.number) is not worker:  # closed meanwhile
                continue
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                yield from self._replace(worker)
                continue
            if kind == "told":
                yield Told(worker.number, worker.task, content)
                continue
            task, worker.task = worker.task, _NONE
            if kind == "raised":
                raise content
            if kind == "returned":
                yield Returned(worker.number, task, content)
            else:
                worker.ready = True
                self._deaths[worker.number] = 0
                self._greeting = content if self._greeting is _NONE else self._greeting
        if tick is not None:
            yield None

    def _replace(self, dead: _Worker) -> Iterator[Died]:
        """Another worker in the place of a dead one, unless that place has seen too many die before they began."""
        dead.process.join(_GRACE)
        dead.pipe.close()
        fault = _fault(dead.process.exitcode)
        self._deaths[dead.number] += not dead.ready
        if self._deaths[dead.number] < START_TRIES:
            self._start(dead.number)
        else:
            del self._workers[dead.number]
            if not self._workers:
                raise WorkerError(f"the worker processes end before they can begin ({fault})")
        if dead.task is not _NONE:
            yield Died(dead.number, dead.task, fault)


def python(*arguments: str) -> list[str]:
    """A command line of this Python, which does not import from the working folder."""
    return [sys.executable, "-P", *arguments]


@contextlib.contextmanager
def guarded(**environment: str) -> Iterator[None]:
    """No Python that is started meanwhile, by whatever library, imports from its working folder; PYTHONPATH holds.
    environment: more that what is started finds."""
    wanted = {"PYTHONSAFEPATH": "1", "NoDefaultCurrentDirectoryInExePath": "1", **environment}  # the latter on Windows
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started meanwhile does not hear Ctrl-C, which this process does."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say so; a worker says it again
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _serve(pipe: Connection[Any, Any], prepare: Prepare, number: int) -> None:
    """The life of a worker: make ready, then tasks in and what came of them out, until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half done is undone
    threading.Thread(target=_end_with_parent, daemon=True).start()
    do: list[Do] = []

    def made_ready() -> Any:
        greeting, work = prepare(number, lambda message: pipe.send(("told", message)))
        do.append(work)
        return greeting

    _answer(pipe, "greeting", made_ready)
    with contextlib.suppress(EOFError, OSError):  # the first process has gone
        while do:
            _answer(pipe, "returned", functools.partial(do[0], pipe.recv()))


def _answer(pipe: Connection[Any, Any], kind: str, call: Callable[[], Any]) -> None:
    """Send what `call` returns or raises."""
    try:
        pipe.send((kind, call()))
    except Exception as error:
        error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
        plain = ValueError if isinstance(error, ValueError | OSError) else RuntimeError
        for sent in (error, plain(str(error) or type(error).__name__)):  # not every exception can be sent
            with contextlib.suppress(Exception):
                copy.copy(sent)  # which makes it anew from its arguments, as the other side will
                pipe.send(("raised", sent))
                return


def _end_with_parent() -> None:
    """End this process when the one that started it has gone, and let it remove first what it has half written."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)


def _fault(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"
