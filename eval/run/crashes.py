"""A codec whose native code takes the whole program down: which picture it was, and going on without it.

Before a codec is called, the cells that would record its failure are written beside the results, and removed when it
has returned. A program that ends by a fault in between leaves them behind; its parent, which does nothing but wait,
makes results of them and starts the work anew. Such a result stands until the codec or the picture changes.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click

from gencomp.files import write_atomically

from . import records as cells
from .records import Cell

FAULTS = ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT")  # what native code ends by, and nobody sends
CRASHED = "crashed the program"


@contextmanager
def noted(out: Path, failures: Sequence[Cell]) -> Iterator[None]:
    """Keep on disk, for as long as the work inside lasts, which cells have failed if the program does not survive."""
    path = _note(out)
    write_atomically(path, json.dumps([cell._asdict() for cell in failures]).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def outlive(out: Path) -> None:
    """Go on in a child process, and in another one after each crash of a codec. Returns in the children alone.

    Does nothing where processes cannot be forked, or no longer safely because torch has been loaded. One of several
    processes that work together cannot be started anew: it ends, and the same command goes on where it was.
    """
    if not hasattr(os, "fork") or "torch" in sys.modules:
        return
    alone = int(os.environ.get("WORLD_SIZE", "1")) < 2
    _note(out).unlink(missing_ok=True)
    while True:
        parent, child = os.getpid(), os.fork()
        if child == 0:
            _take_interrupts()
            _end_with(parent)
            return
        fault = _wait(child)
        where = _keep(out, f"{CRASHED} ({fault})")
        if where is None:
            _end(f"Error: the program crashed ({fault}), in no codec.")
        click.echo(f"\nProblem: {where} {CRASHED} ({fault}); going on without it.", err=True)
        if not alone:
            _end("The same command goes on where this run was.")


def _note(out: Path) -> Path:
    return out / f".coding-{os.environ.get('RANK', '0')}.json"


def _wait(child: int) -> str:
    """The name of the fault that ended a child. Where it ended otherwise, this process ends as it did."""

    def forward(number: int, _: Any) -> None:
        os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, forward)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    fault = signal.Signals(-code).name if code < 0 else ""
    if fault not in FAULTS:
        os._exit(code if code >= 0 else 128 - code)
    return fault


def _take_interrupts() -> None:
    """A terminal interrupts parent and child, and the parent passes it on: the second one is not to be heard."""

    def once(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, once)


def _end_with(parent: int) -> None:
    """Where the system knows how (Linux), let this process be killed when its parent is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _keep(out: Path, error: str) -> str | None:
    """Save the cells that a dead child has noted; which codec and picture they are of, or None without any."""
    try:
        failures = [Cell(**cell) for cell in json.loads(_note(out).read_text("utf-8"))]
        _note(out).unlink()
    except (OSError, ValueError, TypeError):
        return None
    for cell in failures:
        cells.save(out, cell._replace(row=cell.row | {"error": error}))
    return f"{failures[0].place.codec}, {failures[0].place.image} at {failures[0].place.setting}:"


def _end(line: str) -> NoReturn:
    click.echo(line, err=True)
    os._exit(1)
