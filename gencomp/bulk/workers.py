"""Processes on this machine that bring shards over, and what happens when one of them dies.

Each codes with one thread. The shard of a worker that died is done again; a sample in whose middle DEATHS workers died,
or one that takes longer than the timeout, is reported as failed and not tried again.
"""

import functools
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from gencomp.bulk.plan import Shard
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import SampleRow, SampleTally
from gencomp.bulk.storage import DestinationError, Storage
from gencomp.cli.group import explain
from gencomp.processes import Died, Do, Returned, Say, Told, Workers

DEATHS = 3
_TICK = 0.5  # seconds


class RunError(ValueError):
    """The run stopped before its end (a full disk, no model that can be loaded); the same command goes on."""


class Sampled(NamedTuple):
    """A sample of a shard was tried; row: without its thumbnail."""

    shard: str
    row: SampleRow


class Finished(NamedTuple):
    """A shard's output and status table stand."""

    shard: str
    tally: SampleTally


class Broken(NamedTuple):
    """A shard cannot be brought over in this run: it cannot be read, or its processes die."""

    shard: str
    error: str


class Lost(NamedTuple):
    """A worker died; its shard begins again."""

    shard: str


Event = Sampled | Finished | Broken | Lost | None
"""What an engine says while it works; None: time has passed."""


class Job(NamedTuple):
    """What every worker of a run is told."""

    source: Storage
    destination: Storage
    settings: Settings
    retry_failed: bool
    overwrite: bool = False


Attempt = tuple[Shard, dict[str, str]]  # a worker's task, and the error of each sample that is not to be tried


def run_workers(job: Job, shards: Sequence[Shard], jobs: int, timeout: float) -> Iterator[Event]:
    """Bring all shards over with `jobs` processes; yields what happens, and None now and then. timeout: seconds for one
    sample. Ends when each shard is Finished or Broken; RunError where it cannot go on."""
    with Workers(functools.partial(_prepare, job), min(jobs, len(shards)), threads=1) as workers:
        run = _Run(workers, deque((shard, dict[str, str]()) for shard in shards), timeout)
        try:
            for event in workers.run(run.waiting, _TICK):
                yield from run.heard(event)
        except Exception as error:  # no worker lives, or none can go on
            raise RunError(explain(error)) from error


@dataclass
class _Run:
    workers: Workers
    waiting: deque[Attempt]
    timeout: float
    begun: dict[int, tuple[str, float]] = field(default_factory=dict)  # the sample of each worker, and since when
    late: set[int] = field(default_factory=set)  # workers that were ended for their sample
    deaths: Counter[tuple[str, str | None]] = field(default_factory=Counter)

    def heard(self, event: Told | Returned | Died | None) -> Iterator[Event]:
        if event is None:
            for number, (_, since) in self.begun.items():
                if time.monotonic() - since > self.timeout and number not in self.late:
                    self.late.add(number)
                    self.workers.kill(number)
            yield None
            return
        if isinstance(event, Told) and isinstance(event.message, str):
            self.begun[event.worker] = event.message, time.monotonic()
            return
        sample, _ = self.begun.pop(event.worker, (None, 0.0))
        if isinstance(event, Died):
            yield from self._died(event, sample)
        else:
            yield event.message if isinstance(event, Told) else event.result

    def _died(self, event: Died, sample: str | None) -> Iterator[Event]:
        shard, fatal = event.task
        self.deaths[shard.name, sample] += 1
        if event.worker in self.late:
            self.late.remove(event.worker)
            fatal = {**fatal, str(sample): f"took longer than {self.timeout:g} seconds"}
        elif self.deaths[shard.name, sample] >= DEATHS:
            error = f"its process died {DEATHS} times ({event.fault}; out of memory?)"
            if sample is None:
                yield Broken(shard.name, error)
                return
            fatal = {**fatal, sample: error}
        yield Lost(shard.name)
        self.waiting.appendleft((shard, fatal))


def _prepare(job: Job, number: int, say: Say) -> tuple[None, Do]:
    from gencomp.bulk.settings import claim
    from gencomp.bulk.shard import transform_shard
    from gencomp.bulk.transform import Transform

    transform = Transform(replace(job.settings, device=_own_device(job.settings.device, number)))
    claim(job.destination, job.source, job.settings)

    def bring(attempt: Attempt) -> Finished | Broken:
        shard, fatal = attempt

        def hear(what: str | SampleRow) -> None:
            small = what if isinstance(what, str) else what._replace(thumbnail=None, decoded=None)
            say(small if isinstance(small, str) else Sampled(shard.name, small))

        again: dict[str, Any] = {"retry_failed": job.retry_failed, "overwrite": job.overwrite}
        try:
            tally = transform_shard(job.source, shard, job.destination, transform, **again, fatal=fatal, hear=hear)
            return Finished(shard.name, tally)
        except (DestinationError, BrokenPipeError):
            raise
        except Exception as error:
            return Broken(shard.name, explain(error))

    return None, bring


def _own_device(device: str, index: int) -> str:
    """One of several GPUs in turn; "auto" and "cpu" stay unless there is a GPU."""
    if device == "cpu":
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{index % count}" if count else device
