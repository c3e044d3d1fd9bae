"""Ctrl-C as one line, from the first import on.

Importing takes longer than many a command; an interruption in it reaches no handler of the command, so that Python
would print a traceback. Only the process that is the command `gencomp` is changed, never one that imports the library.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType


def say_in_one_line() -> None:
    """If this process is the command, let an interruption that nothing catches end it with one line, status 130."""
    if _is_command():
        sys.excepthook = _hook


def _is_command() -> bool:
    started = list(getattr(sys, "orig_argv", []))
    if sys.argv[:1] == ["-m"]:  # as it reads while `python -m gencomp` looks for its module
        return "gencomp" in started and started[started.index("gencomp") - 1] == "-m"
    return os.path.splitext(os.path.basename((sys.argv or [""])[0]))[0] == "gencomp"  # noqa: PTH119, PTH122 - no import


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write("Interrupted\n")
    sys.stderr.flush()
    os._exit(130)  # what is left to do at exit could be interrupted again
