"""What a command may write: no input under any of its names, nothing that stands, nothing behind a link."""

import os
from pathlib import Path

import pytest

from gencomp.files import write_atomically
from gencomp.outputs import Outputs, Refused, local_path, protecting


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/photo.png", "out/old.png", "secret"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"mine")
    return tmp_path


@pytest.mark.parametrize("source", ["in/photo.png", "in", ".", "file://{here}/in/photo.png", "in/../in//photo.png"])
@pytest.mark.parametrize("alias", ["plain", "dots", "link", "hard link", "folder link", "case", "absolute"])
def test_no_alias_of_an_input_is_written_even_when_told_to_overwrite(here: Path, source: str, alias: str) -> None:
    rule = protecting([source.format(here=here)], overwrite=True)
    target = Path("in/photo.png")
    if alias == "dots":
        target = Path("out/../in/../in/photo.png")
    elif alias == "absolute":
        target = target.resolve()
    elif alias == "folder link":
        Path("alias").symlink_to("in")
        target = Path("alias/photo.png")
    elif alias != "plain":  # a file system without regard to case shows one file under two names, as a hard link does
        target = Path({"link": "out/x.png", "hard link": "in/y.png", "case": "in/PHOTO.PNG"}[alias])
        (target.symlink_to if alias == "link" else target.hardlink_to)(Path("in/photo.png").resolve())
    with pytest.raises(Refused, match="would replace an input"):
        rule.write(target, b"new")
    assert Path("in/photo.png").read_bytes() == b"mine"


def test_what_stands_is_kept_and_what_is_new_beside_inputs_is_written() -> None:
    with pytest.raises(Refused, match=r"out/old\.png exists and is kept: .*--overwrite"):
        protecting(["in"]).write(Path("out/old.png"), b"new")
    protecting(["in"]).write(Path("in/new.png"), b"new")
    protecting(["in"], overwrite=True).write(Path("out/old.png"), b"new")
    names = ("in/new.png", "out/old.png", "in/photo.png")
    assert [Path(name).read_bytes() for name in names] == [b"new", b"new", b"mine"]


@pytest.mark.parametrize("content", [b"", b"GNC rest", b"GN"])
def test_named_file_that_holds_nothing_or_what_the_command_makes_is_replaced(content: bytes) -> None:
    Path("x.gnc").write_bytes(content)
    rule = Outputs(own=b"GNC")
    with pytest.raises(Refused):
        rule.write(Path("x.gnc"), b"new", below=Path())  # the program's own name
    if content == b"GN":
        with pytest.raises(Refused):
            rule.write(Path("x.gnc"), b"new")
    else:
        rule.write(Path("x.gnc"), b"new")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("link", ["out/a.png", "out/sub", "out/deep/sub"])
def test_nothing_goes_through_a_link_that_the_user_did_not_name(here: Path, link: str, overwrite: bool) -> None:
    Path(link).parent.mkdir(exist_ok=True)
    Path(link).symlink_to(here / "secret" if link.endswith("png") else here / "in")
    target = Path(link) if link.endswith("png") else Path(link, "new", "a.png")
    with pytest.raises(Refused, match=f"{link} is a link"):
        Outputs(overwrite=overwrite).check(target, below=Path("out"))
    assert Path("secret").read_bytes() == b"mine"


def test_link_that_the_user_named_is_followed(here: Path) -> None:
    Path("named").symlink_to("out")
    Outputs().write(Path("named/a.png"), b"new", below=Path("named"))
    Path("link.png").symlink_to("out/a.png")
    Outputs(overwrite=True).write(Path("link.png"), b"newer")
    assert (Path("out/a.png").read_bytes(), Path("link.png").is_symlink()) == (b"newer", True)


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_that_appears_at_last_is_kept(here: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    write_atomically("first", b"one", replace=False)
    sync = os.fsync

    def meanwhile(descriptor: int) -> None:
        sync(descriptor)
        Path("late").write_bytes(b"mine")

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(FileExistsError):
        Outputs().write(Path("late"), b"new")
    assert sorted(path.name for path in here.iterdir()) == ["first", "in", "late", "out", "secret"]
    assert (Path("late").read_bytes(), Path("first").read_bytes()) == (b"mine", b"one")


def test_what_is_replaced_is_no_more_open_than_what_it_is_made_from() -> None:
    Path("secret").chmod(0o600)
    Path("out/old.png").chmod(0o644)
    Outputs(overwrite=True).write(Path("out/old.png"), b"new", like=Path("secret"))
    assert Path("out/old.png").stat().st_mode & 0o777 == 0o600


def test_names_that_are_no_files_protect_nothing() -> None:
    assert protecting([None, "gencomp-base", "no/such", "hf://set", "nul\0"]).inputs == frozenset()
    assert local_path("file:///a b/c") == Path("/a b/c")
