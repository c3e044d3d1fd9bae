"""A forecast: some images are coded, nothing is written, and the whole is predicted from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from gencomp.bulk.parquet import read_images
from gencomp.bulk.plan import Shard, Source, join, samples
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import DONE, Row, tally_of
from gencomp.bulk.storage import Place
from gencomp.bulk.tar import images_of_tar
from gencomp.bulk.transform import Recorder, Transform

SAMPLES = 100
_SHARDS = 20


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


def forecast(source: Source, transform: Transform, tried: Callable[[], None], count: int = SAMPLES) -> Forecast:
    """Code about `count` images from up to 20 shards spread over the source; tried: called after each.

    Bytes follow from the ratio of bytes out and in, the number of images from the bytes of the shards that were read:
    exact for folders, an estimate for tar and parquet files. ValueError where no image can be had.
    """
    most = min(_SHARDS, len(source.shards))
    chosen = [source.shards[(2 * i + 1) * len(source.shards) // (2 * most)] for i in range(most)]
    recorder = Recorder(transform)
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


def _predict(rows: Sequence[Row], images: float) -> Forecast:
    tally = tally_of(rows)
    done = [row for row in rows if row.status == DONE]
    read = sum(row.bytes_in or 0 for row in rows) / len(rows)
    written = sum(row.bytes_out or 0 for row in rows) / len(rows)
    spread = sum((row.bytes_out or 0) ** 2 for row in rows) / len(rows) - written**2
    margin = 2 * math.sqrt(max(spread, 0) / len(rows)) / written if written else 0.0
    seconds = tally.worker_seconds / len(rows)
    speed = tally.pixels / 1e6 / sum(row.seconds for row in done) if done else 0.0
    hours = images * seconds / 3600
    return Forecast(len(rows), tally.failed, images, images * read, images * written, margin, hours, seconds, speed)


def _draw(place: Place, shard: Shard, settings: Settings, count: int) -> tuple[list[tuple[str, bytes]], float]:
    """Names and files of some images of a shard, and how many it holds."""
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
