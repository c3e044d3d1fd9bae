"""The same work on many files: one that fails does not stop the rest, and each is reported for people or as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from gencomp.cli.group import debugging, explain


class Outcome(NamedTuple):
    """What was done with one file: text for people, a record for --json. problem: why the status is still 1, if so."""

    text: str
    record: dict[str, Any]
    problem: str = ""


Say = Callable[[str, IO[str]], None]


def each_file(sources: Sequence[Path], work: Callable[[Path], Outcome], as_json: bool) -> None:
    """Do `work` for each file and say what came of it; exits with status 1 if any failed or has a problem.

    A failure is one line on stderr and, with as_json, a record of `path` and `error` on stdout. On a terminal a
    progress bar goes with several files.
    """
    failed = False
    with _progress(sources) as (steps, say):
        for source in steps:
            try:
                if source.is_dir():
                    raise IsADirectoryError("no file to work on in this folder")
                with _notes(source, say):
                    outcome = work(source)
            except Exception as error:
                if debugging():
                    raise
                failed = True
                text = explain(error).removeprefix(f"{source}: ")
                say(f"Error: {source}: {text}", sys.stderr)
                if as_json:
                    say(json.dumps({"path": str(source), "error": text}), sys.stdout)
                continue
            say(json.dumps(outcome.record) if as_json else outcome.text, sys.stdout)
            if outcome.problem:
                failed = True
                say(f"Error: {source}: {outcome.problem}", sys.stderr)
    if failed:
        click.get_current_context().exit(1)


@contextmanager
def _progress(sources: Sequence[Path]) -> Iterator[tuple[Sequence[Path], Say]]:
    """The sources, with a bar on a terminal if they are several, and a way of printing that does not tear it."""
    if len(sources) < 2 or not sys.stderr.isatty():
        yield sources, lambda text, stream: click.echo(text, file=stream)
        return
    from tqdm import tqdm

    with tqdm(sources, unit="file") as bar:
        yield bar, lambda text, stream: bar.write(text, file=stream)


@contextmanager
def _notes(source: Path, say: Say) -> Iterator[None]:
    """Turn what gencomp warns of in a picture into notes, and keep the warnings of libraries to themselves."""
    from gencomp.image import ImageWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=ImageWarning)
        yield
    for warning in caught:
        say(f"Note: {source}: {warning.message}", sys.stderr)
