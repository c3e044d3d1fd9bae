"""The same work on many files: one that fails does not stop the rest, and each is reported for people or as JSON.

A few files take one codec in this process, many take one in each of several; results come in the order of the files.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import click

from gencomp import machine
from gencomp.bitstream import Inspection, ModelError, step_to_quality
from gencomp.cli.group import debugging, explain
from gencomp.cli.planning import check_regular
from gencomp.files import shown
from gencomp.processes import Died, Do, Returned, WorkerError, Workers

if TYPE_CHECKING:
    from gencomp.codec import Codec

FILES_A_PROCESS = 2  # with fewer, one process is done before another has loaded its model
MEMORY_A_PROCESS = 3 << 30  # bytes: what an image of 24 megapixels takes
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


class FileOutcome(NamedTuple):
    """What was done with one file: text for people, a record for --json. problem: why the status is still 1, if so."""

    text: str
    record: dict[str, Any]
    problem: str = ""


class Done(NamedTuple):
    """An outcome, or the error that took its place, and what was warned of on the way."""

    source: Path
    outcome: FileOutcome | None
    error: str
    notes: list[str]


Facts = tuple[str, bool]  # of the codec: its model's name, and whether that knows realism
Crew = tuple[Facts, Callable[[Sequence[Path]], Iterable[Done]]]  # from files to what came of them, in their order
Print = Callable[[str, IO[str]], None]


def default_jobs(files: int, device: str) -> int:
    """Processes for so many files: over the cores, as memory allows; one where a GPU does the work."""
    if device == "cuda" or (device == "auto" and NVIDIA_DRIVER.exists()):
        return 1
    return max(1, min(machine.processes_that_fit(MEMORY_A_PROCESS), files // FILES_A_PROCESS))


@contextmanager
def crew(work: Callable[[Codec, Path], FileOutcome], model: str | None, device: str, jobs: int) -> Iterator[Crew]:
    """Those who do `work`, ready: in this process for one job, else in `jobs` others, which end with the context. work:
    a function that can be pickled. ModelError where the model cannot be loaded."""
    if jobs == 1:
        facts, do = _prepare(work, model, device)
        yield facts, functools.partial(map, do)
        return
    prepare = functools.partial(_prepare, work, model, device)
    with Workers(prepare, jobs, min(machine.threads(), max(1, machine.cores() // jobs))) as workers:
        try:
            yield workers.greeting, functools.partial(_in_order, workers)
        except WorkerError as error:
            raise ModelError(f"{error}: try --jobs 1") from None


def _prepare(work: Callable[[Codec, Path], FileOutcome], model: str | None, device: str, *_: Any) -> tuple[Facts, Do]:
    from gencomp import codec as codecs

    codec = codecs.load(model, device=device)
    return (codec.model_name, codec.knows_realism), functools.partial(attempt, functools.partial(work, codec))


def _in_order(workers: Workers, files: Sequence[Path]) -> Iterator[Done]:
    """What came of each file. One whose process was ended from outside is tried again, once, after the others."""
    waiting, again, done, turn = deque(files), set[Path](), dict[Path, Done](), 0
    for event in workers.run(waiting):
        if isinstance(event, Died) and event.task not in again:
            again.add(event.task)
            waiting.append(event.task)
        elif isinstance(event, Died):
            error = f"its process was ended from outside ({event.fault}), perhaps for its memory: try --jobs 1"
            done[event.task] = Done(event.task, None, error, [])
        elif isinstance(event, Returned):
            done[event.task] = event.result
        while turn < len(files) and files[turn] in done:
            yield done.pop(files[turn])
            turn += 1


def report(
    results: Iterable[Done],
    total: int,
    as_json: bool,
    notes: Sequence[str] = (),
    left_out: str = "",
    out: IO[str] | None = None,
    quiet: bool = False,
) -> None:
    """Say what came of each file, as it comes; exits with status 1 if any failed or has a problem.

    A failure is one line on stderr and, with as_json, a record of `path` and `error` on stdout. notes: said before;
    left_out: said in the last line; out: instead of stdout; quiet: problems and records alone. On a terminal a progress
    bar goes with several files.
    """
    for note in [] if quiet else notes:
        echo(f"Note: {note}", err=True)
    with _progress(results, total, quiet) as (shown_results, say):
        failed = sum([not _report(done, as_json, say, out or sys.stdout, quiet) for done in shown_results])
    if left_out and not quiet:
        echo(f"Left out: {left_out}", err=True)
    if failed:
        click.get_current_context().exit(1)


def attempt(work: Callable[[Path], FileOutcome], source: Path) -> Done:
    """`work` on one file, whatever happens but an interruption; with GENCOMP_DEBUG=1 errors go through."""
    notes: list[str] = []
    try:
        check_regular(source)
        with _noting(notes):
            return Done(source, work(source), "", notes)
    except Exception as error:
        if debugging():
            raise
        return Done(source, None, explain(error).removeprefix(f"{shown(source)}: "), notes)


def describe(path: Path, inspection: Inspection) -> dict[str, Any]:
    """The record of a .gnc file: what it says of itself, without the model."""
    header, sections = inspection.header, inspection.sections
    size, area = sum(sections.values()), header.width * header.height
    record = {"path": str(path), "width": header.width, "height": header.height, "bytes": size, "bpp": 8 * size / area}
    record |= {"quality": step_to_quality(header.quality_step), "model": header.model_id.hex()}
    return record | {"format_version": header.version, "checksum_ok": inspection.checksum_ok, "sections": sections}


def size_text(record: dict[str, Any]) -> str:
    return f"{record['bytes']:,} bytes, {record['bpp']:.4g} bpp"


def echo(text: str, stream: IO[str] | None = None, *, err: bool = False) -> None:
    """Print lines, whatever names they hold and whatever the stream can encode: nothing in them reaches a terminal as
    a command. stream: standard output, or with `err` standard error, by default."""
    stream = stream or (sys.stderr if err else sys.stdout)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = (shown(line) for line in text.split("\n"))
    click.echo("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _report(done: Done, as_json: bool, say: Print, out: IO[str], quiet: bool) -> bool:
    for note in [] if quiet else done.notes:
        say(f"Note: {shown(done.source)}: {note}", sys.stderr)
    problem = done.error
    record: dict[str, Any] = {"path": str(done.source), "error": done.error}
    if done.outcome is not None:
        problem = done.outcome.problem
        record = {**done.outcome.record, "notes": done.notes} if done.notes else done.outcome.record
        if not as_json and not quiet:
            say(done.outcome.text, out)
    if problem:
        say(f"Error: {shown(done.source)}: {problem}", sys.stderr)
    if as_json:
        say(json.dumps(record), out)
    return not problem


@contextmanager
def _progress(results: Iterable[Done], total: int, quiet: bool) -> Iterator[tuple[Iterable[Done], Print]]:
    """The results, with a bar on a terminal if they are several, and a way of printing that does not tear it."""
    if total < 2 or quiet or not sys.stderr.isatty():
        yield results, echo
        return
    from tqdm import tqdm

    with tqdm(results, total=total, unit="file") as bar:

        def say(text: str, stream: IO[str]) -> None:
            with bar.external_write_mode(file=stream):
                echo(text, stream)

        yield bar, say


@contextmanager
def step_bar(source: Path, *, shows: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for the steps of long work on one file, told (done, total), on a terminal; else None."""
    if not shows or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc=shown(source.name), unit="step", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """Keep what gencomp and Pillow warn of in an image, and leave out the warnings of libraries."""
    from PIL import Image

    from gencomp.image import ImageWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        for category in (ImageWarning, Image.DecompressionBombWarning):
            warnings.filterwarnings("always", category=category)
        try:
            yield
        finally:
            notes += dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)  # each once
