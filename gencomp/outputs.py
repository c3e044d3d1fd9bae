"""What a command may write, and what its outputs are called: one rule for every verb.

1. Never a file that the command reads, nor one in a folder that it reads. Files are told apart by device and inode, so
   that no link, no `..`, no second name, and no file system that ignores case or spells accents anew, hides one.
2. Never a file that stands already, unless `--overwrite` is given. Two things lose nothing and are replaced without it:
   an empty file whose name the user gave, and, by `compress -o FILE`, a coded file. A verb that goes on with a folder
   of its own (`eval`, `train`, ...) replaces what its list in that folder names; see results.py.
3. Never through a symbolic link that the user did not name: neither a file below the folder that was named, nor a
   folder on the way to it.
4. New files are no more open than the file that they are made from (`like`), or the most private of several.

All of it is checked before any work, and again when the file is written: it is created exclusively then.

An output has its input's name with another suffix: `a.jpg` becomes `a.gnc`. Where two would become one (`a.jpg` and
`a.png`, or `A.jpg` and `a.jpg`, which some disks do not tell apart) each keeps its whole name: `a.jpg.gnc`. A name of
more than 255 bytes is cut, and a digest of the whole put at its end.
"""

import contextlib
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gencomp.files import fitted, replaceable, shown, write_atomically

FileId = tuple[int, int]
"""Device and inode: what a file is, whatever it is called."""


class Refused(FileExistsError):
    """A file that may not be written; one line that says why and what to do."""


class Outputs(NamedTuple):
    """What one command may write.

    inputs: the files that it reads, and the folders, in which every file counts as one. own: how a file begins that the
    command itself makes and replaces where the user names it; empty for none.
    """

    inputs: frozenset[FileId] = frozenset()
    overwrite: bool = False
    own: bytes = b""

    def check(self, target: Path, below: Path | None = None) -> None:
        """Raise Refused where `target` may not be written, and OSError where it cannot be. below: the folder that the
        user named, if the name of `target` is the program's; links below it are refused."""
        if below is not None:
            for part in [target, *target.parents][: len(target.parts) - len(below.parts)]:
                if part.is_symlink():
                    raise Refused(f"{shown(part)} is a link, and outputs do not go through links: remove it first")
        real = replaceable(target)
        if not real.exists():
            return
        if not self.inputs.isdisjoint(file_ids([real, *Path(os.path.realpath(real)).parents])):
            raise Refused(f"its output {shown(target)} would replace an input: name another with -o")
        if not self.overwrite and (below is not None or not self._loses_nothing(real)):
            raise Refused(f"{shown(target)} exists and is kept: name another output with -o, or give --overwrite")

    def write(
        self, target: Path, data: bytes | memoryview, like: Path | None = None, below: Path | None = None
    ) -> None:
        """Write a file whole or not at all, if `check` allows it; one that appears meanwhile is kept."""
        self.check(target, below)
        write_atomically(target, data, like, replace=target.exists())

    def _loses_nothing(self, file: Path) -> bool:
        with file.open("rb") as opened:
            start = opened.read(max(1, len(self.own)))
        return start == self.own or not start


def protecting(inputs: Iterable[str | Path | None], overwrite: bool = False, own: bytes = b"") -> Outputs:
    """The rule for a command that reads `inputs`: files and folders of this disk; other names count for nothing."""
    return Outputs(file_ids(local_path(name) for name in inputs if name is not None), overwrite, own)


@contextlib.contextmanager
def no_more_open_than(inputs: Iterable[str | Path]) -> Iterator[None]:
    """Let what is made in the block be closed to all to whom one of the inputs is closed, by this process's umask."""
    closed = 0
    for path in map(local_path, inputs):
        with contextlib.suppress(OSError, ValueError):
            closed |= 0o066 & ~path.stat().st_mode
    before = os.umask(0o077)
    os.umask(before | closed | (closed & 0o044) >> 2)  # who may not read a file need not look into its folder
    try:
        yield
    finally:
        os.umask(before)


def file_ids(paths: Iterable[Path]) -> frozenset[FileId]:
    """What the paths are on the disk, links followed; those without a file are left out."""
    found = set()
    for path in paths:
        try:
            status = path.stat()
        except (OSError, ValueError):
            continue
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def local_path(name: str | Path) -> Path:
    """The path that a name stands for: `file://` and `local://` as fsspec reads them, else as it is."""
    text = str(name)
    for protocol in ("file://", "local://"):
        if text.startswith(protocol):
            return Path(text.removeprefix(protocol))
    return Path(name)


def output_names(
    names: Sequence[str], suffix: str, taken: Collection[str] = (), key: Callable[[str], str] | None = None
) -> list[str]:
    """The outputs' names, with slashes, for those of the inputs, in their order (rules in the module docstring).

    suffix: with its dot; what has it already keeps its name. taken: names that no output may have. key: equal for names
    that are one file; by default `name_key`. Distinct names give distinct outputs; those of one key may keep theirs.
    """
    key = key or name_key
    held, whole = Counter(map(key, taken)), set[str]()
    keep = {name for name in names if name.lower().endswith(suffix) and name not in taken}
    while True:
        outputs = [_cut(name + suffix if name in whole else with_suffix(name, suffix)) for name in names]
        count = Counter(map(key, outputs)) + held
        again = {n for n, output in zip(names, outputs) if count[key(output)] > 1} - whole - keep
        if not again:
            break
        whole |= again
    used, free = {*taken}, []
    for output in outputs:
        while output in used:
            output += suffix
        used.add(output)
        free.append(output)
    return free


def name_key(name: str) -> str:
    """Equal for names that some disk does not tell apart: by case, by how an accent is spelled, by `./`."""
    return unicodedata.normalize("NFC", posixpath.normpath(name)).casefold()


def with_suffix(name: str, suffix: str) -> str:
    """`./a.b/c.d.jpg` -> `./a.b/c.d.gnc`; what has no suffix gets one."""
    return posixpath.splitext(name)[0] + suffix


def _cut(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{fitted(last)}"
