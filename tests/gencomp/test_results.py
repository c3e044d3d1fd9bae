"""A verb goes on in a folder of its own, and what a person put or changed there stays."""

import contextlib
from pathlib import Path

import pytest

from gencomp.outputs import Refused, no_more_open_than
from gencomp.results import LIST, claim, is_results, rewriting
from gencomp.texts import csv_rows, csv_text, script_json

NAMES = ("index.html", "tables", "records")


def _run(out: Path, text: str, overwrite: bool = False) -> None:
    claim(out, "eval", NAMES, overwrite=overwrite)
    with rewriting(out, NAMES[:2]):
        (out / "index.html").write_text(text)
        (out / "tables").mkdir(exist_ok=True)
        (out / "tables" / "means.csv").write_text(text)


def test_own_results_are_written_again_and_other_files_beside_them_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    _run(tmp_path, "first")
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    _run(tmp_path, "second")
    _run(tmp_path, "third")
    assert is_results(tmp_path)
    texts = [(tmp_path / name).read_text() for name in ("index.html", "notes.txt", "tables/mine.csv")]
    assert texts == ["third", "mine", "mine"]


@pytest.mark.parametrize("name", ["index.html", "tables", "records"])
def test_what_stands_before_the_first_run_is_refused_unless_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine") if "." in name else (tmp_path / name).mkdir()
    with pytest.raises(Refused, match=f"{name} exists and is not of gencomp eval"):
        claim(tmp_path, "eval", NAMES)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    claim(tmp_path, "eval", NAMES, overwrite=True)


@pytest.mark.parametrize("name", ["index.html", "tables/means.csv"])
def test_what_was_changed_since_is_refused_unless_told(tmp_path: Path, name: str) -> None:
    _run(tmp_path, "first")
    (tmp_path / name).write_text("my notes on it")
    with pytest.raises(Refused, match="is not as gencomp eval left it"):
        _run(tmp_path, "second")
    _run(tmp_path, "second", overwrite=True)
    (tmp_path / name).unlink()
    _run(tmp_path, "third")


def test_run_that_was_killed_while_it_wrote_goes_on(tmp_path: Path) -> None:
    claim(tmp_path, "eval", NAMES)
    with contextlib.suppress(KeyboardInterrupt), rewriting(tmp_path, NAMES[:2]):
        (tmp_path / "index.html").write_text("half")
        raise KeyboardInterrupt
    _run(tmp_path, "whole")


def test_folder_of_another_verb_of_inputs_or_of_links_is_refused(tmp_path: Path) -> None:
    claim(tmp_path / "a", "train", NAMES, tracked=False)
    (tmp_path / "b" / "records").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "tables").symlink_to(tmp_path / "b")
    (tmp_path / "alias").symlink_to(tmp_path / "b")
    held = [tmp_path / "alias" / "records"], [f"file://{tmp_path}/b"]
    for folder, inputs in (("a", []), ("b", held[0]), ("b", held[1]), ("c", [])):
        with pytest.raises(Refused):
            claim(tmp_path / folder, "eval", NAMES, inputs, overwrite=True)
    (tmp_path / "a" / LIST).write_text("no list")
    with pytest.raises(Refused, match="cannot be read"):
        claim(tmp_path / "a", "train", NAMES)


MODES = [([0o600], 0o600, 0o700), ([0o644, 0o640], 0o640, 0o750), ([0o644], 0o644, 0o755), ([0o444], 0o644, 0o755)]


@pytest.mark.parametrize(("modes", "file", "folder"), MODES)
def test_outputs_are_closed_to_whom_inputs_are(tmp_path: Path, modes: list[int], file: int, folder: int) -> None:
    for k, mode in enumerate(modes):
        (tmp_path / f"{k}").touch()
        (tmp_path / f"{k}").chmod(mode)
    with no_more_open_than([tmp_path / "missing", *(tmp_path / f"{k}" for k in range(len(modes)))]):
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
    assert (tmp_path / "file").stat().st_mode & 0o777 == file
    assert (tmp_path / "folder").stat().st_mode & 0o777 == folder


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cmd|'/C calc'!A0", "@SUM(A1)", "\tx", "'=1", "''", 'a,b\n"c"', "ü"])
def test_text_is_no_formula_in_a_table_and_comes_back_whole(text: str) -> None:
    table = csv_text(["name", text], [{"name": text, text: -0.5, "else": 1}])
    assert csv_rows(table) == (["name", text], [{"name": text, text: "-0.5"}])
    cells = [cell for line in table.splitlines() for cell in line.replace('"', "").split(",")]
    assert not any(cell.startswith(("=", "+", "@", "\t")) or cell.startswith("-c") for cell in cells)


@pytest.mark.parametrize("name", ["</script>", "<!--<script>", "<SCRIPT", "a\u2028b"])
def test_no_name_ends_a_script_element(name: str) -> None:
    assert "<" not in script_json({"name": name})
    assert "\u2028" not in script_json([name])
