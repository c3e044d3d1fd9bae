"""What Windows and macOS lack or do otherwise, simulated: modules and calls, spawned processes, names, encodings."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SOURCES = [path for folder in ("gencomp", "train", "eval") for path in sorted((ROOT / folder).rglob("*.py"))]
AS_ON_WINDOWS = """
import importlib, os, pkgutil, signal, sys
import accelerate, datasets, flask, onnxruntime, torch, torchvision  # theirs to make portable
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("fork", "sched_getaffinity", "sysconf", "chown", "getuid", "register_at_fork", "mkfifo", "getppid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGPROF", "SIGUSR1", "SIGPIPE", "setitimer"):
    delattr(signal, name)
import gencomp
seen = 0
for module in pkgutil.walk_packages(gencomp.__path__, "gencomp."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if "ray" not in str(error):  # an extra that is not asked for
                raise
        seen += 1
assert seen > 100
from gencomp.cli.main import main
from gencomp.train.devices import peak_memory_gib
from gencomp import machine
assert machine.peak_memory() is None and peak_memory_gib(torch.device("cpu")) == 0
main(sys.argv[1:])
"""


def test_all_modules_load_and_a_batch_is_coded_without_what_windows_lacks(tmp_path: Path) -> None:
    for name in "ab":
        Image.new("RGB", (40, 30), "orange").save(tmp_path / f"{name}.png")
    verb = ["compress", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out"), "--jobs", "2"]
    command = [sys.executable, "-c", AS_ON_WINDOWS, *verb]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.gnc", "b.gnc"]


def test_text_files_are_opened_with_their_encoding_said() -> None:
    """Where it is not said, Windows takes the code page of the country."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _opens_text(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def _opens_text(call: ast.Call) -> bool:
    """A call of open, read_text, write_text or fdopen for text that names no encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = {"read_text": 0, "write_text": 1}.get(name)
    if place is not None:
        return len(call.args) <= place and not any(word.arg == "encoding" for word in call.keywords)
    if name not in ("open", "fdopen") or (name == "open" and isinstance(call.func, ast.Attribute)):
        return False  # os.open, Image.open, archives
    given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
    binary = any("b" in str(value.value) for value in given if isinstance(value, ast.Constant))
    return not binary and not any(word.arg == "encoding" for word in call.keywords)


def test_processes_are_spawned_never_forked() -> None:
    """macOS and Windows spawn: what works by fork alone would fail there, and deadlock behind threads here."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                assert name not in ("fork", "forkpty"), f"{path} forks"
                if name in ("get_context", "set_start_method"):
                    assert [a.value for a in node.args if isinstance(a, ast.Constant)] in (["spawn"], []), path


def test_names_in_the_repository_suit_every_file_system() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.split("\0") if name]
    assert len({name.lower() for name in names}) == len(names), "two names differ in case alone"
    reserved = {"con", "prn", "aux", "nul", *(f"{kind}{digit}" for kind in ("com", "lpt") for digit in range(1, 10))}
    for name in names:
        parts = name.split("/")
        assert not set(name) & set('<>:"\\|?*'), name
        assert len(name) < 160, name
        assert not any(part.lower().split(".")[0] in reserved or part.endswith((" ", ".")) for part in parts), name


def test_golden_files_are_not_rewritten_by_git() -> None:
    """A checkout on Windows turns the ends of lines of what it takes for text."""
    rules = (ROOT / ".gitattributes").read_text("utf-8")
    assert "* -text" in rules or "* text=auto eol=lf" in rules
    assert os.linesep != "\r\n" or b"\r\n" not in (ROOT / "README.md").read_bytes()
