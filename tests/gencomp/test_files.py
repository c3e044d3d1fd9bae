"""Files appear whole or not at all, as `cp` would leave them, and any name can be shown."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gencomp.files import shown, write_atomically


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_file_holds_the_data_and_nothing_stands_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"one")
    write_atomically(str(tmp_path / "a.bin"), memoryview(b"two"))
    assert (tmp_path / "a.bin").read_bytes() == b"two"
    assert _names(tmp_path) == ["a.bin"]


def test_written_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_is_an_oserror_that_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[failing], no_space)
    with pytest.raises(OSError, match=r"No space left on device.*a\.bin"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.bin", b"new")
    assert _names(tmp_path) == []


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing/a\.bin"):
        write_atomically(tmp_path / "missing" / "a.bin", b"")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: os.mkfifo(path)])
def test_folder_or_device_is_never_replaced(tmp_path: Path, make: object) -> None:
    make(tmp_path / "x")  # type: ignore[operator]
    with pytest.raises(OSError, match="not a file that can be replaced"):
        write_atomically(tmp_path / "x", b"")
    assert _names(tmp_path) == ["x"]


def _mode(path: Path) -> str:
    return oct(path.stat().st_mode & 0o777)


def test_permissions_are_those_of_the_file_that_is_replaced_or_of_the_one_it_is_like(tmp_path: Path) -> None:
    secret, plain = tmp_path / "secret", tmp_path / "plain"
    for path, mode in ((secret, 0o600), (plain, 0o664)):
        path.write_bytes(b"")
        path.chmod(mode)
    before = os.umask(0o022)
    try:
        write_atomically(secret, b"new", like=plain)
        write_atomically(tmp_path / "a", b"", like=secret)
        write_atomically(tmp_path / "b", b"", like=plain)
        write_atomically(tmp_path / "c", b"", like=tmp_path / "missing")
    finally:
        os.umask(before)
    assert [_mode(tmp_path / name) for name in ("secret", "a", "b", "c")] == ["0o600", "0o600", "0o644", "0o644"]


def test_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(Path("real", "a"))
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"new"
    assert _names(tmp_path / "real") == ["a"]


@pytest.mark.parametrize("target", ["nothing", "link"])
def test_symbolic_link_to_nothing_or_to_itself_is_an_oserror(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(OSError, match="a symbolic link to nothing"):
        write_atomically(tmp_path / "link", b"new")
    assert _names(tmp_path) == ["link"]


def test_names_are_shown_in_one_printable_line() -> None:
    assert shown(Path("a b/ü.png")) == "a b/ü.png"
    assert shown("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert shown(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert shown("\ud800").isprintable()
