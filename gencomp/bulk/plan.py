"""A source as shards: what is one piece of work, one checkpoint, one status table.

    *.tar, *.tar.gz, *.tgz   each file is a shard (WebDataset); what else lies beside them is left alone
    *.parquet                each file is a shard, where there is no tar file
    otherwise                the images of each folder, in sorted order, `per_shard` at a time

A source is a folder, one such file, or a pattern with `*`, `?`, `[...]` and `{000..123}`. A tree of folders is never
held whole: shards are made while it is walked, and a worker lists its folder again.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gencomp.bulk.settings import Settings
from gencomp.bulk.storage import BULK, Place

_TAR = (".tar", ".tar.gz", ".tgz")
_FILES = (*_TAR, ".parquet")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class SourceError(ValueError):
    """A source without anything to do, or whose outputs would collide."""


class Shard(NamedTuple):
    """A piece of a source.

    name: that of its status table, below `.bulk/status/`; kind: "tar", "parquet" or "folder"; path: the file or
    folder, relative to the source's root; target: the output file, relative to the destination ("" where the outputs
    of a folder are files of their own); start, stop: which images of a folder, in sorted order; weight: what progress
    counts, bytes of a file or images of a folder; fingerprint: changes with the source.
    """

    name: str
    kind: str
    path: str
    target: str
    start: int
    stop: int
    weight: int
    fingerprint: str

    @property
    def table(self) -> str:
        return f"{BULK}/status/{self.name}.parquet"


class Source(NamedTuple):
    """A place and its shards, in order."""

    place: Place
    shards: list[Shard]


def find_shards(url: str, settings: Settings) -> Source:
    """The shards of a source, in order.

    Raises SourceError where there is nothing to do, FileNotFoundError where there is no such place.
    """
    place, files = _named_files(url)
    shards: list[Shard] = []
    if files is None:
        files = []
        for folder, names in place.walk():
            files += [join(folder, name) for name in names if name.lower().endswith(_FILES)]
            if not files:
                shards += _of_folder(folder, samples(names, settings), settings)
    if files:
        if settings.pack:
            raise SourceError(f"{url}: only images in folders can be packed into tar files")
        shards = _of_files(place, files)
    if not shards:
        kind = ".gnc files" if settings.direction != "code" else "images"
        raise SourceError(f"{url}: no tar file, no parquet file and no {kind} here")
    _check_distinct(shards)
    return Source(place, shards)


def samples(names: Iterable[str], settings: Settings) -> list[str]:
    return [name for name in names if settings.takes(name)]


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def fingerprint_of(names: Sequence[str]) -> str:
    """Of the names of a folder's shard."""
    return hashlib.blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def part_of(shards: Sequence[Shard], index: int, count: int) -> list[Shard]:
    """The shards of machine `index` of `count`, dealt out in turn."""
    return list(itertools.islice(shards, index, None, count))


def _named_files(url: str) -> tuple[Place, list[str] | None]:
    """The place of a source and the files in it that the url names; None for a whole folder."""
    place = Place.of(url)
    if place.fs.isdir(place.root):
        return place, None
    fixed = re.split(r"[*?\[{]", place.root)[0].rpartition("/")[0]
    found = [path for one in _expand(place.root) for path in sorted(place.fs.glob(one))]
    files = [path for path in found if path.lower().endswith(_FILES)]
    if not found:
        raise FileNotFoundError(2, "No such file or folder", url)
    return Place(place.fs, fixed or "/"), [path[len(fixed) :].lstrip("/") for path in files]


def _expand(url: str) -> Iterator[str]:
    """`{000..123}` as webdataset writes it."""
    found = _BRACES.search(url)
    if not found:
        yield url
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expand(f"{url[: found.start()]}{number:0{len(first)}d}{url[found.end() :]}")


def _of_files(place: Place, files: Sequence[str]) -> list[Shard]:
    tars = [path for path in files if path.lower().endswith(_TAR)]
    shards = []
    for path in tars or files:
        stem = re.sub(r"\.(tar\.gz|tgz|tar|parquet)$", "", path, flags=re.IGNORECASE)
        size = int(place.fs.size(place.path(path)) or 0)
        kind, suffix = ("tar", ".tar") if tars else ("parquet", ".parquet")
        shards.append(Shard(stem, kind, path, stem + suffix, 0, 0, max(size, 1), f"{size} bytes"))
    return shards


def _of_folder(folder: str, names: Sequence[str], settings: Settings) -> Iterator[Shard]:
    for number, start in enumerate(range(0, len(names), settings.per_shard)):
        chunk = names[start : start + settings.per_shard]
        name = join(folder, f"{number:05d}")
        target = f"{name}.tar" if settings.pack else ""
        yield Shard(name, "folder", folder, target, start, start + len(chunk), len(chunk), fingerprint_of(chunk))


def _check_distinct(shards: Sequence[Shard]) -> None:
    seen: dict[str, str] = {}
    for shard in shards:
        other = seen.setdefault(shard.name, shard.path)
        if other != shard.path:
            raise SourceError(f"{other} and {shard.path} would both become {shard.target}")
