"""The same work on many files: one that fails does not stop the rest, and each is reported for people or as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from gencomp.cli.group import debugging, explain
from gencomp.cli.inputs import check_regular
from gencomp.files import shown


class Outcome(NamedTuple):
    """What was done with one file: text for people, a record for --json. problem: why the status is still 1, if so."""

    text: str
    record: dict[str, Any]
    problem: str = ""


class Done(NamedTuple):
    """An outcome, or the error that took its place, and what was warned of on the way."""

    source: Path
    outcome: Outcome | None
    error: str
    notes: list[str]


Work = Callable[[Path], Outcome]
Say = Callable[[str, IO[str]], None]


def report(results: Iterable[Done], total: int, as_json: bool, notes: Sequence[str] = (), left_out: str = "") -> None:
    """Say what came of each file, as it comes; exits with status 1 if any failed or has a problem.

    A failure is one line on stderr and, with as_json, a record of `path` and `error` on stdout. notes: said before;
    left_out: said in the last line. On a terminal a progress bar goes with several files.
    """
    for note in notes:
        echo(f"Note: {note}", sys.stderr)
    with _progress(results, total) as (shown_results, say):
        failed = sum([not _report(done, as_json, say) for done in shown_results])
    if left_out:
        echo(f"Left out: {left_out}", sys.stderr)
    if failed:
        click.get_current_context().exit(1)


def attempt(work: Work, source: Path) -> Done:
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


def echo(text: str, stream: IO[str]) -> None:
    """Print lines, whatever they hold and whatever the stream can encode."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    lines = (shown(line) for line in text.split("\n"))
    click.echo("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _report(done: Done, as_json: bool, say: Say) -> bool:
    """Say what came of a file; whether it went well."""
    for note in done.notes:
        say(f"Note: {shown(done.source)}: {note}", sys.stderr)
    problem = done.error
    if done.outcome is not None:
        problem = done.outcome.problem
        record = {**done.outcome.record, "notes": done.notes} if done.notes else done.outcome.record
        say(json.dumps(record) if as_json else done.outcome.text, sys.stdout)
    if problem:
        say(f"Error: {shown(done.source)}: {problem}", sys.stderr)
    if done.error and as_json:
        say(json.dumps({"path": str(done.source), "error": done.error}), sys.stdout)
    return not problem


@contextmanager
def _progress(results: Iterable[Done], total: int) -> Iterator[tuple[Iterable[Done], Say]]:
    """The results, with a bar on a terminal if they are several, and a way of printing that does not tear it."""
    if total < 2 or not sys.stderr.isatty():
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
            notes += [" ".join(str(warning.message).split()) for warning in caught]
