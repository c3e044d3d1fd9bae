"""What files a command works on and what their outputs are called, decided before any work.

* A folder among the inputs is walked (walk.py); what it leaves out is said in the last line. A file is taken once,
  however it is spelled. What cannot be read (a missing file, a folder without a fitting file) fails in its turn.
* `-` is standard input, whose output is standard output unless `-o` names a file; `-o -` is standard output. Pipes that
  a shell makes of `<(command)` are inputs like files.
* Without `-o` an output stands beside its input, with another suffix. With one input file `-o` is a file, or a folder
  if it is one already or ends in a slash. With a folder, `-o` is a folder, made if missing, in which the input's tree
  is mirrored; with several inputs each folder's tree stands below its own name, as with `cp -r`.
* What outputs are called when names are shared, and what may be written, outputs.py says. An output that still shares
  its name, may not be written, or has no folder to stand in, is a problem of that one file, which fails in its turn,
  before it is coded.

Paths are compared by what they are on the disk, not by how they are spelled.
"""

import io
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from gencomp.cli.group import WrongUsage
from gencomp.files import shown
from gencomp.outputs import Outputs, name_key, output_names, protecting
from gencomp.walk import Leftovers, Taken, Walk, file_kind, kind_text, merged, walk

STREAM = Path("-")
_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
_LIMIT = 2 << 30  # bytes: a pipe may never end


class NamingError(ValueError):
    """An input whose output has no place."""


class Plan(NamedTuple):
    """What to make of what, in order. folder: where all outputs go, made when needed; None if they name their own.
    named: whether the user gave the name of the one output."""

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
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
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
    paths: Sequence[Path], taken: Taken, output: str | None, suffix: str, overwrite: bool = False, own: bytes = b""
) -> Plan:
    """Where the output of each input goes. suffix: of outputs whose name is not given, with its dot.

    taken: which files of a folder are inputs; overwrite, own: as in outputs.py. Writes nothing; WrongUsage where `-o`
    cannot be meant.
    """
    places, left_out = find_inputs(paths, taken)
    outputs = protecting(places, overwrite, own)
    if STREAM in paths and len(paths) > 1:
        raise WrongUsage("- is standard input: name no other file beside it")
    target = None if output is None and STREAM not in paths else named(output or "-")
    if target is not None:
        is_folder = target != STREAM and (file_kind(target) == stat.S_IFDIR or str(output).endswith(("/", os.sep)))
        if is_folder and STREAM in paths:
            raise WrongUsage(f"-o {output} is a folder, and what comes from standard input has no name: name a file")
        if len(paths) == 1 and file_kind(paths[0]) != stat.S_IFDIR and not is_folder:
            return Plan(dict.fromkeys(places, target), {}, None, True, outputs, [], left_out)
        if target == STREAM:
            raise WrongUsage("-o - is standard output, which takes one file")
        if file_kind(target) not in (stat.S_IFDIR, None):
            raise WrongUsage(f"-o {output} is a file: several inputs, or a folder, need a folder")
    targets, problems = _targets(places, target, suffix)
    whole = [source for source, made in targets.items() if source.suffix and made.name == source.name + suffix]
    names = ", ".join(map(shown, whole[:4])) + (", ..." if len(whole) > 4 else "")
    notes = [f"outputs that would share a name keep their inputs' whole names, as in a.jpg{suffix}: {names}"]
    return Plan(targets, problems, target, False, outputs, notes if whole else [], left_out)


def find_inputs(paths: Sequence[Path], taken: Taken) -> tuple[dict[Path, Path], str]:
    """The files that `paths` name, folders replaced by the files in them that are `taken` (module docstring), each with
    where it stands below the folder that was named, else its name; and in words what folders hold besides."""
    folders = [path != STREAM and file_kind(path) == stat.S_IFDIR for path in paths]
    walks = [walk(path, taken) if is_folder else Walk([], Leftovers()) for path, is_folder in zip(paths, folders)]
    seen, places = set(), dict[Path, Path]()
    for path, inside in zip(paths, walks):
        top = Path(path.resolve().name) if len(paths) > 1 else Path()
        for file in inside.files or [path]:
            identity = os.path.realpath(file.parent), file.name
            if identity not in seen:
                seen.add(identity)
                name = file.absolute() if inside.files and file == STREAM else file  # a file of the folder "."
                places[name] = top / file.relative_to(path) if inside.files else Path(path.name)
    return places, merged(walks).told()


def check_regular(path: Path) -> None:
    """Raise OSError for what would block or never end when it is read, and for a folder without a file to work on."""
    kind = stat.S_IFREG if is_pipe(path) else file_kind(path)
    if kind == stat.S_IFDIR:
        with os.scandir(path):  # which names the reason if the folder cannot be read
            raise IsADirectoryError("no file to work on in this folder")
    if kind not in (stat.S_IFREG, None):
        raise OSError(f"{kind_text(kind)}, not a file")


def named(name: str) -> Path:
    """The path that a user's name stands for: `-`, `/dev/stdin` and `/dev/stdout` are STREAM, `./-` is a file."""
    path = Path(name)
    if name in ("-", "/dev/stdin", "/dev/stdout"):
        return STREAM
    return path.absolute() if path == STREAM else path


def is_pipe(path: Path) -> bool:
    """Whether a path is STREAM, or a pipe that this process was started with: somebody writes to it."""
    return path == STREAM or (path.parent in _DESCRIPTORS and file_kind(path) == stat.S_IFIFO)


def content(path: Path) -> Path | BinaryIO:
    """The path, or all that comes through a pipe; OSError for a terminal, and for more than 2 GiB."""
    if not is_pipe(path):
        return path
    if path == STREAM and sys.stdin.isatty():
        raise OSError("standard input is a terminal: name a file, or pipe one in")
    with nullcontext(sys.stdin.buffer) if path == STREAM else path.open("rb") as file:
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise OSError("more than 2 GiB come through the pipe: too large for an image")
    return io.BytesIO(data)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """What `content` gives, to be read from any place in it."""
    given = content(path)
    with given.open("rb") if isinstance(given, Path) else given as file:
        yield file


def _targets(places: Mapping[Path, Path], folder: Path | None, suffix: str) -> tuple[dict[Path, Path], dict[Path, str]]:
    """One output for each source, below the folder or beside it; and why a source has none of its own."""

    def identity(name: str) -> str:
        """Links followed, and below the folder of the outputs without regard to case."""
        real, root = os.path.realpath(name), os.path.realpath(Path(name).parent if folder is None else folder)
        root = root if real.startswith(root.rstrip(os.sep) + os.sep) else str(Path(real).parent)
        return root + name_key(real[len(root) :])

    wholes = {source: source if folder is None else folder / inside for source, inside in places.items()}
    problems, writers = dict[Path, str](), dict[str, Path]()
    for source, place in wholes.items():
        output = place.with_name(place.name + suffix) if place.name else place / suffix
        first = writers.setdefault(identity(str(output)), source)
        if first != source:
            problems[source] = f"it would become {shown(output)}, as {shown(first)} does: give it another -o"
    alone = {source: place.as_posix() for source, place in wholes.items() if place.name and source not in problems}
    made = dict(zip(alone, map(Path, output_names([*alone.values()], suffix, key=identity))))
    return {source: made.get(source, place / suffix) for source, place in wholes.items()}, problems
