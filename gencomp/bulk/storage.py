"""Where data sets lie: any path that fsspec knows, and outputs that appear there whole or not at all.

On a local disk a file is written to `.bulk/parts/` inside the destination, flushed, and renamed into place: one folder
holds whatever a killed process leaves, and the next attempt at that shard removes it. That is why
gencomp.files.write_atomically, which writes beside its target under a random name, is not used here. Elsewhere a file
is made in a temporary local folder and uploaded: object stores show an object once it is complete; to other file
systems it is uploaded under another name and moved.
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

BULK = ".bulk"
"""The folder in a destination for status tables, settings, parts and the report; hidden, so that no loader reads it."""
_WHOLE_ON_CLOSE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "hf", "memory"}


class DestinationError(OSError):
    """Outputs cannot be written (a full disk, no permission): no matter of one sample, so the run stops."""


class Place(NamedTuple):
    """A folder on a file system. fs: fsspec's; root: the folder's path there, without a slash at its end."""

    fs: Any
    root: str

    @classmethod
    def of(cls, url: str) -> Place:
        """Raises ValueError for a protocol that fsspec does not know or whose driver is not installed."""
        from fsspec.core import url_to_fs

        try:
            fs, root = url_to_fs(url)
        except ImportError as error:
            raise ValueError(f"{url}: {error}") from error
        return cls(fs, root.rstrip("/") or root)

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

    def walk(self) -> Iterator[tuple[str, list[str]]]:
        """Each folder, relative to the root, with the sorted names of its files; hidden ones left out, in order."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            folders, names = self.list(folder)
            yield folder, names
            waiting.extend(f"{folder}/{inner}" if folder else inner for inner in reversed(folders))

    def list(self, folder: str) -> tuple[list[str], list[str]]:
        """The sorted names of the folders and of the files in one folder; hidden ones left out."""
        if self.local:
            with os.scandir(self.path(folder)) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False), entry.is_file()) for entry in entries]
        else:
            listing = self.fs.ls(self.path(folder), detail=True)
            kinds = [(entry["name"].rstrip("/").rpartition("/")[2], entry["type"]) for entry in listing]
            found = [(name, kind == "directory", kind == "file") for name, kind in kinds]
        seen = sorted(entry for entry in found if entry[0] and not entry[0].startswith("."))
        return [name for name, is_folder, _ in seen if is_folder], [name for name, _, is_file in seen if is_file]

    def make_folder(self, name: str) -> None:
        with destination_errors(self):
            self.fs.makedirs(self.path(name), exist_ok=True)

    def publish(self, data: bytes, name: str, shard: str = "") -> None:
        """Write a small file whole or not at all; DestinationError."""
        with self.part(name, shard) as file:
            file.write(data)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    @contextlib.contextmanager
    def part(self, name: str, shard: str = "") -> Iterator[IO[bytes]]:
        """A file to write that becomes `name` when the block ends well, and leaves nothing if it does not.

        shard: whose attempt this is; `clear_parts` of that shard removes what a killed process left of it.
        """
        with self._scratch() as folder:
            beside = Path(folder, f"{_flat(shard)}.{secrets.token_hex(6)}.part")
            try:
                with destination_errors(self):
                    raw = _Part(beside, self)
                with io.BufferedWriter(raw, 1 << 20) as file:
                    yield cast("IO[bytes]", file)
                    file.flush()
                    with destination_errors(self):
                        os.fsync(file.fileno())
                with destination_errors(self):
                    self._settle(beside, name)
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
        self.make_folder(f"{BULK}/parts")
        yield self.path(f"{BULK}/parts")

    def _settle(self, beside: Path, name: str) -> None:
        target = self.path(name)
        if self.local:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            beside.replace(target)
            return
        self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        if _WHOLE_ON_CLOSE & ({self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)):
            self.fs.put_file(str(beside), target)
            return
        aside = self.path(f"{BULK}/parts/{beside.name}")
        self.fs.makedirs(aside.rpartition("/")[0], exist_ok=True)
        self.fs.put_file(str(beside), aside)
        self.fs.mv(aside, target)


class _Part(io.FileIO):
    """A new file whose failures to be written are told from failures of whatever is read at the same time."""

    def __init__(self, path: Path, place: Place) -> None:
        self._place = place
        super().__init__(path, "xb")

    def write(self, data: Any) -> int:
        with destination_errors(self._place):
            return super().write(data)


@contextlib.contextmanager
def destination_errors(place: Place) -> Iterator[None]:
    """What the file system says of a destination, as one DestinationError with the reason and the place."""
    try:
        yield
    except DestinationError:
        raise
    except OSError as error:
        raise DestinationError(f"{place.root}: {error.strerror or error}; nothing half written is left") from error


def _flat(shard: str) -> str:
    """A shard's name as a file name that no other shard's is the beginning of."""
    return shard.replace("%", "%25").replace("/", "%2F") or "file"
