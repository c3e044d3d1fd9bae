"""What the outputs of a command are called, decided before any work.

* Without `-o` an output stands beside its input, with another suffix.
* With one input file `-o` is a file, or a folder if it is one already or ends in a slash.
* With a folder, `-o` is a folder, made if missing, in which the input's tree is mirrored; with several inputs each
  folder's tree stands below its own name, as with `cp -r`.
* `-` is standard input, whose output is standard output unless `-o` names a file; `-o -` is standard output.
* A name of more than 255 bytes is cut, and a digest of the whole put at its end.
* Outputs that would share a name (`a.jpg` and `a.png`; names that differ in case alone are one) keep their inputs'
  whole names instead (`a.jpg.gnc`), and this is said. What still shares a name, may not be written (outputs.py), or
  has no folder to stand in, is a problem of that one file: it fails in its turn, before it is coded.

Paths are compared by what they are on the disk, not by how they are spelled.
"""

from __future__ import annotations

import os
import stat
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from gencomp.cli.group import WrongUsage
from gencomp.cli.inputs import Inputs, Source, find_inputs
from gencomp.cli.pipes import STREAM, is_pipe, named, put
from gencomp.files import fitted, shown
from gencomp.outputs import Outputs, protecting
from gencomp.walk import Taken, file_kind

if TYPE_CHECKING:
    from gencomp.codec import Codec


class NamingError(ValueError):
    """An input whose output has no place."""


class Plan(NamedTuple):
    """What to make of what, in order. folder: where all outputs go, made when needed; None if they name their own.

    named: whether the user gave the name of the one output.
    """

    targets: dict[Path, Path]
    problems: dict[Path, str]
    folder: Path | None
    named: bool
    outputs: Outputs
    notes: list[str]
    left_out: str

    def place(self, source: Path) -> Path:
        """The output of a source, its folder made if it is below `-o`; NamingError or OSError where it has no place."""
        if source in self.problems:
            raise NamingError(self.problems[source])
        target = self.targets[source]
        if target == STREAM:
            if sys.stdout.isatty():
                raise NamingError("standard output is a terminal: name a file with -o, or pipe it on")
            return target
        self.outputs.check(target, self._below(target))
        if self.folder is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.is_dir():
            raise NamingError(f"there is no folder {shown(target.parent)}: make it first")
        return target

    def write(self, source: Path, data: bytes | memoryview, suffix: str = "") -> Path:
        """Write the output of a source, no more open than it is; where. suffix: another than was planned."""
        target = self.targets[source]
        if target == STREAM:
            put(data)
            return target
        below = self._below(target)
        if suffix:
            below, target = below or target.parent, target.with_suffix(suffix)
        self.outputs.write(target, data, None if is_pipe(source) else source, below)
        return target

    @property
    def piped(self) -> bool:
        """Whether one of the inputs is known to this process alone."""
        return any(map(is_pipe, self.targets))

    @property
    def said_on(self) -> IO[str]:
        """Where to say what was done: not in the middle of an output."""
        return sys.stderr if STREAM in self.targets.values() else sys.stdout

    def _below(self, target: Path) -> Path | None:
        return None if self.named else target.parent if self.folder is None else self.folder


def plan(
    paths: Sequence[Path],
    taken: Taken,
    output: str | None,
    suffix: str,
    overwrite: bool = False,
    own: bytes = b"",
) -> Plan:
    """Where the output of each input goes. suffix: of outputs whose name is not given, with its dot.

    taken: which files of a folder are inputs; overwrite, own: as in outputs.py. Writes nothing; WrongUsage where `-o`
    cannot be meant.
    """
    inputs = find_inputs(paths, taken)
    outputs = protecting([source.path for source in inputs.sources], overwrite, own)
    if STREAM in paths and len(paths) > 1:
        raise WrongUsage("- is standard input: name no other file beside it")
    if output is None and STREAM not in paths:
        return _plan(inputs, outputs, None, suffix)
    target = named(output or "-")
    is_folder = target != STREAM and (file_kind(target) == stat.S_IFDIR or str(output).endswith(("/", os.sep)))
    if is_folder and STREAM in paths:
        raise WrongUsage(f"-o {output} is a folder, and what comes from standard input has no name: name a file")
    if len(paths) == 1 and file_kind(paths[0]) != stat.S_IFDIR and not is_folder:
        targets = {source.path: target for source in inputs.sources}
        return Plan(targets, {}, None, True, outputs, [], inputs.left_out)
    if target == STREAM:
        raise WrongUsage("-o - is standard output, which takes one file")
    if file_kind(target) not in (stat.S_IFDIR, None):
        raise WrongUsage(f"-o {output} is a file: several inputs, or a folder, need a folder")
    return _plan(inputs, outputs, target, suffix)


def load_codec(model: str | None, device: str) -> Codec:
    """The codec of a model named as the user does. Imports torch: --help and info answer without."""
    from gencomp import codec

    return codec.load(model, device=device)


def _plan(inputs: Inputs, outputs: Outputs, folder: Path | None, suffix: str) -> Plan:
    """One output for each source: the short name, or the whole one where the short one is not its own."""

    def target(source: Source, whole: bool) -> Path:
        place = source.path if folder is None else folder / source.inside
        if not place.name:  # "." or "/", in which there was no file: fails in its turn
            return place / suffix
        return place.with_name(fitted((place if whole else place.with_suffix("")).name + suffix))

    short = {source.path: target(source, whole=False) for source in inputs.sources}
    notes = []
    shared = _sharing(short, folder)
    targets = {s.path: target(s, whole=s.path in shared) for s in inputs.sources}
    if shared:
        names = ", ".join(shown(path) for path in list(shared)[:4]) + (", ..." if len(shared) > 4 else "")
        notes.append(f"outputs that would share a name keep their inputs' whole names, as in a.jpg{suffix}: {names}")
    problems = {
        source: f"it would become {shown(targets[source])}, as {shown(first)} does: give it another -o"
        for source, first in _sharing(targets, folder).items()
        if source != first
    }
    return Plan(targets, problems, folder, False, outputs, notes, inputs.left_out)


def _sharing(targets: dict[Path, Path], folder: Path | None) -> dict[Path, Path]:
    """The sources whose outputs are one file, each with the first that would write it."""
    writers = defaultdict(list)
    for source, target in targets.items():
        writers[_identity(target, folder)].append(source)
    return {source: sources[0] for sources in writers.values() if len(sources) > 1 for source in sources}


def _identity(target: Path, folder: Path | None) -> tuple[str, str]:
    """What a path is: links followed, and below the folder of the outputs without regard to case."""
    real, root = os.path.realpath(target), os.path.realpath(target.parent if folder is None else folder)
    root = root if real.startswith(root.rstrip(os.sep) + os.sep) else str(Path(real).parent)
    return root, unicodedata.normalize("NFC", real[len(root) :]).casefold()
