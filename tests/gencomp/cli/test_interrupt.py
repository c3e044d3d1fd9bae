"""Ctrl-C and a full disk end a real process with one line, whatever it was doing."""

import signal
import subprocess
import sys
from pathlib import Path

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


def _run(command: list[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    # Tests that run in a shell's background inherit an ignored SIGINT.
    def default() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return subprocess.run(  # type: ignore[call-overload]
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, preexec_fn=default, timeout=100, **options
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("gencomp.bitstream", ["--version"]),
        ("PIL", ["--version"]),
        ("click", ["--version"]),
        ("gencomp.cli.info", ["info", "{}/a.gnc"]),
        ("importlib.metadata", ["--help"]),
        ("gencomp.codec", ["compress", "{}/a.png"]),
        ("onnxruntime", ["compress", "{}/a.png"]),
        ("gencomp.image", ["info", "{}/a.gnc"]),
    ],
)
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


@pytest.mark.parametrize(
    ("argv", "started", "expected"),
    [
        (["/venv/bin/gencomp", "info"], ["python", "/venv/bin/gencomp", "info"], True),
        (["C:/venv/gencomp.exe"], ["python.exe"], True),
        (["-m"], ["python", "-X", "dev", "-m", "gencomp", "info"], True),
        (["-m"], ["python", "-m", "gencomp.train", "-m", "x"], True),
        (["-m"], ["python", "-mgencomp.eval"], True),
        (["-m"], ["python", "-m", "pytest", "gencomp"], False),
        (["-m"], ["python", "-m", "pytest", "-m", "gencomp"], False),
        (["-c"], ["python", "-c", "import gencomp"], False),
        ([""], ["python"], False),
        (["my_script.py"], ["python", "my_script.py"], False),
    ],
)
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
