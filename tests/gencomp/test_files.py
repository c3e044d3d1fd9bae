"""Files appear whole or not at all, as `cp` would leave them, and any name can be shown."""

import errno
import os
import stat
import tempfile
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencomp.files import fitted, move, set_mode, shown, write_atomically
from gencomp.outputs import output_names


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_written_file_holds_the_data_and_nothing_stands_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.bin", b"one")
    write_atomically(str(tmp_path / "a.bin"), memoryview(b"two"))
    assert ((tmp_path / "a.bin").read_bytes(), _names(tmp_path)) == (b"two", ["a.bin"])


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_is_named_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    refusing(monkeypatch, {"fsync": os, "replace": Path}[failing], failing, errno.ENOSPC)
    with pytest.raises(OSError, match=r"No space left on device.*a\.bin"):
        write_atomically(target, b"new")
    assert (target.read_bytes(), _names(tmp_path)) == (b"old", ["a.bin"])


def refusing(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, code: int) -> None:
    monkeypatch.setattr(owner, name, Mock(side_effect=OSError(code, os.strerror(code))))


REFUSALS = {
    "fsync on CIFS": (os, "fsync", errno.EINVAL),
    "fsync on FUSE": (os, "fsync", errno.ENOTSUP),
    "fsync on WSL": (os, "fsync", errno.ENOSYS),
    "chmod on CIFS": (Path, "chmod", errno.EPERM),
    "chmod on gcsfuse": (Path, "chmod", errno.ENOTSUP),
    "chown on NFS": (os, "chown", errno.EINVAL),
    "rename over a mounted file": (Path, "replace", errno.EBUSY),
    "rename in a folder of others": (Path, "replace", errno.EACCES),
    "rename over another disk": (Path, "replace", errno.EXDEV),
    "rename on mountpoint-s3": (Path, "replace", errno.ENOSYS),
}


@pytest.mark.parametrize("old", [None, b"older bytes, and longer ones"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_a_file_system_refuses_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str, old: bytes | None
) -> None:
    target = tmp_path / "a.bin"
    if old is not None:
        target.write_bytes(old)
    refusing(monkeypatch, *REFUSALS[refusal])
    refusing(monkeypatch, os, "link", errno.EPERM)
    write_atomically(target, b"new", replace=old is not None)
    assert (target.read_bytes(), _names(tmp_path)) == (b"new", ["a.bin"])


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_while_a_file_is_written_in_place_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None, code: int
) -> None:
    target, calls = tmp_path / "a.bin", []
    if old is not None:
        target.write_bytes(old)

    def once(_: int) -> None:  # the part beside the target is flushed, the target is not
        calls.append(1)
        if len(calls) == 2:
            raise OSError(code, os.strerror(code))

    refusing(monkeypatch, Path, "replace", errno.EBUSY)
    refusing(monkeypatch, os, "link", errno.EPERM)
    monkeypatch.setattr(os, "fsync", once)
    with pytest.raises(OSError, match=r"a\.bin"):
        write_atomically(target, b"newer and longer", replace=old is not None)
    assert _names(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or target.read_bytes() == old


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_moving_to_another_disk_copies_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        (tmp_path / "part").write_bytes(b"x" * 3_000_000)
        set_mode(tmp_path / "part", 0o640)
        move(tmp_path / "part", Path(other, "whole"))
        assert Path(other, "whole").read_bytes() == b"x" * 3_000_000
        assert (_names(tmp_path), _names(Path(other)), _mode(Path(other, "whole"))) == ([], ["whole"], "0o640")


@pytest.mark.parametrize("replace", [True, False])
def test_the_folder_is_flushed_after_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool) -> None:
    seen = []

    def fsync(file: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(file).st_mode), (tmp_path / "a").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "a", b"new", replace=replace)
    assert seen == [(False, False), (True, True)]


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.bin", b"new")
    assert _names(tmp_path) == []


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
    assert ((tmp_path / "real" / "a").read_bytes(), _names(tmp_path / "real")) == (b"new", ["a"])


@pytest.mark.parametrize("target", ["nothing", "link"])
def test_symbolic_link_to_nothing_or_to_itself_is_an_oserror(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(OSError, match="a symbolic link to nothing"):
        write_atomically(tmp_path / "link", b"new")
    assert _names(tmp_path) == ["link"]


@pytest.mark.parametrize("letter", ["x", "é", "語", "\udce9"])
def test_a_name_that_is_too_long_is_cut_between_letters_and_keeps_its_suffix(tmp_path: Path, letter: str) -> None:
    long = [letter * count + ".jpg.gnc" for count in (300, 301)]
    names = [fitted(name) for name in long]
    assert len({*names}) == 2
    for name in names:
        (tmp_path / name).touch()
        assert 251 < len(os.fsencode(name)) <= 255
        assert name.endswith(".gnc")
        assert name.startswith(letter * 50)
        assert fitted(name) == name
    assert (fitted("a" * 255), len(fitted("a" * 255 + "." + "b" * 255))) == ("a" * 255, 255)


def test_names_are_shown_in_one_printable_line() -> None:
    assert shown(Path("a b/ü.png")) == "a b/ü.png"
    assert shown("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert shown(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert shown("\ud800").isprintable()


NAMES = st.lists(st.from_regex(r"[aAb.]{0,3}[ab]\.(jpg|png|gnc)", fullmatch=True), unique=True, max_size=12)


@given(NAMES)
def test_distinct_inputs_have_distinct_outputs_even_where_case_is_not_told_apart(names: list[str]) -> None:
    files = [name for i, name in enumerate(names) if name.casefold() not in {n.casefold() for n in names[:i]}]
    outputs = [name.casefold() for name in output_names(files, ".gnc")]
    assert len(set(outputs)) == len(outputs)


@given(NAMES)
def test_outputs_take_no_name_that_is_taken(names: list[str]) -> None:
    taken = {name.rpartition(".")[0] + ".gnc" for name in names[::2]} - {*names}
    outputs = output_names(names, ".gnc", taken)
    assert len({*outputs, *taken}) == len(outputs) + len(taken)


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["./a.b.jpg"], ["./a.b.gnc"]),
        (["a.jpg", "a.png", "b.png"], ["a.jpg.gnc", "a.png.gnc", "b.gnc"]),
        (["A.jpg", "a.png"], ["A.jpg.gnc", "a.png.gnc"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.gnc", "a.png.gnc", "a.jpg.png.gnc"]),
        (["a.jpg", "a.gnc"], ["a.jpg.gnc", "a.gnc"]),
        (["e\u0301.jpg", "\xe9.png"], ["e\u0301.jpg.gnc", "\xe9.png.gnc"]),
        (["./a.d/b", "a.d/c.jpg"], ["./a.d/b.gnc", "a.d/c.gnc"]),
    ],
)
def test_outputs_keep_the_stem_where_they_can(names: list[str], outputs: list[str]) -> None:
    assert output_names(names, ".gnc") == outputs
