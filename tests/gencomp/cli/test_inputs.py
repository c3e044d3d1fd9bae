"""Which files are taken: folders in order, each file once, nothing that blocks, nothing silently left out."""

import os
import shutil
import socket
from pathlib import Path

import pytest
from PIL import Image

from gencomp.cli.planning import check_regular, find_inputs
from gencomp.results import claim
from gencomp.walk import is_coded, is_image


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def _found(*paths: Path) -> list[Path]:
    return list(find_inputs(paths, is_image).places)


def test_folder_is_walked_in_order_without_hidden_and_foreign_files(tmp_path: Path) -> None:
    _touch(*(tmp_path / name for name in ("b.JPG", "a.png", "sub/c.tif", ".hidden.png", ".cache/d.png", "notes.txt")))
    found = _found(tmp_path, tmp_path / "a.png", tmp_path / "notes.txt")
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.png", "b.JPG", "sub/c.tif", "notes.txt"]


def test_file_is_taken_once_however_it_is_spelled(tmp_path: Path) -> None:
    _touch(tmp_path / "sub" / "a.png")
    (tmp_path / "alias").symlink_to(tmp_path / "sub")
    spelled = [tmp_path / "sub" / "a.png", tmp_path / "sub" / ".." / "sub" / "a.png", tmp_path / "alias" / "a.png"]
    assert _found(*spelled) == spelled[:1]


def test_places_mirror_one_folder_and_name_several(tmp_path: Path) -> None:
    _touch(tmp_path / "one" / "sub" / "a.png", tmp_path / "two" / "a.png", tmp_path / "b.png")
    inputs = find_inputs([tmp_path / "one"], is_image)
    assert list(inputs.places.values()) == [Path("sub/a.png")]
    inputs = find_inputs([tmp_path / "one", tmp_path / "one" / ".." / "two", tmp_path / "b.png"], is_image)
    assert list(inputs.places.values()) == [Path("one/sub/a.png"), Path("two/a.png"), Path("b.png")]


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
    assert list(inputs.places) == [tmp_path / "a.png"]
    told = "links to folders, not followed: 1 (/round); pipes: 1 (/pipe.png); sockets: 1 (/s.png)"
    assert inputs.left_out.replace(str(tmp_path), "") == told


def test_suffix_or_content_decides_and_the_rest_is_counted_and_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    for name in ("b.jfif", "C.JPE", "d", "e.bin"):
        shutil.copy(tmp_path / "a.jpg", tmp_path / name)
    _touch(*(tmp_path / name for name in ("photos.tgz", "notes.txt", "x.zip", "set.parquet", "set.tar", ".DS_Store")))
    claim(tmp_path / "seen", "eval", [])
    assert "earlier runs" not in find_inputs([tmp_path], is_image).left_out  # nothing lies in it
    shutil.copytree(tmp_path / "seen", tmp_path / "sub" / "again")
    shutil.copy(tmp_path / "a.jpg", tmp_path / "sub" / "again" / "own.webp")
    inputs = find_inputs([tmp_path], is_image)
    assert [path.name for path in inputs.places] == ["C.JPE", "a.jpg", "b.jfif", "d", "e.bin"]
    results, other = inputs.left_out.replace(f"{tmp_path}/", "").split("; ")
    assert other == "files of another kind: 5 (notes.txt, photos.tgz, set.parquet, set.tar, ...)"
    assert results == "files among the results of earlier runs: 1 (sub/again/own.webp)"
    (tmp_path / "f.jpg").write_bytes(b"GNC of a file")
    assert [path.name for path in find_inputs([tmp_path], is_coded).places] == ["f.jpg"]


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
