"""What an output is called: its input's name with another suffix, and no two alike."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence

from gencomp.files import fitted


def output_names(names: Sequence[str], suffix: str, taken: Collection[str] = ()) -> list[str]:
    """The outputs' names for the distinct names of a folder or a tar file, in their order.

    `a.jpg` becomes `a.gnc`. Where two would become one (`a.jpg` and `a.png`, or, for disks that do not tell them
    apart, `A.jpg` and `a.jpg`), or one is among the names `taken`, each keeps its whole name: `a.jpg.gnc`. What has the
    suffix already keeps its name. Distinct names give distinct outputs, but names that are one `key` may keep theirs.
    """
    held = Counter(map(key, taken))
    whole: set[str] = set()
    while True:
        outputs = [_cut(name + suffix if name in whole else with_suffix(name, suffix)) for name in names]
        count = Counter(map(key, outputs)) + held
        keep = {name for name in names if name.lower().endswith(suffix) and name not in taken}
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


def _cut(name: str) -> str:
    """The name, its last part no longer than a disk takes."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{fitted(last)}"


def key(name: str) -> str:
    """Equal for names that some disk does not tell apart: by case, by how an accent is spelled, by `./`."""
    return unicodedata.normalize("NFC", posixpath.normpath(name)).casefold()


def with_suffix(name: str, suffix: str) -> str:
    """`./a.b/c.d.jpg` -> `./a.b/c.d.gnc`; what has no suffix gets one."""
    return posixpath.splitext(name)[0] + suffix
