"""A whole run: plan, leave out what is finished, let an engine work, sum up; and a forecast from some of the images."""

import functools
import math
import statistics
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from gencomp import machine
from gencomp.bulk.monitor import Monitor, Progress
from gencomp.bulk.parquet import read_images
from gencomp.bulk.plan import Shard, ShardedSource, find_shards, join, samples
from gencomp.bulk.settings import Settings, check_apart, claim
from gencomp.bulk.shard import forget, table_of
from gencomp.bulk.status import DONE, Footer, SampleRow, SampleTally, tally_of
from gencomp.bulk.storage import BULK, Storage
from gencomp.bulk.tar import images_of_tar
from gencomp.bulk.transform import SampleRecorder, Transform
from gencomp.bulk.workers import Event, Job, RunError, run_workers

SAMPLE_TIMEOUT = 1800.0
_READERS = 16
_WORKER_BYTES = 3 << 29  # a worker with a model, on images of some megapixels
_MOSTLY = 0.5  # a run in which more than this share of at least _ENOUGH samples failed is stopped
_ENOUGH = 200
SAMPLES = 100  # of a forecast, from so many shards:
_SHARDS = 20

Engine = Callable[[Job, Sequence[Shard]], Iterator[Event]]


class Result(NamedTuple):
    """tally: of this run and of what earlier ones had finished; run: of this one; broken: error by shard; source: what
    was found there, and what was left out.
    """

    tally: SampleTally
    run: SampleTally
    shards: int
    broken: dict[str, str]
    seconds: float
    source: ShardedSource


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
    Call it from a script under `if __name__ == "__main__"`, for workers are spawned. Raises BulkSourceError,
    SettingsError, RunError where it cannot go on, OSError.
    """
    source, destination = find_shards(source_url, settings), Storage.of(destination_url)
    check_apart(source, destination, settings)
    claim(destination, source.place, settings)
    if source.whole:
        gone = tables_of(destination) - {shard.name for shard in source.shards}
        forget(destination, sorted(gone))
    shards = source.shards[part[0] :: part[1]]
    retry_failed = retry_failed or overwrite
    todo, before = survey(destination, shards, retry_failed)
    file = "status.json" if part[1] == 1 else f"status-{part[0]:04d}-of-{part[1]:04d}.json"
    monitor = Monitor(Progress({shard.name: shard.weight for shard in todo}, before), destination, file, quiet)
    job = Job(source.place, destination, settings, retry_failed, overwrite)
    try:
        _follow((engine or local_engine(default_jobs()))(job, todo) if todo else iter(()), monitor)
    finally:
        destination.clear_parts({shard.name for shard in todo})  # of workers that a run's end has cut off
    progress = monitor.progress
    return Result(before + progress.now, progress.now, len(shards), progress.broken, monitor.elapsed, source)


def survey(
    destination: Storage, shards: Sequence[Shard], retry_failed: bool = False
) -> tuple[list[Shard], SampleTally]:
    """The shards that are to be done, and the sum over those that are finished."""
    todo, before = [], SampleTally()
    for shard, footer in footers_of(destination, shards):
        if footer is None or (retry_failed and footer.tally.failed):
            todo.append(shard)
        else:
            before += footer.tally
    return todo, before


def footers_of(destination: Storage, shards: Sequence[Shard]) -> Iterator[tuple[Shard, Footer | None]]:
    """Each shard with its table's footer, None where it is not finished: its inputs or outputs are not as it says. Many
    are read at once, for object stores answer slowly; none is kept."""
    if not destination.exists(f"{BULK}/status"):
        yield from ((shard, None) for shard in shards)
        return

    with ThreadPoolExecutor(_READERS) as pool:
        tables = pool.map(functools.partial(table_of, destination), shards)
        yield from ((shard, footer if intact else None) for shard, (footer, intact) in zip(shards, tables))


def tables_of(destination: Storage) -> set[str]:
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
    state = "interrupted"
    try:
        for event in events:
            monitor.hear(event)
            run = monitor.progress.run if event is None else SampleTally()
            if run.samples >= _ENOUGH and run.failed > _MOSTLY * run.samples:
                many = f"{run.failed:,} of {run.samples:,} samples failed"
                raise RunError(f"{many}: is this the right source, and the right model?")
        state = "finished"
    except RunError as error:
        state, monitor.progress.stopped = "stopped", str(error)
        raise
    finally:
        if isinstance(events, Generator):
            events.close()
        monitor.close(state)


class Forecast(NamedTuple):
    """sampled, failed: images tried; images, bytes_in, bytes_out: of the whole data set; margin: of bytes_out, as a
    share, two standard errors; core_hours: on cores like this one; seconds: per image.
    """

    sampled: int
    failed: int
    images: float
    bytes_in: float
    bytes_out: float
    margin: float
    core_hours: float
    seconds: float
    megapixels_per_second: float


def forecast(source: ShardedSource, transform: Transform, tried: Callable[[], None], count: int = SAMPLES) -> Forecast:
    """Code about `count` images from up to 20 shards spread over the source; tried: called after each.

    Bytes follow from the ratio of bytes out and in, the number of images from the bytes of the shards that were read:
    exact for folders, an estimate for tar and parquet files. ValueError where no image can be had.
    """
    most = min(_SHARDS, len(source.shards))
    chosen = [source.shards[(2 * i + 1) * len(source.shards) // (2 * most)] for i in range(most)]
    recorder = SampleRecorder(transform)
    images = weight = 0.0
    for shard in chosen:
        drawn, holds = _draw(source.place, shard, transform.settings, math.ceil(count / len(chosen)))
        if shard.kind != "folder":
            images, weight = images + holds, weight + shard.weight
        for name, data in drawn:
            recorder.code(name, lambda data=data: data, lambda: None)  # type: ignore[misc]
            tried()
    if not recorder.rows:
        raise ValueError("no image among the samples that were tried")
    files = sum(shard.weight for shard in source.shards if shard.kind != "folder")
    in_folders = sum(shard.stop - shard.start for shard in source.shards)
    return _predict(recorder.rows, in_folders + (images * files / weight if weight else 0.0))


def _predict(rows: Sequence[SampleRow], images: float) -> Forecast:
    tally = tally_of(rows)
    done, sizes = [row for row in rows if row.status == DONE], [row.bytes_out or 0 for row in rows]
    read, written = statistics.fmean(row.bytes_in or 0 for row in rows), statistics.fmean(sizes)
    margin = 2 * statistics.pstdev(sizes) / math.sqrt(len(rows)) / written if written else 0.0
    seconds = tally.worker_seconds / len(rows)
    speed = tally.pixels / 1e6 / sum(row.seconds for row in done) if done else 0.0
    hours = images * seconds / 3600
    return Forecast(len(rows), tally.failed, images, images * read, images * written, margin, hours, seconds, speed)


def _draw(place: Storage, shard: Shard, settings: Settings, count: int) -> tuple[list[tuple[str, bytes]], float]:
    if shard.kind == "folder":
        names = samples(place, shard.path, place.list(shard.path).files, settings)[shard.start : shard.stop]
        some = names[:: max(1, len(names) // count)][:count]
        return [(name, place.read(join(shard.path, name))) for name in some], len(names)
    with place.open(shard.path) as file:
        if shard.kind == "parquet":
            rows, images = read_images(file, settings.column)
            return [(str(row), data) for row, data in enumerate(islice(images, count))], rows
        drawn = list(islice(images_of_tar(file, settings), count))
        seen = min(file.tell(), shard.weight)
        return drawn, len(drawn) * shard.weight / max(seen, 1)
