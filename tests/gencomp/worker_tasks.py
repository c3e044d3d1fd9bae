"""What the workers of tests do; a module of its own, for they import it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Prepared = tuple[Any, Callable[[Any], Any]]


class UnpicklableError(ValueError):
    def __init__(self, message: str, reason: str) -> None:
        super().__init__(f"{message} {reason}")


def prepare(number: int, say: Callable[[Any], None]) -> Prepared:
    def do(task: int) -> int:
        if task == 13:
            os.abort()
        if task == 99:
            raise UnpicklableError("ninety-nine", "is wrong")
        if task == 77:
            say("a word")
        return task * task

    return "ready", do


def prepare_to_wait(pid: str, number: int, say: Callable[[Any], None]) -> Prepared:
    def do(task: Any) -> None:
        half = Path(pid + ".half")
        try:
            half.touch()
            Path(pid).write_text(str(os.getpid()))
            time.sleep(60)
        finally:
            half.unlink()

    return None, do


def unfit(number: int, say: Callable[[Any], None]) -> Prepared:
    os.abort()


def unfit_but_the_last(folder: str, number: int, say: Callable[[Any], None]) -> Prepared:
    Path(folder, f"{number}-{os.getpid()}").touch()
    return prepare(number, say) if number else unfit(number, say)


def what_is_imported(names: tuple[str, ...], number: int, say: Callable[[Any], None]) -> Prepared:
    import importlib
    import sys

    return None, lambda task: {name: importlib.import_module(name).__file__ for name in names} | {"path": sys.path[:]}


def prepare_to_die_once(mark: str, job: Any, number: int, say: Callable[[Any], None]) -> Prepared:
    """Bulk's workers, of whom the first is killed as it says that its first sample is done."""
    from gencomp.bulk.workers import Sampled, _prepare

    def say_and_die(what: Any) -> None:
        say(what)
        if isinstance(what, Sampled) and not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return _prepare(job, number, say_and_die)
