"""Which files a command works on.

* A folder among the inputs is walked (gencomp/walk.py); what it leaves out is said in the last line.
* A file is taken once, however it is spelled.
* What cannot be read (a missing file, a folder without permission or without a fitting file) is kept: it fails in its
  turn and does not stop the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gencomp.cli.pipes import STREAM, is_pipe
from gencomp.walk import Taken, Walk, file_kind, kind_text, merged, walk


class Source(NamedTuple):
    """A file to work on. inside: where it stands below the folder that the user named; its name if named itself."""

    path: Path
    inside: Path


class Inputs(NamedTuple):
    """left_out: in words, what folders hold besides; empty for nothing."""

    sources: list[Source]
    left_out: str


def find_inputs(paths: Iterable[Path], taken: Taken) -> Inputs:
    """The files that `paths` name, folders replaced by the files in them that are `taken` (module docstring)."""
    paths = list(paths)
    walks = [
        walk(path, taken) if path != STREAM and file_kind(path) == stat.S_IFDIR else Walk([], {}) for path in paths
    ]
    found: dict[tuple[str, str], Source] = {}
    for path, inside in zip(paths, walks):
        top = Path(path.resolve().name) if len(paths) > 1 else Path()
        for file in inside.files or [path]:
            place = top / file.relative_to(path) if inside.files else Path(path.name)
            name = file.absolute() if inside.files and file == STREAM else file  # a file of the folder "."
            found.setdefault((os.path.realpath(file.parent), file.name), Source(name, place))
    return Inputs(list(found.values()), merged(walks).told())


def check_regular(path: Path) -> None:
    """Raise OSError for what would block or never end when it is read, and for a folder without a file to work on."""
    if is_pipe(path):
        return
    kind = file_kind(path)
    if kind == stat.S_IFDIR:
        with os.scandir(path):  # which names the reason if the folder cannot be read
            raise IsADirectoryError("no file to work on in this folder")
    if kind not in (stat.S_IFREG, None):
        raise OSError(f"{kind_text(kind)}, not a file")
