"""Shards on a Ray cluster, by Ray Data.

The rows of the data set are the names of shards, not images: an actor reads its shard and writes it by itself, so that
blocks are a few bytes however large the images are, and nothing passes through the object store. Ray starts a dead
actor again and repeats its shard; one that is finished answers at once.
"""

import contextlib
import json
import logging
import os
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from gencomp.bulk.plan import Shard
from gencomp.bulk.run import SAMPLE_TIMEOUT, Engine
from gencomp.bulk.status import SampleTally
from gencomp.bulk.storage import BULK
from gencomp.bulk.workers import DEATHS, Broken, Event, Finished, Job, RunError, run_workers
from gencomp.processes import guarded


class ShardActor:
    """The class that Ray Data makes once per actor: it loads the model, then brings over shard after shard."""

    def __init__(self, job: Job) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; Ray runs one actor a processor
        from gencomp.bulk.settings import claim
        from gencomp.bulk.transform import Transform

        self.job = job
        self.transform = Transform(job.settings)
        claim(job.destination, job.source, job.settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """One shard's fields in; its name and tally, or the error, out."""
        from gencomp.bulk.storage import DestinationError
        from gencomp.cli.group import explain

        shard = Shard(**row)
        answer = {"shard": shard.name, "tally": "", "error": "", "stop": False}
        try:
            return {**answer, "tally": json.dumps(self._bring(shard).to_json())}
        except Exception as error:
            return {**answer, "error": explain(error), "stop": isinstance(error, DestinationError)}

    def _bring(self, shard: Shard) -> SampleTally:
        """In this process; but in one of its own, as on a single machine, where actors have died of this shard. Ray
        repeats what a dead actor was at for ever, and does not know which image it was."""
        from gencomp.bulk.shard import transform_shard

        job = self.job
        attempts = f"{BULK}/attempts/{shard.name}"
        begun = int(job.destination.read(attempts)) if job.destination.exists(attempts) else 0
        job.destination.publish(str(begun + 1).encode(), attempts)
        if begun < DEATHS:
            again: dict[str, Any] = {"retry_failed": job.retry_failed, "overwrite": job.overwrite}
            tally = transform_shard(job.source, shard, job.destination, self.transform, **again)
        else:
            events = run_workers(job, [shard], 1, SAMPLE_TIMEOUT)
            event = next(event for event in events if isinstance(event, Finished | Broken))
            if isinstance(event, Broken):
                raise RunError(event.error)
            tally = event.tally
        job.destination.remove(attempts)
        return tally


def ray_engine(jobs: int, address: str | None = None, gpus_per_worker: float = 0.0) -> Engine:
    """`jobs` actors with a processor each, and with `gpus_per_worker` of a GPU.

    address: of a cluster to join, "auto" for the one that this machine is part of; None starts Ray here. The extra
    `ray` installs it.
    """

    def run(job: Job, shards: Sequence[Shard]) -> Iterator[Event]:
        import ray
        import ray.data

        begun_here = not ray.is_initialized()
        if begun_here:
            local: dict[str, Any] = {} if address else {"num_cpus": jobs, "include_dashboard": False}
            # Actors import from the folder that this is called in before all else: one without photographs.
            with guarded(), contextlib.chdir(sysconfig.get_path("stdlib")):
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
        ray.data.DataContext.get_current().enable_progress_bars = False
        device = job.settings.device if job.settings.device != "auto" or gpus_per_worker else "cpu"
        job = job._replace(settings=replace(job.settings, device=device))
        try:
            rows = ray.data.from_items([shard._asdict() for shard in shards], override_num_blocks=len(shards))
            share: dict[str, Any] = {"concurrency": min(jobs, len(shards)), "num_cpus": 1, "num_gpus": gpus_per_worker}
            actor = cast(Any, ShardActor)  # a class is made once per actor, then called
            answers = rows.map(actor, fn_constructor_args=(job,), **share)
            for answer in answers.iter_rows():
                if answer["stop"]:
                    raise RunError(answer["error"])
                if answer["error"]:
                    yield Broken(answer["shard"], answer["error"])
                else:
                    yield Finished(answer["shard"], SampleTally.from_json(json.loads(answer["tally"])))
        finally:
            if begun_here:
                ray.shutdown()

    return run
