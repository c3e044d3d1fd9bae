"""`-`, and pipes that a shell makes, in the place of files: as with cjpeg, avifenc and cat."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gencomp.cli import planning
from gencomp.cli.main import main

TINY = ["--model", str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")]
Run = Callable[..., Result]
WRONG: list[Any] = [(["compress", "-"], b"no image", 1, "-: not an image"), (["compress", "-"], b"", 1, "-: ")]
WRONG += [(["decompress", "-"], b"no such file", 1, "-: "), (["info", "-"], b"GNC", 1, "-: ")]
WRONG += [(["compress", "-", "a.png"], b"", 2, "standard input")]
WRONG += [(["compress", "-", "-o", "out/"], b"", 2, "has no name")]
WRONG += [(["compress", "a.png", "b.png", "-o", "-"], b"", 2, "takes one file")]
WRONG += [(["compress", ".", "-o", "-"], b"", 2, "takes one file"), (["compress", "./-"], b"", 1, "No such file")]


@pytest.fixture
def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process, in a folder of its own, with what comes through its standard input."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, given=b"": CliRunner().invoke(main, [*map(str, arguments)], input=given)


def test_bytes_through_pipes_are_those_of_files_both_ways(run: Run, tmp_path: Path, png: bytes) -> None:
    Path("a.png").write_bytes(png)
    assert run("compress", "a.png", *TINY).exit_code == 0
    assert run("decompress", "a.gnc", "-o", "seen.png", *TINY).exit_code == 0
    coded, seen = Path("a.gnc").read_bytes(), Path("seen.png").read_bytes()
    for arguments in (["-"], ["-", "-o", "-"], ["/dev/stdin", "-o", "/dev/stdout"]):
        assert run("compress", *arguments, *TINY, given=png).stdout_bytes == coded
        assert run("decompress", *arguments, *TINY, given=coded).stdout_bytes == seen
    assert run("compress", "a.png", "-o", "-", *TINY).stdout_bytes == coded
    assert run("compress", "-", "-o", "b.gnc", *TINY, given=png).stdout == "- -> b.gnc: " + run(
        "compress", "a.png", "-o", "c.gnc", *TINY
    ).stdout.removeprefix("a.png -> c.gnc: ")
    assert Path("b.gnc").read_bytes() == coded
    assert run("decompress", "-", "-o", "b.png", *TINY, given=coded).exit_code == 0
    assert Path("b.png").read_bytes() == seen
    assert not Path("-").exists()


def test_what_is_said_does_not_come_between_the_bytes(run: Run, png: bytes) -> None:
    done = run("compress", "-", "--json", *TINY, given=png)
    assert done.stdout_bytes.startswith(b"GNC")
    assert json.loads(done.stderr)["source"] == "-"
    told = run("info", "-", "--verify", "--json", *TINY, given=done.stdout_bytes)
    assert json.loads(told.stdout)["latents_ok"] is True


@pytest.mark.parametrize(("arguments", "given", "status", "said"), WRONG)
def test_what_cannot_be_meant_is_one_line(run: Run, arguments: list[str], given: bytes, status: int, said: str) -> None:
    done = run(*arguments, *(TINY if "info" not in arguments else []), given=given)
    assert (done.exit_code, done.stdout) == (status, "")
    assert said in done.stderr
    assert done.stderr.strip().count("\n") <= (0 if status == 1 else 3)


def test_a_file_whose_name_is_a_dash_is_named_with_its_folder(run: Run, tmp_path: Path, png: bytes) -> None:
    Path("-").write_bytes(png)
    assert run("compress", "./-", "-o", "a.gnc", *TINY).exit_code == 0
    assert run("compress", ".", "-o", "out/", *TINY).exit_code == 0
    assert len([*Path("out").iterdir()]) == 1


def test_a_pipe_without_end_is_refused_in_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_LIMIT", 1000)
    done = run("compress", "-", *TINY, given=b"x" * 1001)
    assert done.exit_code == 1
    assert done.stderr == "Error: -: more than 2 GiB come through the pipe: too large for an image\n"


def test_pipes_of_the_shell_are_inputs_even_among_many(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png)
    program = str(Path(sys.executable).with_name("gencomp"))
    line = f"{program} compress <(cat a.png) <(cat a.png) <(cat a.png) <(cat a.png) -o out/ --jobs 2 {' '.join(TINY)}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "out").iterdir()]) == 4


def test_a_terminal_gets_no_bytes_and_gives_none(tmp_path: Path, png: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png)
    ours, theirs = pty.openpty()
    program = str(Path(sys.executable).with_name("gencomp"))
    options: dict[str, Any] = {"cwd": tmp_path, "stderr": subprocess.PIPE}
    out = subprocess.run([program, "compress", "a.png", "-o", "-", *TINY], stdout=theirs, **options)
    into = subprocess.run([program, "compress", "-", "-o", "a.gnc", *TINY], stdin=theirs, **options)
    os.close(theirs)
    os.close(ours)
    assert (out.returncode, into.returncode) == (1, 1)
    assert b"standard output is a terminal" in out.stderr
    assert b"standard input is a terminal" in into.stderr
