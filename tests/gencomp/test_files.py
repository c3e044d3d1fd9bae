"""Names and files: outputs keep their stems, collisions are found before any work, files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gencomp.files import IMAGE_SUFFIXES, Job, NamingError, find_inputs, plan_outputs, write_atomically


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


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


def test_folder_is_walked_in_order_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    _touch(*(tmp_path / name for name in ("b.JPG", "a.png", "sub/c.tif", ".hidden.png", ".cache/d.png", "notes.txt")))
    found = find_inputs([tmp_path, tmp_path / "a.png", tmp_path / "notes.txt"], IMAGE_SUFFIXES)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.png", "b.JPG", "sub/c.tif", "notes.txt"]


def test_missing_file_and_empty_folder_are_kept_to_fail_in_their_turn(tmp_path: Path) -> None:
    paths = [tmp_path / "no.png", tmp_path]
    assert find_inputs(paths, IMAGE_SUFFIXES) == paths


def test_without_output_a_file_stands_beside_its_input() -> None:
    sources = [Path("a/x.jpg"), Path("b/x.png")]
    plan = plan_outputs(sources, sources, None, ".gnc")
    assert plan.jobs == [Job(sources[0], Path("a/x.gnc")), Job(sources[1], Path("b/x.gnc"))]
    assert plan.folder is None


def test_one_input_goes_to_the_named_file_or_into_the_named_folder(tmp_path: Path) -> None:
    source = [Path("x.jpg")]
    assert plan_outputs(source, source, "y.gnc", ".gnc").jobs == [Job(source[0], Path("y.gnc"))]
    assert plan_outputs(source, source, str(tmp_path), ".gnc").jobs == [Job(source[0], tmp_path / "x.gnc")]
    plan = plan_outputs(source, source, "new/", ".gnc")
    assert plan == ([Job(source[0], Path("new/x.gnc"))], Path("new"))


def test_several_inputs_or_a_folder_go_into_a_folder(tmp_path: Path) -> None:
    sources = [Path("x.jpg"), Path("y.jpg")]
    assert plan_outputs(sources, sources, "out", ".gnc") == (
        [Job(sources[0], Path("out/x.gnc")), Job(sources[1], Path("out/y.gnc"))],
        Path("out"),
    )
    assert plan_outputs([tmp_path], sources[:1], "out", ".gnc").folder == Path("out")


def test_output_file_for_several_inputs_is_an_error(tmp_path: Path) -> None:
    _touch(tmp_path / "out")
    sources = [Path("x.jpg"), Path("y.jpg")]
    with pytest.raises(NamingError, match="need a folder"):
        plan_outputs(sources, sources, str(tmp_path / "out"), ".gnc")


@pytest.mark.parametrize(
    ("names", "output"), [(["a/x.jpg", "b/x.jpg"], "out"), (["x.jpg", "x.png"], None), (["x.jpg", "x.png"], "out")]
)
def test_equal_stems_are_an_error(names: list[str], output: str | None) -> None:
    sources = [Path(name) for name in names]
    with pytest.raises(NamingError, match="would both become"):
        plan_outputs(sources, sources, output, ".gnc")


def test_output_never_replaces_its_own_input() -> None:
    source = [Path("x.gnc")]
    with pytest.raises(NamingError, match="replaced by its own output"):
        plan_outputs(source, source, None, ".gnc")
