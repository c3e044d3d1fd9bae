"""Which files a command works on.

* A folder among the inputs is walked in sorted order; hidden files and folders are left out, and links to folders are
  not followed.
* A file is taken once, however it is spelled.
* A pipe, socket or device in a folder is skipped, with a note.
* What cannot be read (a missing file, a folder without permission or without a fitting file) is kept: it fails in its
  turn and does not stop the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from gencomp.files import shown

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


class Source(NamedTuple):
    """A file to work on. inside: where it stands below the folder that the user named; its name if named itself."""

    path: Path
    inside: Path


class Inputs(NamedTuple):
    sources: list[Source]
    notes: list[str]


def find_inputs(paths: Iterable[Path], suffixes: frozenset[str]) -> Inputs:
    """The files that `paths` name, folders replaced by the files in them with one of `suffixes` (module docstring)."""
    paths, notes = list(paths), list[str]()
    found: dict[tuple[str, str], Source] = {}
    for path in paths:
        inside = sorted(_walk(path, suffixes, notes)) if file_kind(path) == stat.S_IFDIR else []
        top = Path(path.resolve().name) if len(paths) > 1 else Path()
        for file in inside or [path]:
            place = top / file.relative_to(path) if inside else Path(path.name)
            found.setdefault((os.path.realpath(file.parent), file.name), Source(file, place))
    return Inputs(list(found.values()), notes)


def check_regular(path: Path) -> None:
    """Raise OSError for what would block or never end when it is read, and for a folder without a file to work on."""
    kind = file_kind(path)
    if kind == stat.S_IFDIR:
        with os.scandir(path):  # which names the reason if the folder cannot be read
            raise IsADirectoryError("no file to work on in this folder")
    if kind not in (stat.S_IFREG, None):
        raise OSError(f"{_KINDS.get(kind, 'no regular file')}, not a file")


def file_kind(path: Path) -> int | None:
    """The type bits of a path's mode, links followed; None where there is nothing or it cannot be seen."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def _walk(folder: Path, suffixes: frozenset[str], notes: list[str]) -> Iterator[Path]:
    unreadable: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unreadable.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        notes += [
            f"{shown(Path(parent, name))} is a link to a folder: not followed"
            for name in sorted(folders)
            if Path(parent, name).is_symlink()
        ]
        for name in names:
            path = Path(parent, name)
            if name.startswith(".") or path.suffix.lower() not in suffixes:
                continue
            kind = file_kind(path)
            if kind in (stat.S_IFREG, None):
                yield path
            else:
                notes.append(f"{shown(path)} is {_KINDS.get(kind, 'no regular file')}: skipped")
    yield from unreadable
