"""A source as shards: what is one piece of work, one checkpoint, one status table.

    *.tar, also of gzip, bzip2, xz   each file is a shard (WebDataset)
    *.parquet                        each file is a shard; but where there are tar files or images, too, a parquet file
                                     without a column of images is a table of theirs, and left out
    images                           those of each folder, in sorted order, `per_shard` at a time

A source is a folder, one such file, or a pattern with `*`, `?`, `[...]` and `{000..123}`; a file that is called so is
taken by its name. A tree of folders is never held whole: shards are made while it is walked, and a worker lists its
folder again. What is not taken is counted, by what it is, with the first names of each kind.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gencomp.bulk.settings import BulkSourceError, Settings
from gencomp.bulk.storage import BULK, Stat, Storage
from gencomp.files import fitted, shown
from gencomp.outputs import name_key
from gencomp.results import VERIFIED
from gencomp.walk import Leftovers, is_coded, is_image

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_FILES = (*_TAR, ".parquet")
_ARCHIVE = re.compile(r"\.(zip|7z|rar|zst|gz|bz2|xz|lz4|cab|iso|zarr|arrow|tfrecord)$", re.I)
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_PEEK = 1 << 16  # bytes at each end of a file that are looked at to see whether it is another one
_LOOKED_AT = 10_000  # files of a folder
SAMPLES = 12  # that a report shows


class Shard(NamedTuple):
    """A piece of a source.

    name: that of its status table, below `.bulk/status/`; kind: "tar", "parquet" or "folder"; path: the file or
    folder, relative to the source's root; target: the output file, relative to the destination ("" where the outputs
    of a folder are files of their own); start, stop: which images of a folder, in sorted order; weight: bytes, which
    progress counts; fingerprint: changes with the inputs; shown: how many samples the report shows.
    """

    name: str
    kind: str
    path: str
    target: str
    start: int
    stop: int
    weight: int
    fingerprint: str
    shown: int = 0

    @property
    def table(self) -> str:
        folder, slash, name = self.name.rpartition("/")
        return f"{BULK}/status/{folder}{slash}{fitted(name + '.parquet')}"


class ShardedSource(NamedTuple):
    """A place and its shards, in order. left: what is not taken; whole: whether the whole folder was asked for."""

    place: Storage
    shards: list[Shard]
    left: Leftovers
    whole: bool


def find_shards(url: str, settings: Settings) -> ShardedSource:
    """The shards of a source, in order. Raises BulkSourceError where there is nothing to do, FileNotFoundError where
    there is no such place."""
    place, named = _named_files(url)
    left, files, shards = Leftovers(), [*(named or ())], list[Shard]()
    for folder in () if named is not None else _walk(place, left):
        names = place.list(folder).files
        archives = [name for name in names if name.lower().endswith(_FILES)]
        files += [join(folder, name) for name in archives]
        taken = samples(place, folder, names, settings)
        for name in sorted({*names} - {*archives} - {*taken}):
            why = "archives that bulk does not open" if _ARCHIVE.search(name) else "files of another kind"
            left.add(why, join(folder, name))
        shards += _of_folder(place, folder, taken, settings, archives)
    if files and settings.pack:
        raise BulkSourceError(f"{shown(url)}: only images in folders can be packed into tar files")
    shards = sorted([*shards, *_of_files(place, files, settings, left, mixed=bool(shards))])
    if not shards:
        kind = ".gnc files" if settings.direction != "code" else "images"
        lines = "; left out: " + "; ".join(left.lines()) if left.counts else ""
        raise BulkSourceError(f"{shown(url)}: no tar file, no parquet file and no {kind} here{lines}")
    seen: dict[str, str] = {}
    for shard in shards:
        other = seen.setdefault(name_key(shard.name), shard.path)
        if other != shard.path:
            raise BulkSourceError(f"{shown(other)} and {shown(shard.path)} would both become {shown(shard.target)}")
    few = shards[:: -(-len(shards) // SAMPLES)]  # the samples of a report come from all over the source
    most = {shard.name: -(-SAMPLES // len(few)) for shard in few}
    shards = [shard._replace(shown=most.get(shard.name, 0)) for shard in shards]
    return ShardedSource(place, shards, left, named is None)


def samples(place: Storage, folder: str, names: Iterable[str], settings: Settings) -> list[str]:
    """Those of a folder's files that are samples: by suffix; on this disk some of another suffix by their first bytes.

    Every shard of a folder looks at them again, so that where there are very many (a text beside each image) none is.
    """
    looked = is_image if settings.direction == "code" else is_coded
    names = [name for name in names if not name.lower().endswith(_FILES)]
    others = [name for name in names if not settings.takes(name)] if place.local else []
    paths = {name: Path(place.path(join(folder, name))) for name in others} if len(others) <= _LOOKED_AT else {}
    return [name for name in names if settings.takes(name) or (name in paths and looked(paths[name]))]


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def fingerprint_of(place: Storage, shard: Shard, names: Sequence[str]) -> str:
    """Of a shard's inputs as they are now: names, sizes and times; of a file on this disk its ends, too."""
    folder, names = inputs_of(shard, names)
    return _digest(place, folder, place.stat(folder, names), peek=shard.kind != "folder")


def _digest(place: Storage, folder: str, stats: Mapping[str, Stat], peek: bool) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for name, stat in sorted(stats.items()):
        digest.update(f"{name}\0{stat.size}\0{stat.stamp}\0".encode("utf-8", "surrogateescape"))
        if peek and place.local:  # an object store has a tag for the content
            with Path(place.path(join(folder, name))).open("rb") as file:
                digest.update(file.read(_PEEK))
                file.seek(max(0, stat.size - _PEEK))
                digest.update(file.read(_PEEK))
    return digest.hexdigest()


def inputs_of(shard: Shard, names: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The folder of a shard's inputs, and their names in it: those given, or that of its one file."""
    folder, _, name = shard.path.rpartition("/")
    return (shard.path, names) if shard.kind == "folder" else (folder, [name])


def _walk(place: Storage, left: Leftovers) -> Iterator[str]:
    """Each folder, relative to the root, in order; what `gencomp bulk` has made is no input of it."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        listing = place.list(folder)
        settings = f"{folder}/{BULK}/settings.json"
        if folder and listing.claimed and not (place.exists(settings) and VERIFIED in place.read(settings)):
            left.add("results of earlier runs", folder)
            continue
        for name, what in listing.others:
            left.add(what, join(folder, name))
        yield folder
        waiting.extend(join(folder, inner) for inner in reversed(listing.folders))


def _named_files(url: str) -> tuple[Storage, list[str] | None]:
    """The place of a source and the files in it that the url names; None for a whole folder."""
    place = Storage.of(url)
    if place.fs.isdir(place.root):
        return place, None
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(url)
    found = [root] if fs.isfile(root) else [path for one in _expand(root) for path in sorted(fs.glob(one))]
    fixed = (root if found == [root] else re.split(r"[*?\[{]", root)[0]).rpartition("/")[0]
    if not found:
        raise FileNotFoundError(2, "No such file or folder", url)
    files = [path[len(fixed) :].lstrip("/") for path in found if path.lower().endswith(_FILES)]
    return Storage(fs, os.path.realpath(fixed or "/") if place.local else fixed or "/"), files


def _expand(url: str) -> Iterator[str]:
    """`{000..123}` as webdataset writes it."""
    found = _BRACES.search(url)
    if not found:
        yield url
        return
    first, last = found.groups()
    for number in range(int(first), int(last) + 1):
        yield from _expand(f"{url[: found.start()]}{number:0{len(first)}d}{url[found.end() :]}")


def _of_files(
    place: Storage, files: Sequence[str], settings: Settings, left: Leftovers, mixed: bool
) -> Iterator[Shard]:
    stems = {path: path[: -max(len(suffix) for suffix in _FILES if path.lower().endswith(suffix))] for path in files}
    from gencomp.bulk.parquet import has_images

    tars = {stem for path, stem in stems.items() if path.lower().endswith(_TAR)}
    for path, stem in stems.items():
        is_tar = path.lower().endswith(_TAR)
        if not is_tar and stem in tars:
            left.add("tables beside their tar files", path)
        elif not is_tar and (mixed or tars) and not has_images(place, path, settings.column):
            left.add("tables without images", path)
        elif (stat := place.stat_of(path)) is None:
            left.add("files that cannot be read", path)
        else:
            kind = "tar" if is_tar else "parquet"
            shard = Shard(stem, kind, path, f"{stem}.{kind}", 0, 0, max(stat.size, 1), "")
            yield shard._replace(fingerprint=fingerprint_of(place, shard, ()))


def _of_folder(
    place: Storage, folder: str, names: Sequence[str], settings: Settings, archives: Sequence[str]
) -> Iterator[Shard]:
    stats = place.stat(folder, names)
    first = "images-" if any(re.match(r"\d{5}\.", name) for name in archives) else ""  # its table's name is taken
    for number, start in enumerate(range(0, len(names), settings.per_shard)):
        chunk = names[start : start + settings.per_shard]
        name = join(folder, f"{first}{number:05d}")
        seen = {one: stats[one] for one in chunk if one in stats}
        weight, mark = sum(stat.size for stat in seen.values()), _digest(place, folder, seen, peek=False)
        span = start, start + len(chunk)
        yield Shard(name, "folder", folder, f"{name}.tar" * settings.pack, *span, max(weight, 1), mark)
