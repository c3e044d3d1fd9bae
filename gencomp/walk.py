"""What a folder of images, or of coded files, holds: what is taken, and what is left out and said.

A walk is sorted. Hidden files and folders are passed over. Left out, counted and named are links to folders, the
results of an earlier run (results.py), pipes and devices, and files of another kind. A suffix that is known decides;
any other file is looked into, so that `photo.jfif` and `scan.bin` are taken where they are images.
"""

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gencomp.bitstream import MAGIC
from gencomp.files import CODED_SUFFIX, IMAGE_SUFFIXES, shown
from gencomp.kinds import START_BYTES, UNMISTAKABLE, kind_of
from gencomp.results import is_results

_NAMED = 4  # so many of a kind are named, the others counted
_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFBLK: "device", stat.S_IFCHR: "device"}

Taken = Callable[[Path], bool]


@dataclass
class Leftovers:
    """What is not taken: how many for which reason, and the first names of each."""

    counts: Counter[str] = field(default_factory=Counter)
    names: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, name: str | Path) -> None:
        self.counts[reason] += 1
        if len(self.names[reason]) < _NAMED:
            self.names[reason].append(shown(name))

    def lines(self) -> list[str]:
        """One for each reason, with what counts."""
        some = {why: ", ".join(self.names[why][:_NAMED]) + ", ..." * (n > _NAMED) for why, n in self.counts.items()}
        return [f"{why}: {count:,} ({some[why]})" for why, count in sorted(self.counts.items())]


class Walk(NamedTuple):
    """files: sorted, and folders that could not be read."""

    files: list[Path]
    left_out: Leftovers

    def told(self) -> str:
        """What was left out, in one line; empty for nothing."""
        return "; ".join(self.left_out.lines())


def walk(folder: Path, taken: Taken) -> Walk:
    """The files of a folder that `taken` (is_image, is_coded) takes."""
    files, left_out = list[Path](), Leftovers()
    for parent, folders, names in os.walk(folder, onerror=lambda error: files.append(Path(error.filename))):
        seen = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in seen if _is_entered(Path(parent, name), taken, left_out)]
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            kind = file_kind(path)
            if kind not in (stat.S_IFREG, None):
                left_out.add(f"{_KINDS.get(kind, 'special file')}s", path)
            elif taken(path):
                files.append(path)
            else:
                left_out.add("files of another kind", path)
    return Walk(sorted(files), left_out)


def merged(walks: Iterable[Walk]) -> Walk:
    """Several walks as one."""
    whole = Walk([], Leftovers())
    for one in walks:
        whole.files.extend(one.files)
        whole.left_out.counts.update(one.left_out.counts)
        for reason, names in one.left_out.names.items():
            whole.left_out.names[reason] += names
    return whole


def is_image(path: Path) -> bool:
    """By suffix; a file of another one by its first bytes."""
    return path.suffix.lower() in IMAGE_SUFFIXES or kind_of(_start(path)) in UNMISTAKABLE


def is_coded(path: Path) -> bool:
    """By suffix, or by its first bytes."""
    return path.suffix.lower() == CODED_SUFFIX or _start(path).startswith(MAGIC)


def kind_text(kind: int | None) -> str:
    """What a path is that is no regular file."""
    return f"a {_KINDS.get(kind or 0, 'special file')}"


def file_kind(path: Path) -> int | None:
    """The type bits of a path's mode, links followed; None where there is nothing or it cannot be seen."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def _is_entered(folder: Path, taken: Taken, left_out: Leftovers) -> bool:
    if folder.is_symlink():
        left_out.add("links to folders, not followed", folder)
        return False
    if not is_results(folder):
        return True
    for path in sorted(folder.rglob("*")):
        if path.is_file() and taken(path):
            left_out.add("files among the results of earlier runs", path)
    return False


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError:
        return b""
