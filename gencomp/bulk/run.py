"""A whole run: plan, leave out what is finished, let an engine work, sum up."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from gencomp import machine
from gencomp.bulk.claim import check_apart, claim
from gencomp.bulk.monitor import Monitor, Progress
from gencomp.bulk.plan import Shard, Source, find_shards, join
from gencomp.bulk.settings import Settings
from gencomp.bulk.shard import forget, table_of
from gencomp.bulk.status import Footer, Tally
from gencomp.bulk.storage import BULK, Place
from gencomp.bulk.workers import Event, Job, RunError, run_workers

SAMPLE_TIMEOUT = 1800.0
_READERS = 16
_WORKER_BYTES = 3 << 29  # a worker with a model, on images of some megapixels
_MOSTLY = 0.5  # a run in which more than this share of at least _ENOUGH samples failed is stopped
_ENOUGH = 200

Engine = Callable[[Job, Sequence[Shard]], Iterator[Event]]


class Result(NamedTuple):
    """tally: of this run and of what earlier ones had finished; run: of this one; broken: error by shard; source: what
    was found there, and what was left out.
    """

    tally: Tally
    run: Tally
    shards: int
    broken: dict[str, str]
    seconds: float
    source: Source


def default_jobs() -> int:
    """Processes for this machine: one a core, as memory allows."""
    return machine.processes_that_fit(_WORKER_BYTES)


def local_engine(jobs: int, timeout: float = SAMPLE_TIMEOUT) -> Engine:
    """`jobs` processes on this machine; timeout: seconds for one sample."""
    return lambda job, shards: run_workers(job, shards, jobs, timeout)


def run_bulk(
    source_url: str,
    destination_url: str,
    settings: Settings,
    *,
    engine: Engine | None = None,
    part: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
    overwrite: bool = False,
    quiet: bool = True,
) -> Result:
    """Bring every shard of a source, or of this machine's part of it, to a destination.

    engine: `local_engine(default_jobs())` by default. part: (i, n), this machine's number and how many there are.
    retry_failed, overwrite: as `transform_shard`; what failed because a file of another stood there is repeated, too.
    Call it from a script under `if __name__ == "__main__"`, for workers are spawned. Raises SourceError,
    SettingsError, RunError where it cannot go on, OSError.
    """
    source, destination = find_shards(source_url, settings), Place.of(destination_url)
    check_apart(source, destination, settings)
    claim(destination, source.place, settings)
    if source.whole:
        gone = tables_of(destination) - {shard.name for shard in source.shards}
        forget(destination, sorted(gone))
    shards = source.shards[part[0] :: part[1]]
    retry_failed = retry_failed or overwrite
    todo, before = survey(destination, shards, retry_failed)
    file = "status.json" if part[1] == 1 else f"status-{part[0]:04d}-of-{part[1]:04d}.json"
    monitor = Monitor(Progress.of(todo, before), destination, file, quiet)
    job = Job(source.place, destination, settings, retry_failed, overwrite)
    try:
        _follow((engine or local_engine(default_jobs()))(job, todo) if todo else iter(()), monitor)
    finally:
        destination.clear_parts({shard.name for shard in todo})  # of workers that a run's end has cut off
    progress = monitor.progress
    return Result(before + progress.now, progress.now, len(shards), progress.broken, monitor.elapsed, source)


def survey(destination: Place, shards: Sequence[Shard], retry_failed: bool = False) -> tuple[list[Shard], Tally]:
    """The shards that are to be done, and the sum over those that are finished."""
    todo, before = [], Tally()
    for shard, footer in footers_of(destination, shards):
        if footer is None or (retry_failed and footer.tally.failed):
            todo.append(shard)
        else:
            before += footer.tally
    return todo, before


def footers_of(destination: Place, shards: Sequence[Shard]) -> Iterator[tuple[Shard, Footer | None]]:
    """Each shard with its table's footer, None where it is not finished: its inputs or outputs are not as it says.

    Many are read at once, for object stores answer slowly; none is kept.
    """
    if not destination.exists(f"{BULK}/status"):
        yield from ((shard, None) for shard in shards)
        return

    def footer_of(shard: Shard) -> Footer | None:
        footer, intact = table_of(destination, shard)
        return footer if intact else None

    with ThreadPoolExecutor(_READERS) as pool:
        yield from zip(shards, pool.map(footer_of, shards))


def tables_of(destination: Place) -> set[str]:
    """The names of the shards that have a table with rows, or had."""
    root = f"{BULK}/status"
    names, waiting = set[str](), [""] if destination.exists(root) else []
    while waiting:
        folder = waiting.pop()
        listing = destination.list(join(root, folder) if folder else root)
        names |= {join(folder, name.removesuffix(".parquet")) for name in listing.files if name.endswith(".parquet")}
        waiting += [join(folder, inner) for inner in listing.folders]
    return names


def _follow(events: Iterator[Event], monitor: Monitor) -> None:
    """Show events until they end; RunError where the run has to stop."""
    state = "interrupted"
    try:
        for event in events:
            monitor.hear(event)
            if event is None and (error := _mostly_failing(monitor.progress.run)):
                raise RunError(error)
        state = "finished"
    except RunError as error:
        state, monitor.progress.stopped = "stopped", str(error)
        raise
    finally:
        if isinstance(events, Generator):
            events.close()
        monitor.close(state)


def _mostly_failing(run: Tally) -> str | None:
    if run.samples < _ENOUGH or run.failed <= _MOSTLY * run.samples:
        return None
    return f"{run.failed:,} of {run.samples:,} samples failed: is this the right source, and the right model?"
