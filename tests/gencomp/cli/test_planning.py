"""Where outputs go: trees are mirrored, shared names are resolved by rule, and no alias defeats the checks."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image

from gencomp.cli.planning import NamingError, Plan, check_regular, find_inputs, plan
from gencomp.results import claim
from gencomp.walk import is_coded, is_image


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _touch(*names: str | Path) -> list[Path]:
    paths = [Path(name) for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return paths


def _plan(names: list[str], output: str | None) -> Plan:
    return plan([Path(name) for name in names], is_image, output, ".gnc")


def _targets(names: list[str], output: str | None) -> list[str]:
    planned = _plan(names, output)
    assert not planned.problems
    return [str(target) for target in planned.targets.values()]


def test_one_input_goes_to_the_named_file_or_into_the_named_folder() -> None:
    _touch("x.jpg", "old/y")
    assert (_targets(["x.jpg"], "y.gnc"), _targets(["x.jpg"], "old")) == (["y.gnc"], ["old/x.gnc"])
    assert _targets(["x.jpg"], "new/") == ["new/x.gnc"]


def test_tree_of_a_folder_is_mirrored_and_trees_of_several_stand_apart() -> None:
    _touch("in/x.jpg", "in/deep/er/y.jpg", "two/x.jpg", "z.jpg")
    assert _targets(["in"], "out") == ["out/deep/er/y.gnc", "out/x.gnc"]
    assert _targets(["in", "in/../two", "z.jpg"], "out")[1:] == ["out/in/x.gnc", "out/two/x.gnc", "out/z.gnc"]


@pytest.mark.parametrize("output", [None, "out"])
def test_outputs_that_would_share_a_name_keep_their_inputs_whole_names(output: str | None) -> None:
    _touch("in/x.jpg", "in/x.png", "in/y.png")
    planned = _plan(["in"], output)
    assert [path.name for path in planned.targets.values()] == ["x.jpg.gnc", "x.png.gnc", "y.gnc"]
    assert not planned.problems
    assert "whole names" in planned.notes[0]
    assert "in/x.jpg, in/x.png" in planned.notes[0]


@pytest.mark.parametrize("names", ["IMG.jpg img.jpg", "A/x.jpg a/x.jpg", "\u00e9.png e\u0301.png"])
def test_names_that_differ_in_case_or_in_the_spelling_of_an_accent_are_one(names: str) -> None:
    first, second = _touch(*(f"in/{name}" for name in names.split()))
    planned = _plan(["in"], "out")
    problem = [path for path in planned.targets if path in planned.problems]
    assert len(problem) == 1
    assert problem[0] in (first, second)
    with pytest.raises(NamingError, match=r"it would become out/.*give it another -o"):
        planned.place(problem[0])
    (good,) = planned.targets.keys() - problem
    planned.place(good)


def test_folders_that_differ_in_case_may_each_hold_their_outputs() -> None:
    _touch("A/x.jpg", "a/x.jpg")
    assert _targets(["A", "a"], None) == ["A/x.gnc", "a/x.gnc"]


def test_aliases_of_one_folder_are_one_place() -> None:
    _touch("sub/x.png", "sub/x.jpg")
    Path("alias").symlink_to("sub")
    planned = _plan(["alias/x.png", "alias/../sub/x.jpg"], None)
    assert [path.name for path in planned.targets.values()] == ["x.png.gnc", "x.jpg.gnc"]


@pytest.mark.parametrize("name", [".", "in", "in/.."])
def test_folder_without_images_is_planned_to_fail_in_its_turn(name: str) -> None:
    Path("in").mkdir()
    planned = _plan([name], "out")
    assert (list(planned.targets), planned.problems) == ([Path(name)], {})


def _found(*paths: Path) -> list[Path]:
    return list(find_inputs(paths, is_image)[0])


def test_folder_is_walked_in_order_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    _touch(*(tmp_path / name for name in ("b.JPG", "a.png", "sub/c.tif", ".hidden.png", ".cache/d.png", "notes.txt")))
    found = _found(tmp_path, tmp_path / "a.png", tmp_path / "notes.txt")
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.png", "b.JPG", "sub/c.tif", "notes.txt"]


def test_file_is_taken_once_however_it_is_spelled(tmp_path: Path) -> None:
    _touch(tmp_path / "sub" / "a.png")
    (tmp_path / "alias").symlink_to(tmp_path / "sub")
    spelled = [tmp_path / "sub" / "a.png", tmp_path / "sub" / ".." / "sub" / "a.png", tmp_path / "alias" / "a.png"]
    assert _found(*spelled) == spelled[:1]


def test_missing_file_and_empty_folder_are_kept_to_fail_in_their_turn(tmp_path: Path) -> None:
    paths = [tmp_path / "no.png", tmp_path, tmp_path / ("x" * 5000)]
    assert _found(*paths) == paths
    with pytest.raises(IsADirectoryError, match="no file to work on"):
        check_regular(tmp_path)


def test_links_pipes_and_sockets_in_a_folder_are_skipped_and_named(tmp_path: Path) -> None:
    _touch(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "round").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        inputs = find_inputs([tmp_path], is_image)
    assert list(inputs[0]) == [tmp_path / "a.png"]
    told = "links to folders, not followed: 1 (/round); pipes: 1 (/pipe.png); sockets: 1 (/s.png)"
    assert inputs[1].replace(str(tmp_path), "") == told


def test_suffix_or_content_decides_and_the_rest_is_counted_and_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    for name in ("b.jfif", "C.JPE", "d", "e.bin"):
        shutil.copy(tmp_path / "a.jpg", tmp_path / name)
    _touch(*(tmp_path / name for name in ("photos.tgz", "notes.txt", "x.zip", "set.parquet", "set.tar", ".DS_Store")))
    claim(tmp_path / "seen", "eval", [])
    assert "earlier runs" not in find_inputs([tmp_path], is_image)[1]  # nothing lies in it
    shutil.copytree(tmp_path / "seen", tmp_path / "sub" / "again")
    shutil.copy(tmp_path / "a.jpg", tmp_path / "sub" / "again" / "own.webp")
    inputs = find_inputs([tmp_path], is_image)
    assert [path.name for path in inputs[0]] == ["C.JPE", "a.jpg", "b.jfif", "d", "e.bin"]
    results, other = inputs[1].replace(f"{tmp_path}/", "").split("; ")
    assert other == "files of another kind: 5 (notes.txt, photos.tgz, set.parquet, set.tar, ...)"
    assert results == "files among the results of earlier runs: 1 (sub/again/own.webp)"
    (tmp_path / "f.jpg").write_bytes(b"GNC of a file")
    assert [path.name for path in find_inputs([tmp_path], is_coded)[0]] == ["f.jpg"]


def test_folder_that_cannot_be_read_is_left_to_fail_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path / "a.png", tmp_path / "locked" / "b.png")
    scan = os.scandir

    def scandir(path: str | Path = ".") -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert _found(tmp_path) == [tmp_path / "a.png", tmp_path / "locked"]
    with pytest.raises(PermissionError):
        check_regular(tmp_path / "locked")
