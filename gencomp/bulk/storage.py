"""Where data sets lie: any path that fsspec knows, and outputs that appear there whole or not at all.

On a local disk a file is written to `.bulk/parts/` inside the destination, flushed, and renamed into place: one folder
holds whatever a killed process leaves, and the next attempt at that shard removes it. That is why
gencomp.files.write_atomically, which writes beside its target under a random name, is used only where a folder inside
the destination is another disk (`move`). Elsewhere a file is made in a temporary local folder and uploaded: object
stores show an object once it is complete; to other file systems it is uploaded under another name and moved.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from gencomp.files import flush, move
from gencomp.results import BULK, LIST

PRIVATE = 0o600
"""The mode of all that lies in BULK: thumbnails and names of photographs are nobody else's business."""
_WHOLE_ON_CLOSE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "hf", "memory"}
_STAMPS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "LastModified", "last_modified", "mtime", "created")


class DestinationError(OSError):
    """Outputs cannot be written (a full disk, no permission): no matter of one sample, so the run stops."""


class StandsError(Exception):
    """One output has no place: something stands there that this program did not write, or its name is too long."""


class Stat(NamedTuple):
    """A file: its bytes, what changes with its content (a time, an entity tag), its permissions on a local disk."""

    size: int
    stamp: str
    mode: int | None = None


class Listing(NamedTuple):
    """What is in a folder, hidden entries left out. others: what is neither folder nor file, with what it is;
    claimed: whether a verb has filled it.
    """

    folders: list[str]
    files: list[str]
    others: list[tuple[str, str]]
    claimed: bool


class Storage(NamedTuple):
    """A folder on a file system. fs: fsspec's; root: the folder's path there, without a slash at its end."""

    fs: Any
    root: str

    @classmethod
    def of(cls, url: str) -> Storage:
        """The place as it really is, links followed. ValueError for a protocol that is not known or not installed."""
        from fsspec.core import url_to_fs

        try:
            fs, root = url_to_fs(url)
        except ImportError as error:
            raise ValueError(f"{url}: {error}") from error
        place = cls(fs, root.rstrip("/") or root)
        return cls(fs, os.path.realpath(root)) if place.local else place

    @property
    def url(self) -> str:
        return self.root if self.local else str(self.fs.unstrip_protocol(self.root))

    @property
    def local(self) -> bool:
        protocol = self.fs.protocol
        return "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def open(self, name: str) -> IO[bytes]:
        return cast("IO[bytes]", self.fs.open(self.path(name), "rb"))

    def read(self, name: str) -> bytes:
        return cast("bytes", self.fs.cat_file(self.path(name)))

    def exists(self, name: str) -> bool:
        return bool(self.fs.exists(self.path(name)))

    def list(self, folder: str) -> Listing:
        """What is in a folder, by sorted names."""
        if self.local:
            with os.scandir(self.path(folder)) as entries:
                found = sorted((entry.name, _kind_of(entry)) for entry in entries)
        else:
            listing = self.fs.ls(self.path(folder), detail=True)
            found = sorted((entry["name"].rstrip("/").rpartition("/")[2], entry["type"]) for entry in listing)
        seen = [(name, kind) for name, kind in found if name and not name.startswith(".")]
        folders, files = ([name for name, kind in seen if kind == asked] for asked in ("directory", "file"))
        others = [(name, kind) for name, kind in seen if kind not in {"directory", "file"}]
        return Listing(folders, files, others, not {(BULK, "directory"), (LIST, "file")}.isdisjoint(found))

    def stat(self, folder: str, names: Iterable[str]) -> dict[str, Stat]:
        """Those of the names in a folder that are files there."""
        if self.local:
            paths = {name: self.path(f"{folder}/{name}" if folder else name) for name in names}
            return {name: seen for name, path in paths.items() if (seen := _local_stat(path))}
        asked = set(names)
        try:
            entries = self.fs.ls(self.path(folder), detail=True)
        except FileNotFoundError:
            return {}
        named = ((entry["name"].rpartition("/")[2], entry) for entry in entries if entry["type"] == "file")
        return {
            name: Stat(int(entry.get("size") or 0), str(next((entry[k] for k in _STAMPS if entry.get(k)), "")))
            for name, entry in named
            if name in asked
        }

    def stat_of(self, name: str) -> Stat | None:
        folder, _, file = name.rpartition("/")
        return self.stat(folder, [file]).get(file)

    def stands(self, name: str) -> bool:
        """Whether there is anything of this name, a broken link included."""
        return os.path.lexists(self.path(name)) if self.local else self.exists(name)

    def publish(self, data: bytes, name: str, shard: str = "", mode: int | None = PRIVATE, new: bool = False) -> None:
        """Write a small file whole or not at all; DestinationError, StandsError. The others are those of `part`."""
        with self.part(name, shard, mode, new) as file:
            file.write(data)

    def create(self, data: bytes, name: str) -> bool:
        """Write a small file unless there is one: of all processes that try, one does and hears True. A store that
        cannot create exclusively is asked first, and the last of two that come at once prevails."""
        try:
            if self.local:
                self.publish(data, name, new=True)
                return True
            with destination_errors(self):
                self.fs.makedirs(self.path(name).rpartition("/")[0], exist_ok=True)
            with self.fs.open(self.path(name), "xb") as file:
                file.write(data)
        except (StandsError, FileExistsError):
            return False
        except (ValueError, NotImplementedError):
            if self.exists(name):
                return False
            self.publish(data, name)
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    @contextlib.contextmanager
    def part(self, name: str, shard: str = "", mode: int | None = PRIVATE, new: bool = False) -> Iterator[IO[bytes]]:
        """A file to write that becomes `name` when the block ends well, and leaves nothing if it does not.

        shard: whose attempt this is; `clear_parts` of that shard removes what a killed process left of it. mode: its
        permissions, less the umask. new: StandsError where there is something of this name already.
        """
        with self._scratch() as folder:
            beside = Path(folder, f"{_flat(shard)}.{secrets.token_hex(6)}.part")
            try:
                with destination_errors(self):
                    raw = _PartFile(beside, self, 0o666 if mode is None else mode)
                with io.BufferedWriter(raw, 1 << 20) as file:
                    yield cast("IO[bytes]", file)
                    with destination_errors(self):
                        flush(file)
                with destination_errors(self):
                    self._settle(beside, name, new)
            finally:
                with contextlib.suppress(OSError):
                    beside.unlink()

    def clear_parts(self, shards: Collection[str]) -> None:
        """Remove what attempts at these shards that were killed have left, on a local disk."""
        folder = Path(self.path(f"{BULK}/parts"))
        if not self.local or not folder.is_dir():
            return
        names = {_flat(shard) for shard in shards}
        for left in folder.glob("*.part"):
            if left.name.rsplit(".", 2)[0] in names:
                left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[str]:
        if not self.local:
            with tempfile.TemporaryDirectory(prefix="gencomp-bulk-") as folder:
                yield folder
            return
        with destination_errors(self):
            Path(self.path(f"{BULK}/parts")).mkdir(parents=True, exist_ok=True)
        yield self.path(f"{BULK}/parts")

    def _settle(self, beside: Path, name: str, new: bool) -> None:
        target = self.path(name)
        if self.local:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            try:
                move(beside, Path(target), replace=not new)
            except FileExistsError:
                raise StandsError(f"{Path(target).name} exists") from None
            return
        if new and self.exists(name):
            raise StandsError(f"{name} exists")
        self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        if _WHOLE_ON_CLOSE & ({self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)):
            self.fs.put_file(str(beside), target)
            return
        aside = self.path(f"{BULK}/parts/{beside.name}")
        self.fs.makedirs(aside.rpartition("/")[0], exist_ok=True)
        self.fs.put_file(str(beside), aside)
        self.fs.mv(aside, target)


class _PartFile(io.FileIO):
    """A new file whose failures to be written are told from failures of whatever is read at the same time."""

    def __init__(self, path: Path, place: Storage, mode: int) -> None:
        self._place = place
        super().__init__(str(path), "xb", opener=lambda name, flags: os.open(name, flags, mode))

    def write(self, data: Any) -> int:
        with destination_errors(self._place):
            return super().write(data)


def _kind_of(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink() and not entry.is_file():
        return "links to folders, not followed" if entry.is_dir() else "broken links"
    return "file" if entry.is_file() else "directory" if entry.is_dir() else "pipes, sockets or devices"


def _local_stat(path: str) -> Stat | None:
    try:
        seen = Path(path).stat()
    except (OSError, ValueError):
        return None
    return Stat(seen.st_size, str(seen.st_mtime_ns), seen.st_mode & 0o666) if stat.S_ISREG(seen.st_mode) else None


@contextlib.contextmanager
def destination_errors(place: Storage) -> Iterator[None]:
    """What the file system says of a destination, as one DestinationError with the reason and the place."""
    try:
        yield
    except DestinationError:
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise StandsError("its output's name is too long for this disk") from error
        raise DestinationError(f"{place.root}: {error.strerror or error}; nothing half written is left") from error


def _flat(shard: str) -> str:
    """A shard's name as a file name that no other shard's is the beginning of."""
    flat = shard.replace("%", "%25").replace("/", "%2F") or "file"
    return flat if len(flat) < 100 else hashlib.blake2b(flat.encode("utf-8", "surrogateescape")).hexdigest()[:32]
