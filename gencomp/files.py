"""Names and files: which files a command works on, what its outputs are called, and how they come to disk.

The rules of every verb that turns files into files:

* a folder among the inputs is walked, hidden files and folders left out, in sorted order;
* with several inputs, or a folder, `-o` is a folder, made if missing; outputs keep their inputs' stems;
* with one input `-o` is a file, or a folder if it is one already or ends in a slash;
* without `-o` an output stands beside its input;
* two outputs of one name are an error before any work;
* an output appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

_IMAGE_KINDS = "avif bmp gif heic heif j2k jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _IMAGE_KINDS.split())
"""What is taken from a folder of pictures; a file that is named itself may have any suffix."""
CODED_SUFFIX = ".gnc"


class NamingError(ValueError):
    """Inputs and outputs that do not fit together; nothing has been read or written yet."""


class Job(NamedTuple):
    source: Path
    target: Path


class Plan(NamedTuple):
    """What to make of what. folder: the output folder, to be made if missing; None where outputs name their own."""

    jobs: list[Job]
    folder: Path | None


def write_atomically(path: str | Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` whole or not at all: beside it first, flushed to the disk, then renamed over it.

    Raises OSError naming `path` (a missing folder, no permission, a full disk); the old file, if any, then stands
    unchanged and nothing is left beside it.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file that can be replaced")
    beside = path.with_name(f".gencomp-{secrets.token_hex(6)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def find_inputs(paths: Iterable[Path], suffixes: frozenset[str]) -> list[Path]:
    """The files that `paths` name, folders replaced by the files in them with one of `suffixes`, each once.

    A path that does not exist, or a folder without such a file, is kept: it fails in its turn and does not stop the
    rest.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(_walk(path, suffixes)) if path.is_dir() else []
        found.extend(inside or [path])
    return list(dict.fromkeys(found))


def plan_outputs(given: Sequence[Path], sources: Sequence[Path], output: str | None, suffix: str) -> Plan:
    """Where the output of each source goes (module docstring). Touches no file; raises NamingError.

    given: the paths as the user wrote them; sources: the same with folders walked; output: the value of `-o`;
    suffix: that of outputs whose name is not given, with its dot.
    """
    if output is None:
        return Plan(_checked(Job(source, source.with_suffix(suffix)) for source in sources), None)
    target = Path(output)
    is_folder = target.is_dir() or output.endswith(("/", os.sep))
    if len(given) == 1 and not given[0].is_dir() and not is_folder:
        return Plan(_checked(Job(source, target) for source in sources), None)
    if target.exists() and not target.is_dir():
        raise NamingError(f"-o {output} is a file: several inputs need a folder")
    return Plan(_checked(Job(source, target / f"{source.stem}{suffix}") for source in sources), target)


def _checked(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, if no two of them write one file and none its own source."""
    source_of: dict[Path, Path] = {}
    for source, target in jobs:
        other = source_of.setdefault(target, source)
        if other != source:
            raise NamingError(f"{other} and {source} would both become {target}: code them into different folders")
        if target == source:
            raise NamingError(f"{source} would be replaced by its own output: name another with -o")
    return [Job(source, target) for target, source in source_of.items()]


def _walk(folder: Path, suffixes: frozenset[str]) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in suffixes:
                yield path
