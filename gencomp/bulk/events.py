"""What an engine says while it works."""

from __future__ import annotations

from typing import NamedTuple

from gencomp.bulk.status import Row, Tally


class Sampled(NamedTuple):
    """A sample of a shard was tried; row: without its thumbnail."""

    shard: str
    row: Row


class Finished(NamedTuple):
    """A shard's output and status table stand."""

    shard: str
    tally: Tally


class Broken(NamedTuple):
    """A shard cannot be brought over in this run: it cannot be read, or its processes die."""

    shard: str
    error: str


class Lost(NamedTuple):
    """A worker died; its shard begins again."""

    shard: str


class Stopped(NamedTuple):
    """The run cannot go on: the destination cannot be written, the model cannot be loaded."""

    error: str


class Tick(NamedTuple):
    """Time has passed."""


Event = Sampled | Finished | Broken | Lost | Stopped | Tick
