"""Processes on this machine that bring shards over, and what happens when one of them dies.

Each worker has its own pipe, so that one that is killed in the middle of a word spoils nothing of the others. A worker
is started afresh ("spawn": torch must not be forked), codes with one thread, and ends at once when the coordinating
process does. The shard of a worker that died is done again; a sample in whose middle DEATHS workers died, or one that
takes longer than the timeout, is reported as failed and not tried again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from gencomp.bulk.events import Broken, Event, Finished, Lost, Sampled, Stopped, Tick
from gencomp.bulk.plan import Shard
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import Row
from gencomp.bulk.storage import DestinationError, Place

DEATHS, DEATHS_AT_START = 3, 10
_TICK = 0.5  # seconds


class Job(NamedTuple):
    """What every worker of a run is told."""

    source: Place
    destination: Place
    settings: Settings
    retry_failed: bool


class _Begun(NamedTuple):
    sample: str


class _Ready(NamedTuple):
    pass


def run_workers(job: Job, shards: Sequence[Shard], jobs: int, timeout: float) -> Iterator[Event]:
    """Bring all shards over with `jobs` processes; yields what happens, and a Tick now and then.

    timeout: seconds for one sample. Ends after a Stopped event, or when each shard is Finished or Broken.
    """
    crew = _Crew(job, deque(shards), timeout)
    try:
        for index in range(min(jobs, len(shards))):
            crew.hire(index)
        while crew.workers:
            yield from crew.listen()
    finally:
        crew.dismiss()


@dataclass
class _Worker:
    index: int
    process: Any
    pipe: Connection
    shard: Shard | None = None
    sample: str | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Crew:
    job: Job
    waiting: deque[Shard]
    timeout: float
    workers: list[_Worker] = field(default_factory=list)
    deaths: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    poison: dict[str, dict[str, str]] = field(default_factory=dict)

    def hire(self, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.job, index), daemon=True)
        process.start()
        theirs.close()  # else the end of the worker would not be seen on our side
        self.workers.append(_Worker(index, process, ours))

    def dismiss(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()
        self.workers.clear()

    def listen(self) -> Iterator[Event]:
        """What the workers say until the next tick."""
        ready = wait([worker.pipe for worker in self.workers], _TICK)
        for worker in [worker for worker in self.workers if worker.pipe in ready]:
            if worker not in self.workers:  # all were dismissed
                return
            try:
                yield from self._heard(worker, worker.pipe.recv())
            except (EOFError, ConnectionError):
                yield from self._died(worker)
        for worker in self.workers:
            if worker.sample is not None and time.monotonic() - worker.since > self.timeout:
                assert worker.shard is not None
                error = f"took longer than {self.timeout:g} seconds"
                self.poison.setdefault(worker.shard.name, {})[worker.sample] = error
                worker.process.kill()  # it is found dead at the next turn
        yield Tick()

    def _heard(self, worker: _Worker, said: Any) -> Iterator[Event]:
        worker.since = time.monotonic()
        if isinstance(said, _Begun):
            worker.sample = said.sample
            return
        worker.sample = None
        if isinstance(said, _Ready | Finished | Broken):
            self.deaths.pop(("", None), None)
            self._give(worker)
        if not isinstance(said, _Ready):
            yield said
        if isinstance(said, Stopped):
            self.dismiss()

    def _give(self, worker: _Worker) -> None:
        worker.shard = self.waiting.popleft() if self.waiting else None
        try:
            worker.pipe.send(worker.shard and (worker.shard, self.poison.get(worker.shard.name, {})))
        except OSError:  # it died just now, which is found at the next turn
            return
        if worker.shard is None:
            self._forget(worker)

    def _died(self, worker: _Worker) -> Iterator[Event]:
        self._forget(worker)
        name = worker.shard.name if worker.shard else ""
        self.deaths[name, worker.sample] += 1
        if self.deaths[name, worker.sample] >= (DEATHS if name else DEATHS_AT_START):
            if worker.shard is None:
                yield Stopped(f"the processes die before they begin (exit status {worker.process.exitcode})")
                self.dismiss()
                return
            error = f"its process died {DEATHS} times (exit status {worker.process.exitcode}; out of memory?)"
            if worker.sample is None:
                yield Broken(name, error)
                worker.shard = None
            else:
                self.poison.setdefault(name, {})[worker.sample] = error
        if worker.shard is not None:
            yield Lost(name)
            self.waiting.appendleft(worker.shard)
        self.hire(worker.index)

    def _forget(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.process.join()
        worker.pipe.close()


def _work(pipe: Connection, job: Job, index: int) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinating process's affair
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    from gencomp.bulk.claim import claim
    from gencomp.bulk.recorder import Watch
    from gencomp.bulk.shard import transform_shard
    from gencomp.bulk.transform import Transform
    from gencomp.cli.group import explain

    class Pipe(Watch):
        def begin(self, sample: str) -> None:
            pipe.send(_Begun(sample))

        def end(self, row: Row) -> None:
            pipe.send(Sampled(shard.name, row._replace(thumbnail=None)))

    try:
        transform = Transform(replace(job.settings, device=_own_device(job.settings.device, index)))
        claim(job.destination, job.settings, transform.model_id)
        pipe.send(_Ready())
        while (given := pipe.recv()) is not None:
            shard, poison = given
            try:
                tally = transform_shard(
                    job.source,
                    shard,
                    job.destination,
                    transform,
                    retry_failed=job.retry_failed,
                    poison=poison,
                    watch=Pipe(),
                )
                pipe.send(Finished(shard.name, tally))
            except (DestinationError, BrokenPipeError):
                raise
            except Exception as error:
                pipe.send(Broken(shard.name, explain(error)))
    except BrokenPipeError:  # nobody listens any more
        return
    except Exception as error:
        pipe.send(Stopped(explain(error)))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _own_device(device: str, index: int) -> str:
    """One of several GPUs in turn; "auto" and "cpu" stay unless there is a GPU."""
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{index % count}" if count else device
