"""Ctrl-C and a full disk end a real process with one line, whatever it was doing."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.bitstream import Header, pack
from gencomp.cli import start

# Raises SIGINT when the module named first is looked for in the command that follows.
INTERRUPTED_AT = """
import os, signal, sys
at, sys.argv = sys.argv[1], ["gencomp", *sys.argv[2:]]
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == at:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from gencomp.cli.main import main
sys.exit(main())
"""
IMPORTS: list[Any] = [("gencomp.bitstream", ["--version"]), ("PIL", ["--version"]), ("click", ["--version"])]
IMPORTS += [("gencomp.cli.info", ["info", "{}/a.gnc"]), ("importlib.metadata", ["--help"])]
IMPORTS += [("gencomp.codec", ["compress", "{}/a.png"]), ("onnxruntime", ["compress", "{}/a.png"])]
IMPORTS += [("gencomp.image", ["info", "{}/a.gnc"])]
STARTS: list[Any] = [(["/venv/bin/gencomp", "info"], ["python", "/venv/bin/gencomp", "info"], True)]
STARTS += [(["C:/venv/gencomp.exe"], ["python.exe"], True)]
STARTS += [(["-m"], ["python", "-X", "dev", "-m", "gencomp", "info"], True)]
STARTS += [(["-m"], ["python", "-m", "gencomp.train", "-m", "x"], True), (["-m"], ["python", "-mgencomp.eval"], True)]
STARTS += [(["-m"], ["python", "-m", "pytest", "gencomp"], False)]
STARTS += [(["-m"], ["python", "-m", "pytest", "-m", "gencomp"], False)]
STARTS += [(["-c"], ["python", "-c", "import gencomp"], False), ([""], ["python"], False)]
STARTS += [(["my_script.py"], ["python", "my_script.py"], False)]


def _run(command: list[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    # Tests that run in a shell's background inherit an ignored SIGINT.
    def default() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return subprocess.run(  # type: ignore[call-overload]
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, preexec_fn=default, timeout=100, **options
    )


@pytest.mark.parametrize(("module", "arguments"), IMPORTS)
def test_interruption_of_any_import_is_one_line(tmp_path: Path, module: str, arguments: list[str]) -> None:
    (tmp_path / "a.gnc").write_bytes(pack(Header(b"fake", 4, 4, 0, 0), b"payload"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    result = _run(["-c", INTERRUPTED_AT, module, *(text.format(tmp_path) for text in arguments)])
    assert (result.returncode, result.stderr) == (130, "Interrupted\n")


def test_interruption_of_a_program_that_imports_the_library_is_its_own() -> None:
    assert "KeyboardInterrupt" in _run(["-c", "import gencomp; raise KeyboardInterrupt"]).stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compress", "--help"], ["info", "{}/a.gnc"]])
def test_full_standard_output_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "a.gnc").write_bytes(pack(Header(b"fake", 4, 4, 0, 0), b"payload"))
    with Path("/dev/full").open("w") as full:
        result = _run(["-m", "gencomp", *(text.format(tmp_path) for text in arguments)], stdout=full)
    assert (result.returncode, result.stderr) == (1, "Error: No space left on device\n")


@pytest.mark.parametrize(("argv", "started", "expected"), STARTS)
def test_only_commands_change(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], started: list[str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", started)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(sys, "path", [str(Path.cwd()), "elsewhere"])
    start.prepare()
    assert (sys.excepthook is not sys.__excepthook__) is expected
    assert (sys.path == ["elsewhere"]) is (expected and argv == ["-m"])


GOLDEN = Path(__file__).parents[2] / "golden"
TINY = ["--model", str(GOLDEN / "tiny.safetensors")]


def gencomp(*arguments: object, before: Callable[[], Any] | None = None, **options: Any) -> Any:
    """The command as a user's shell starts it. before: is called in the new process."""
    command = [str(Path(sys.executable).with_name("gencomp")), *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 300} | options
    return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, preexec_fn=before, **options)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcd":
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (80, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    shutil.copy(GOLDEN / "dot.gnc", tmp_path / "a.gnc")
    (tmp_path / "out").mkdir()
    return tmp_path


VERBS: dict[str, list[str]] = {
    "compress": ["compress", "in/a.png", "-o", "out/", *TINY],
    "compress several": ["compress", "in", "-o", "out/", "--jobs", "2", *TINY],
    "decompress": ["decompress", "a.gnc", "-o", "out/", *TINY],
    "info": ["info", "in/../a.gnc"],
    "interpolate": ["interpolate", "in/a.png", "in/b.png", "-o", "out/i.webp", "--frames", "2", *TINY],
    "bulk": ["bulk", "in", "out", "--jobs", "1", *TINY],
    "eval": ["eval", "in", "--out", "out", "--codec", "jpeg", "--quality", "50", "--metric", "psnr", "--jobs", "1"],
    "train": ["train", "tiny", "--data", "in", "--out", "out", "--steps", "1", "--set", "batch=2", "--set", "crop=64",
              "--set", "workers=1", "--tracker", "none", "--sample-every", "0", "--validate-every", "0"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=["stdout", "all"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_works_with_closed_streams(verb: str, closed: tuple[int, ...], photos: Path) -> None:
    """As services, cron and `>&-` start them."""
    streams = {("stdin", "stdout", "stderr")[number]: None for number in closed}

    def close() -> None:
        for number in closed:
            os.close(number)

    done = gencomp(*VERBS[verb], before=close, cwd=photos, **streams)
    assert done.returncode == 0, done.stderr
    if verb != "info":
        made = [path for path in (photos / "out").rglob("*") if path.is_file()]
        assert all(path.stat().st_size for path in made if path.suffix in (".gnc", ".png", ".webp"))
        assert len(made) >= (4 if verb in ("compress several", "bulk") else 1)


@pytest.mark.parametrize("lacking", ["working folder", "open files", "home", "temporary folder"])
def test_several_files_are_coded_where_something_is_lacking(lacking: str, photos: Path) -> None:
    gone = photos / "gone"
    gone.mkdir()
    out = photos / "out"

    def lack() -> None:
        if lacking == "open files":
            resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        else:
            shutil.rmtree(gone)

    lacks = {"home": {"HOME": str(gone)}, "temporary folder": {"TMPDIR": str(gone)}}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lacks.get(lacking, {}).items():
            patch.setenv(name, value)
        where = gone if lacking == "working folder" else photos
        done = gencomp("compress", photos / "in", "-o", out, "--jobs", 8, *TINY, before=lack, cwd=where)
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.gnc"))) == 4
