"""A folder of results that a verb fills and goes on with: `eval`, `train`, `family`, `study analyse`.

The folder is the user's and holds what he likes; what the verb may replace there, a list of its own says (`LIST`):

    verb       who made it
    written    name -> SHA-256 of the files that a person reads and might change; null while they are being written

A first run writes only where none of its names stands; a later one refuses to replace a listed file whose content is
no longer what was written. `--overwrite` lifts both. A walk over photographs leaves such a folder out (walk.py).
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from gencomp.files import shown, write_atomically
from gencomp.outputs import Refused, file_ids, local_path

LIST = ".gencomp-results.json"
BULK = ".bulk"
"""In a destination of `bulk` the folder of status tables, settings, parts and report, hidden from all loaders."""
VERIFIED = b'"direction": "verify"'
"""In the settings of a destination that holds tables alone, and perhaps the files that were verified."""


def claim(
    folder: Path,
    verb: str,
    names: Collection[str],
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
    begun: bool = False,
    tracked: bool = True,
) -> None:
    """Make `folder`, or take it where nothing of the user's would be replaced; Refused otherwise, and nothing is made.

    names: what the verb writes at the top of the folder, files and folders. inputs: what it reads, which may not lie
    there. begun: whether the folder evidently holds an earlier run of the verb, without a list. tracked: whether
    `rewriting` tells what is written; else all of `names` is the verb's. Any number of processes may claim one folder
    for one verb at once.
    """
    if not file_ids(map(local_path, inputs := list(inputs))).isdisjoint(file_ids([folder])):
        raise Refused(f"{shown(folder)} is what gencomp {verb} reads: name a folder of its own")
    read = file_ids(each for path in map(local_path, inputs) for each in [path, *Path(os.path.realpath(path)).parents])
    for name in names:
        if not read.isdisjoint(file_ids([folder / name])):
            raise Refused(f"{shown(folder / name)}, where gencomp {verb} writes, holds an input: name another folder")
        if (folder / name).is_symlink():
            raise Refused(f"{shown(folder / name)} is a link, and outputs do not go through links: remove it first")
    known = _list(folder)
    if known is None:
        clash = [name for name in names if os.path.lexists(folder / name)]
        if clash and not overwrite and not begun and _list(folder) is None:
            what = f"{shown(folder / clash[0])} exists and is not of gencomp {verb}"
            raise Refused(f"{what}: name another folder, or give --overwrite")
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            write_atomically(
                folder / LIST, json.dumps({"verb": verb, "written": {} if tracked else None}).encode(), replace=False
            )
    elif known["verb"] != verb:
        raise Refused(f"{shown(folder)} holds results of gencomp {known['verb']}: name another folder")
    elif not overwrite and known["written"] is not None:
        for name in {*known["written"], *(name for name in names if (folder / name).is_file())}:
            if os.path.lexists(folder / name) and _digest(folder / name) != known["written"].get(name):
                raise Refused(f"{shown(folder / name)} is not as gencomp {verb} left it: move it, or give --overwrite")


@contextlib.contextmanager
def rewriting(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Where the files that a person reads are written: those of `names`, and those in folders among them. Where a run
    is killed inside, the next one takes what stands there for its own."""
    known, names = _list(folder) or {"verb": "", "written": None}, list(names)
    before = {name: _stamp(folder / name) for name in _files(folder, names)}
    _save(folder, known["verb"], None)
    yield
    fresh = [name for name in _files(folder, names) if before.get(name) != _stamp(folder / name)]
    kept = {name: digest for name, digest in (known["written"] or {}).items() if (folder / name).is_file()}
    _save(folder, known["verb"], kept | {name: _digest(folder / name) for name in fresh})


def is_results(folder: str | Path) -> bool:
    """Whether a verb has claimed the folder."""
    settings = Path(folder, BULK, "settings.json")
    return Path(folder, LIST).is_file() or (settings.is_file() and VERIFIED not in settings.read_bytes())


def _list(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / LIST).read_bytes())
        return {"verb": str(found["verb"]), "written": None if found["written"] is None else dict(found["written"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Refused(f"{shown(folder / LIST)} cannot be read: name another folder") from error


def _save(folder: Path, verb: str, written: dict[str, str] | None) -> None:
    write_atomically(folder / LIST, json.dumps({"verb": verb, "written": written}, indent=1).encode())


def _files(folder: Path, names: Iterable[str]) -> list[str]:
    """The files of these names, and those below the folders among them, by their names in `folder`."""
    found = (path for name in names for path in [folder / name, *(folder / name).rglob("*")] if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
