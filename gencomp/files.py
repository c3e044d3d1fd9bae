"""Files on this disk: which names are images, how outputs come to disk, and how a name is shown."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

_IMAGE_KINDS = "avif bmp gif heic heif j2k jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _IMAGE_KINDS.split())
"""What is taken from a folder of images; a file that is named itself may have any suffix."""
CODED_SUFFIX = ".gnc"


def write_atomically(
    path: str | Path, data: bytes | memoryview, like: Path | None = None, *, replace: bool = True
) -> None:
    """Write `data` to `path` whole or not at all: beside it first, flushed to the disk, then renamed over it.

    As `cp` does, it writes through a symbolic link, keeps the permissions of a file that it replaces, and gives a new
    one those of `like`, if given, less the umask; a file that is replaced is no more open than `like`, either. Without
    `replace` it raises FileExistsError where a file stands, also one that appears at the last moment. Raises OSError
    naming `path` (a missing folder, no permission, a full disk); the old file, if any, then stands unchanged and
    nothing is left beside it.
    """
    path = Path(path)
    target = replaceable(path)
    beside = target.with_name(f".gencomp-{secrets.token_hex(6)}.tmp")
    try:
        old = target.stat() if replace and target.exists() else None
        mode = like.stat().st_mode & 0o666 if like and like.exists() else 0o666
        mode = old.st_mode & (mode if like else 0o777) if old else mode
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(beside, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old:
            with contextlib.suppress(OSError, AttributeError):  # only root may give files away; Windows has no owners
                os.chown(beside, old.st_uid, old.st_gid)
            beside.chmod(mode)
        (Path.replace if replace else _move_to_new)(beside, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _move_to_new(beside: Path, target: Path) -> None:
    """Rename where nothing stands, or FileExistsError."""
    try:
        os.link(beside, target)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # a file system without hard links: the name is taken first, by an empty file
        os.close(os.open(target, os.O_CREAT | os.O_EXCL))
        beside.replace(target)


def replaceable(path: Path) -> Path:
    """The file that writing to `path` replaces or makes, symbolic links followed.

    Raises OSError where that is a folder, a device, a pipe, or the end of a broken link.
    """
    if path.is_symlink():
        with contextlib.suppress(OSError, RuntimeError):  # a RuntimeError is a link to itself
            return replaceable(path.resolve(strict=True))
        raise OSError(errno.ENOENT, "a symbolic link to nothing", str(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file that can be replaced")
    return path


def shown(name: str | Path) -> str:
    """A name as one line that any terminal can be given: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(name))


def _escaped(char: str) -> str:
    byte = ord(char) - 0xDC00  # how Python keeps a byte of a name that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape", "surrogatepass").decode()
