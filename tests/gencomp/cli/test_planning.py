"""Where outputs go: trees are mirrored, shared names are resolved by rule, and no alias defeats the checks."""

import os
from pathlib import Path

import pytest

from gencomp.cli.planning import NamingError, Plan, plan
from gencomp.outputs import Refused
from gencomp.walk import is_image


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _touch(*names: str) -> list[Path]:
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
    assert _targets(["x.jpg"], "y.gnc") == ["y.gnc"]
    assert _targets(["x.jpg"], "old") == ["old/x.gnc"]
    assert _targets(["x.jpg"], "new/") == ["new/x.gnc"]


def test_tree_of_a_folder_is_mirrored_and_trees_of_several_stand_apart() -> None:
    _touch("in/x.jpg", "in/deep/er/y.jpg", "two/x.jpg", "z.jpg")
    assert _targets(["in"], "out") == ["out/deep/er/y.gnc", "out/x.gnc"]
    assert _targets(["in", "two", "z.jpg"], "out")[1:] == ["out/in/x.gnc", "out/two/x.gnc", "out/z.gnc"]


@pytest.mark.parametrize("output", [None, "out"])
def test_outputs_that_would_share_a_name_keep_their_inputs_whole_names(output: str | None) -> None:
    _touch("in/x.jpg", "in/x.png", "in/y.png")
    planned = _plan(["in"], output)
    assert [path.name for path in planned.targets.values()] == ["x.jpg.gnc", "x.png.gnc", "y.gnc"]
    assert not planned.problems
    assert "whole names" in planned.notes[0]
    assert "in/x.jpg, in/x.png" in planned.notes[0]


@pytest.mark.parametrize(
    "names", [["in/IMG.jpg", "in/img.jpg"], ["in/A/x.jpg", "in/a/x.jpg"], ["in/\u00e9.png", "in/e\u0301.png"]]
)
def test_names_that_differ_in_case_or_in_the_spelling_of_an_accent_are_one(names: list[str]) -> None:
    first, second = _touch(*names)
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


def test_output_never_replaces_an_input_however_it_is_spelled() -> None:
    _touch("sub/x.gnc", "y.jpg")
    Path("link.gnc").symlink_to("y.jpg")
    Path("alias").symlink_to("sub")
    os.link("y.jpg", "hard.gnc")
    for names, output in (
        (["sub/x.gnc"], None),
        (["sub/x.gnc"], "sub/../sub/x.gnc"),
        (["sub/x.gnc"], "alias/x.gnc"),
        (["y.jpg"], "link.gnc"),
        (["y.jpg"], "hard.gnc"),
    ):
        planned = plan([Path(name) for name in names], is_image, output, ".gnc", overwrite=True)
        with pytest.raises(Refused, match="would replace an input"):
            planned.place(Path(names[0]))


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
