"""Watching a run: one line of progress, and a status file for whoever looks from elsewhere."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import click

from gencomp.bulk.status import SampleTally
from gencomp.bulk.storage import BULK, Storage
from gencomp.bulk.workers import Broken, Event, Finished, Lost, Sampled

_BAR_EVERY, _FILE_EVERY, _LINE_EVERY = 0.5, 5.0, 60.0  # seconds


@dataclass
class Progress:
    """Where a run stands. Of shards under way it holds a tally and no rows, so it does not grow with the samples.
    shards: weights by name; before: what earlier runs finished, which counts for the totals and not for the speed."""

    shards: dict[str, int]
    before: SampleTally = field(default_factory=SampleTally)
    now: SampleTally = field(default_factory=SampleTally)
    under_way: dict[str, SampleTally] = field(default_factory=dict)
    finished: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    stopped: str | None = None
    weight_done: int = 0
    started: float = field(default_factory=time.time)

    def hear(self, event: Event) -> None:
        if isinstance(event, Sampled):
            self.under_way.setdefault(event.shard, SampleTally()).add(event.row)
            return
        if event is not None:
            self.under_way.pop(event.shard, None)
        if isinstance(event, Lost):
            self.lost += 1
        elif isinstance(event, Finished):
            self.now += event.tally
            self.finished += 1
            self.weight_done += self.shards[event.shard]
        elif isinstance(event, Broken):
            self.broken[event.shard] = event.error
            self.weight_done += self.shards[event.shard]

    @property
    def run(self) -> SampleTally:
        """This run alone, shards under way included."""
        return sum(self.under_way.values(), self.now)

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1, by bytes read."""
        total = sum(self.shards.values())
        under_way = sum(min(tally.bytes_in, self.shards[name]) for name, tally in self.under_way.items())
        return (self.weight_done + under_way) / total if total else 1.0

    def seconds_left(self, elapsed: float) -> float | None:
        share = self.share
        return elapsed * (1 - share) / share if share > 0 else None


class Monitor:
    """Shows and stores a run's progress. quiet: no line at all; the status file is written all the same."""

    def __init__(self, progress: Progress, destination: Storage, file: str, quiet: bool) -> None:
        from tqdm import tqdm

        self.progress, self._destination, self._file = progress, destination, f"{BULK}/{file}"
        shows = not quiet and sys.stderr.isatty()
        self._bar = tqdm(total=1000, bar_format="{percentage:3.0f}%|{bar:20}|{postfix}") if shows else None
        self._lines = not quiet and self._bar is None
        self._shown = self._stored = self._said = self._began = time.monotonic()

    def hear(self, event: Event) -> None:
        self.progress.hear(event)
        now = time.monotonic()
        if now - self._shown >= _BAR_EVERY:
            self._shown = now
            self._draw()
        if self._lines and now - self._said >= _LINE_EVERY:
            self._said = now
            click.echo(self.line(), err=True)
        if now - self._stored >= _FILE_EVERY:
            self._stored = now
            self._store("running")

    def close(self, state: str) -> None:
        """state: "finished", "stopped" or "interrupted"."""
        self._draw()
        if self._bar is not None:
            self._bar.close()
        self._store(state)

    def line(self) -> str:
        """images, images and megapixels per second, bytes saved, failures, time left."""
        run, elapsed = self.progress.run, self.elapsed
        return (
            f"{self.progress.share:.1%}, {run.samples:,} images, {run.samples / elapsed:.1f} images/s, "
            f"{run.pixels / 1e6 / elapsed:.2f} megapixels/s, {size_text(run.bytes_in - run.bytes_out)} saved, "
            f"{run.failed:,} failed, {time_text(self.progress.seconds_left(elapsed))} left"
        )

    @property
    def elapsed(self) -> float:
        return max(time.monotonic() - self._began, 1e-3)

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.n = round(1000 * self.progress.share)
            self._bar.set_postfix_str(self.line().partition(", ")[2])

    def _store(self, state: str) -> None:
        progress, run, elapsed = self.progress, self.progress.run, self.elapsed
        total, form = progress.before + run, "%Y-%m-%dT%H:%M:%SZ"
        counted = ("done", "skipped", "failed", "pixels", "bytes_in", "bytes_out")
        share, left = round(progress.share, 4), progress.seconds_left(elapsed)
        record: dict[str, Any] = {"state": state, "share": share, "shards": len(progress.shards)}
        record |= {"shards_finished": progress.finished, "shards_broken": progress.broken}
        record |= {"workers_lost": progress.lost, "error": progress.stopped}
        record |= {name: getattr(total, name) for name in counted}
        record |= {"images_per_second": round(run.samples / elapsed, 3)}
        record |= {"megapixels_per_second": round(run.pixels / 1e6 / elapsed, 4)}
        record |= {"seconds": round(elapsed, 1), "seconds_left": left}
        record |= {"started": time.strftime(form, time.gmtime(progress.started))}
        record |= {"updated": time.strftime(form, time.gmtime()), "host": socket.gethostname(), "pid": os.getpid()}
        with contextlib.suppress(OSError):  # the next one, or the outputs, will say what is wrong
            self._destination.publish(json.dumps(record, indent=2).encode() + b"\n", self._file)


def size_text(size: float) -> str:
    """Bytes for people: 1.2 MB."""
    sign, size = "-" if size < 0 else "", abs(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{sign}{size:.3g} {unit}" if unit != "B" else f"{sign}{size:.0f} B"
        size /= 1000
    return f"{sign}{size:.3g} PB"


def time_text(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
