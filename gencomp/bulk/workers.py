"""Processes on this machine that bring shards over, and what happens when one of them dies.

Each codes with one thread. The shard of a worker that died is done again; a sample in whose middle DEATHS workers died,
or one that takes longer than the timeout, is reported as failed and not tried again.
"""

from __future__ import annotations

import functools
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gencomp.bulk.events import Broken, Event, Finished, Lost, Sampled, Stopped, Tick
from gencomp.bulk.plan import Shard
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import Row
from gencomp.bulk.storage import DestinationError, Place
from gencomp.cli.group import explain
from gencomp.processes import Died, Do, Returned, Say, Told, Workers

DEATHS = 3
_TICK = 0.5  # seconds


class Job(NamedTuple):
    """What every worker of a run is told."""

    source: Place
    destination: Place
    settings: Settings
    retry_failed: bool
    overwrite: bool = False


class Attempt(NamedTuple):
    """A worker's task. poison: the error of each sample that is not to be tried."""

    shard: Shard
    poison: dict[str, str]


class _Begun(NamedTuple):
    sample: str


def run_workers(job: Job, shards: Sequence[Shard], jobs: int, timeout: float) -> Iterator[Event]:
    """Bring all shards over with `jobs` processes; yields what happens, and a Tick now and then.

    timeout: seconds for one sample. Ends after a Stopped event, or when each shard is Finished or Broken.
    """
    with Workers(functools.partial(_prepare, job), min(jobs, len(shards)), threads=1) as workers:
        run = _Run(workers, deque(Attempt(shard, {}) for shard in shards), timeout)
        try:
            for event in workers.run(run.waiting, _TICK):
                yield from run.heard(event)
        except Exception as error:  # no worker lives, or none can go on
            yield Stopped(explain(error))


@dataclass
class _Run:
    workers: Workers
    waiting: deque[Attempt]
    timeout: float
    begun: dict[int, tuple[str, float]] = field(default_factory=dict)  # the sample of each worker, and since when
    late: set[int] = field(default_factory=set)  # workers that were ended for their sample
    deaths: Counter[tuple[str, str | None]] = field(default_factory=Counter)

    def heard(self, event: Told | Returned | Died | None) -> Iterator[Event]:
        """What the events of the workers mean for the run."""
        if event is None:
            for number, (_, since) in self.begun.items():
                if time.monotonic() - since > self.timeout and number not in self.late:
                    self.late.add(number)
                    self.workers.kill(number)
            yield Tick()
            return
        if isinstance(event, Told) and isinstance(event.message, _Begun):
            self.begun[event.worker] = event.message.sample, time.monotonic()
            return
        sample, _ = self.begun.pop(event.worker, (None, 0.0))
        if isinstance(event, Died):
            yield from self._died(event, sample)
        else:
            yield event.message if isinstance(event, Told) else event.result

    def _died(self, event: Died, sample: str | None) -> Iterator[Event]:
        shard, poison = event.task
        self.deaths[shard.name, sample] += 1
        if event.worker in self.late:
            self.late.remove(event.worker)
            poison = {**poison, str(sample): f"took longer than {self.timeout:g} seconds"}
        elif self.deaths[shard.name, sample] >= DEATHS:
            error = f"its process died {DEATHS} times ({event.fault}; out of memory?)"
            if sample is None:
                yield Broken(shard.name, error)
                return
            poison = {**poison, sample: error}
        yield Lost(shard.name)
        self.waiting.appendleft(Attempt(shard, poison))


def _prepare(job: Job, number: int, say: Say) -> tuple[None, Do]:
    from gencomp.bulk.claim import claim
    from gencomp.bulk.recorder import Watch
    from gencomp.bulk.shard import transform_shard
    from gencomp.bulk.transform import Transform

    transform = Transform(replace(job.settings, device=_own_device(job.settings.device, number)))
    claim(job.destination, job.source, job.settings)

    class Speaking(Watch):
        def __init__(self, shard: str) -> None:
            self.shard = shard

        def begin(self, sample: str) -> None:
            say(_Begun(sample))

        def end(self, row: Row) -> None:
            say(Sampled(self.shard, row._replace(thumbnail=None, decoded=None)))

    def bring(attempt: Attempt) -> Finished | Broken:
        shard, poison = attempt
        try:
            tally = transform_shard(
                job.source,
                shard,
                job.destination,
                transform,
                retry_failed=job.retry_failed,
                overwrite=job.overwrite,
                poison=poison,
                watch=Speaking(shard.name),
            )
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
