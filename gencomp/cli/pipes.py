"""Standard input and output in the place of a file: `-`, and the pipes that a shell makes of `<(command)`."""

from __future__ import annotations

import io
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gencomp.walk import file_kind

STREAM = Path("-")
_DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
_LIMIT = 2 << 30  # bytes: a pipe may never end


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
    if path == STREAM:
        data = sys.stdin.buffer.read(_LIMIT + 1)
    else:
        with path.open("rb") as file:
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


def put(data: bytes | memoryview) -> None:
    """Write to standard output, whole."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
