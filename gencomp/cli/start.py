"""What a process of this program does before it imports anything else.

`python -m gencomp...` puts its working folder, which may be a folder of a stranger's files, before all else that is
imported, from the first import on. Importing takes longer than many a command, and an interruption in it reaches no
handler of the command, so that Python would print a traceback. A process that imports the library is never changed.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # of `typing`, which is not imported here
if TYPE_CHECKING:
    from types import TracebackType


def prepare() -> None:
    """Call first: only builtin modules and those that Python itself has loaded are imported before it."""
    ours = _module().partition(".")[0] == "gencomp"
    if ours and not sys.flags.safe_path and sys.path and sys.path[0] in ("", _working_folder()):
        del sys.path[0]
    if ours or os.path.splitext(os.path.basename((sys.argv or [""])[0]))[0] == "gencomp":  # noqa: PTH119, PTH122
        sys.excepthook = _hook


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - no import
    except OSError:  # it is gone
        return ""


def _module() -> str:
    """That of `python -m MODULE`, while Python looks for it; else nothing."""
    if sys.argv[:1] != ["-m"]:
        return ""
    for word, after in zip(sys.orig_argv, [*sys.orig_argv[1:], ""]):
        if word == "-m":
            return after
        if word.startswith("-m"):
            return word[2:]
    return ""


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write("Interrupted\n")
    sys.stderr.flush()
    os._exit(130)  # what is left to do at exit could be interrupted again
