"""What an output is called: its input's name with another suffix, and no two alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def output_names(names: Sequence[str], suffix: str) -> list[str]:
    """The outputs' names for the distinct names of a folder, in their order.

    `a.jpg` becomes `a.gnc`. Where two would become one (`a.jpg` and `a.png`, or, for disks that do not tell them
    apart, `A.jpg` and `a.jpg`), each keeps its whole name: `a.jpg.gnc`. Distinct names give distinct outputs.
    """
    whole: set[str] = set()
    while True:
        outputs = [name + suffix if name in whole else with_suffix(name, suffix) for name in names]
        count = Counter(output.casefold() for output in outputs)
        again = {name for name, output in zip(names, outputs) if count[output.casefold()] > 1} - whole
        if not again:
            return outputs
        whole |= again


def with_suffix(name: str, suffix: str) -> str:
    """`./a/b.c.jpg` -> `./a/b.c.gnc`; the name has a suffix."""
    return name.rpartition(".")[0] + suffix


class Taken:
    """Names as they come, for a tar file, read once: the second of two that would be one keeps its whole name."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str, suffix: str) -> str:
        """The output's name of a sample; the same sequence of claims gives the same names."""
        output = with_suffix(name, suffix) if not name.endswith(suffix) else name
        while output in self._taken:
            output = name + suffix
            name = output
        self._taken.add(output)
        return output
