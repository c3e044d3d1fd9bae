"""A WebDataset tar file, or the images of a folder, as a new tar file: samples are replaced, the rest is copied.

Members keep their order, dates and modes, so that equal inputs give equal bytes. Nothing is unpacked to disk. A tar
file that ends early or is damaged fails as a whole: Python's tarfile takes a damaged header for the end of the file, so
the end is looked at.
"""

from __future__ import annotations

import copy
import functools
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

from gencomp.bulk.naming import Taken
from gencomp.bulk.transform import MAX_FILE_BYTES


class Member(NamedTuple):
    """content: an open file; None for a folder, a link, and for a sample that is read by itself. read: the sample."""

    info: tarfile.TarInfo
    content: IO[bytes] | None
    read: Read | None


Read = Callable[[], bytes | None]
"""Reads when asked to: a sample, or its output from an earlier attempt; None where there is none."""
Code = Callable[[str, Read, Read], bytes | None]
"""The output of a sample by its name, what reads it, and what reads its output from an earlier attempt."""


def members_of_tar(file: IO[bytes], takes: Callable[[str], bool]) -> Iterator[Member]:
    """Raises ValueError for a file that is no tar file, is damaged or ends early."""
    try:
        with tarfile.open(fileobj=file, mode="r:*") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # else all members are remembered
                content = tar.extractfile(info) if info.isfile() else None
                read = None
                if content is not None and takes(info.name):
                    read = functools.partial(content.read, MAX_FILE_BYTES + 1)
                yield Member(info, content, read)
            _check_end(tar)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"a damaged tar file: {error}") from error


def members_of_files(names: Sequence[str], read: Callable[[str], bytes]) -> Iterator[Member]:
    """Files as members of a tar file, without dates or owners."""
    for name in names:
        yield Member(tarfile.TarInfo(name), None, functools.partial(read, name))


def rewrite_tar(
    members: Iterator[Member], target: IO[bytes] | None, code: Code, suffix: str, before: IO[bytes] | None = None
) -> None:
    """Write `members` to `target`, samples replaced by what `code` makes of them, left out where it makes nothing.

    target: None writes nothing (verify). before: the tar file that an earlier attempt wrote.
    """
    taken, old = Taken(), _Index(before)
    out = None if target is None else tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
    for info, content, read in members:
        if read is None:
            if out is not None:
                out.addfile(info, content)
            continue
        name = taken.claim(info.name, suffix)
        data = code(info.name, read, functools.partial(old.read, name))
        if out is not None and data is not None:
            renamed = copy.copy(info)
            renamed.name, renamed.size = name, len(data)
            renamed.pax_headers = {k: v for k, v in info.pax_headers.items() if k not in {"path", "size"}}
            out.addfile(renamed, io.BytesIO(data))
    if out is not None:
        out.close()


class _Index:
    """The members of a tar file by name; empty without a file."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:") if file is not None else None  # noqa: SIM115
        self._infos = {info.name: info for info in self._tar or ()}

    def read(self, name: str) -> bytes | None:
        if self._tar is None or name not in self._infos:
            return None
        content = self._tar.extractfile(self._infos[name])
        return content.read() if content is not None else None


def _check_end(tar: tarfile.TarFile) -> None:
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if any(tar.fileobj.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"no header at byte {tar.offset}")
