"""Files on this disk: which names are images, how outputs come to disk, and how a name is shown."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_IMAGE_KINDS = "avif bmp gif heic heif j2k jp2 jpe jpeg jpg pbm pgm png pnm ppm tga tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{kind}" for kind in _IMAGE_KINDS.split())
"""What is taken from a folder of images; a file that is named itself may have any suffix."""
CODED_SUFFIX = ".gnc"
_BINARY = getattr(os, "O_BINARY", 0)
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # what CIFS and FUSE say of what they lack
_NO_RENAME = {*_UNKNOWN, errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS}


def write_atomically(
    path: str | Path, data: bytes | memoryview, like: Path | None = None, *, replace: bool = True
) -> None:
    """Write `data` to `path` whole or not at all: beside it first, flushed to the disk, then renamed over it.

    As `cp` does, it writes through a symbolic link, keeps the permissions of a file that it replaces, and gives a new
    one those of `like`, if given, less the umask; a file that is replaced is no more open than `like`, either. Without
    `replace` it raises FileExistsError where a file stands, also one that appears at the last moment. Raises OSError
    naming `path` (a missing folder, no permission, a full disk); the old file, if any, then stands unchanged and
    nothing is left beside it. Where a rename is refused (a file that is mounted, a folder that may not be written, a
    file system that knows none) it writes into the file itself, as `cp` does, and puts the old bytes back at a failure.
    """
    path = Path(path)
    target = replaceable(path)
    try:
        old = target.stat() if replace and target.exists() else None
        mode = like.stat().st_mode & 0o666 if like and like.exists() else 0o666
        mode = old.st_mode & (mode if like else 0o777) if old else mode
        try:
            with _beside(target, mode) as (beside, file):
                file.write(data)
                flush(file)
                file.close()  # else Windows would not rename it
                if old:
                    with contextlib.suppress(OSError, AttributeError):  # only root gives files away; Windows: no owners
                        os.chown(beside, old.st_uid, old.st_gid)
                    set_mode(beside, mode)
                move(beside, target, replace=replace)
        except OSError as error:
            if isinstance(error, FileExistsError) or error.errno not in _NO_RENAME:
                raise
            _write_into(target, data, mode, old is not None)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def flush(file: IO[bytes]) -> None:
    """Bring a file to the disk, as far as its file system knows how; OSError where that fails (full, broken)."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise


def set_mode(path: Path, mode: int) -> None:
    """Permissions, where the file system has them and this process may give them."""
    with contextlib.suppress(OSError):
        path.chmod(mode)


def move(file: Path, target: Path, *, replace: bool = True) -> None:
    """Let a flushed file (or a folder) be `target` and nothing else, whole or not at all, after a crash, too. Across
    file systems a file is copied beside `target` first. Without `replace`, FileExistsError where a file stands."""
    try:
        _rename(file, target, replace)
    except OSError as error:
        if error.errno != errno.EXDEV or not file.is_file():
            raise
        with _beside(target, stat.S_IMODE(file.stat().st_mode)) as (beside, copy):
            with file.open("rb") as source:
                shutil.copyfileobj(source, copy, 1 << 20)
            flush(copy)
            copy.close()
            _rename(beside, target, replace)
        file.unlink()
    with contextlib.suppress(OSError):  # the new name outlives a crash where folders can be flushed (not on Windows)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _rename(file: Path, target: Path, replace: bool) -> None:
    if replace:
        file.replace(target)
        return
    try:
        os.link(file, target)  # which, unlike a rename, replaces nothing
    except (OSError, AttributeError) as error:
        if isinstance(error, FileExistsError) or (isinstance(error, OSError) and error.errno == errno.EXDEV):
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL))  # no hard links here: the name is taken by an empty file
        try:
            file.replace(target)
        except OSError:
            target.unlink()
            raise
    else:
        file.unlink()


@contextlib.contextmanager
def _beside(target: Path, mode: int) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file in the folder of `target`, open for writing; gone at the end unless it was renamed."""
    path = target.with_name(f".gencomp-{secrets.token_hex(6)}.tmp")
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode), "wb") as file:
            yield path, file
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _write_into(target: Path, data: bytes | memoryview, mode: int, replace: bool) -> None:
    """Write into a file that stands, or a new one; what goes wrong leaves the old bytes, or nothing."""
    old = target.read_bytes() if replace and os.access(target, os.R_OK) else b""
    flags = os.O_WRONLY | (0 if replace else os.O_CREAT | os.O_EXCL) | _BINARY
    with os.fdopen(os.open(target, flags, mode), "wb", buffering=0) as file:
        try:
            _fill(file, data)
        except OSError:
            with contextlib.suppress(OSError):
                _fill(file, old) if replace else target.unlink()
            raise


def _fill(file: IO[bytes], data: bytes | memoryview) -> None:
    file.seek(0)
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    file.truncate()
    flush(file)


def replaceable(path: Path) -> Path:
    """The file that writing to `path` replaces or makes, symbolic links followed. Raises OSError where that is a
    folder, a device, a pipe, or the end of a broken link."""
    if path.is_symlink():
        with contextlib.suppress(OSError, RuntimeError):  # a RuntimeError is a link to itself
            return replaceable(path.resolve(strict=True))
        raise OSError(errno.ENOENT, "a symbolic link to nothing", str(path))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is not a file that can be replaced")
    return path


def fitted(name: str, room: int = 255) -> str:
    """The name if it has at most `room` bytes (file systems take 255), else its beginning and a digest of the whole."""
    raw = os.fsencode(name)
    if len(raw) <= room:
        return name
    suffix = os.path.splitext(raw)[1][-8:]  # noqa: PTH122 - of bytes
    end = b"~" + hashlib.sha256(raw).hexdigest()[:8].encode() + suffix
    kept = room - len(end)
    while raw[kept] & 0xC0 == 0x80:  # inside a letter
        kept -= 1
    return os.fsdecode(raw[:kept] + end)


def shown(name: str | Path) -> str:
    """A name as one line that any terminal can be given: what cannot be printed is escaped."""
    return "".join(char if char.isprintable() else _escaped(char) for char in str(name))


def _escaped(char: str) -> str:
    byte = ord(char) - 0xDC00  # how Python keeps a byte of a name that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape", "surrogatepass").decode()
