"""Every verb, as a user runs it: nothing is left in the home folder, and no connection to a network is tried.

Each runs with a home folder of its own under a filter of the system (seccomp) that kills any process, and with it its
threads, that makes a socket of the internet; the filter is inherited, and needs no rights and no further program.
"""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

GOLDEN = Path(__file__).parent / "golden"
TINY = str(GOLDEN / "tiny.safetensors")
KILLED = -31  # SIGSYS
JAIL = """
import ctypes, os, platform, struct, sys
socket = {"x86_64": 41, "aarch64": 198}[platform.machine()]
allow, kill = (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)
steps = [(0x20, 0, 0, 0), (0x15, 0, 4, socket), (0x20, 0, 0, 16), (0x15, 1, 0, 2), (0x15, 0, 1, 10), kill, allow]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
    sys.exit("no filter of system calls can be had here")
os.execv(sys.argv[1], sys.argv[1:])
"""
TRAINING = "--steps 4 --set batch=2 --set workers=0 --set crop=64 --sample-every 0 --validate-every 0 --tracker none"
VERBS = {  # the arguments, and the outputs
    "compress": ("photo.png -o out.gnc", "out.gnc"),
    "decompress": ("coded.gnc -o out.png", "out.png"),
    "info": ("coded.gnc", None),
    "sample": ("-o out.png", "out.png"),
    "interpolate": ("photo.png other.png -o out.webp", "out.webp"),
    "restore": ("photo.png --denoise 15 --effort 1 -o out.png", "out.png"),
    "demo": ("photo.png -o out.png", "out.png"),
    "bench": ("--size 32x32 --threads 1 --repeat 1 -o out.json", "out.json"),
    "web": ("--export out", "out"),
    "bulk": ("photos out --jobs 1", "out"),
    "weights": ("", None),
    "train": (f"tiny --data photos --out out {TRAINING}", "out"),
    "export": ("run -o out.safetensors", "out.safetensors"),
    "int8": (f"{TINY} --data photos -o out.safetensors", "out.safetensors"),
    "eval": ("photos --out out --codec jpeg --quality 50 --metric psnr --jobs 1", "out"),
    "study": ("demo out", "out"),
}
MODELLED = {"compress", "decompress", "sample", "interpolate", "restore", "demo", "bench", "web", "bulk", "study"}
SLOW = {"int8", "export", "eval", "study"}
pytestmark = pytest.mark.skipif(sys.platform != "linux" and os.environ.get("CI") != "true", reason="Linux filters")


def jailed(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in `place`/work, with `place`/home and `place`/tmp for its own."""
    for name in ("home", "tmp", "work"):
        (place / name).mkdir(exist_ok=True)
    clean = {"PATH": os.environ["PATH"], "HOME": str(place / "home"), "TMPDIR": str(place / "tmp"), "LANG": "C.UTF-8"}
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 600, "cwd": place / "work"}
    return subprocess.run([sys.executable, "-c", JAIL, *words], env={**clean, "OMP_NUM_THREADS": "1"}, **options)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_a_process_that_tries_the_network_is_seen(family: str, tmp_path: Path) -> None:
    for program in ("{0}({1})", "threading.Thread(target={0}, args=[{1}]).start()"):
        made = program.format("socket.socket", f"socket.{family}")
        assert jailed(tmp_path, sys.executable, "-c", f"import socket, threading; {made}").returncode == KILLED
    assert jailed(tmp_path, sys.executable, "-c", "import socket; socket.socket(socket.AF_UNIX)").returncode == 0


def test_every_verb_is_tried() -> None:
    outside = {entry.name for entry in entry_points(group="gencomp.commands")}
    outside -= {"family"}  # which does nothing but run train, export and eval
    assert outside | {"compress", "decompress", "info", "sample", "interpolate"} == VERBS.keys()


@pytest.mark.parametrize("verb", [pytest.param(v, marks=pytest.mark.slow) if v in SLOW else v for v in VERBS])
def test_a_verb_leaves_its_outputs_and_nothing_else_and_tries_no_network(verb: str, tmp_path: Path) -> None:
    work, draw = tmp_path / "work", np.random.default_rng(1)
    (work / "photos").mkdir(parents=True)
    for name in ("photo.png", "other.png", "photos/0.png", "photos/1.png"):
        Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((96, 80)).save(work / name)
    (work / "coded.gnc").write_bytes((GOLDEN / "odd.gnc").read_bytes())
    if verb == "export":
        training = VERBS["train"][0].replace("--out out", "--out run").split()
        assert jailed(tmp_path, sys.executable, "-m", "gencomp", "train", *training).returncode == 0
    before = {path for path in work.rglob("*") if path.is_file()}
    arguments, output = VERBS[verb]
    model = ["--model", TINY] if verb in MODELLED else []
    done = jailed(tmp_path, sys.executable, "-m", "gencomp", verb, *arguments.split(), *model)
    assert done.returncode == 0, done.stderr
    left = [path for folder in ("home", "tmp") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert left == []
    new = {path.relative_to(work).parts[0] for path in work.rglob("*") if path.is_file()} - {"photos"}
    assert new - {path.relative_to(work).parts[0] for path in before} == ({output} if output else set())


@pytest.mark.parametrize(("set_to", "found"), [(None, "1"), ("0", "0")])
def test_telemetry_of_the_runtime_is_off_unless_the_user_has_decided(set_to: str | None, found: str) -> None:
    given = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    given |= {} if set_to is None else {"ORT_DISABLE_TELEMETRY": set_to}
    for module in ("gencomp", "gencomp.runtime.onnx", "gencomp.cli.main", "gencomp.train", "gencomp.eval"):
        program = f"import os, {module}; print(os.environ['ORT_DISABLE_TELEMETRY'])"
        done = subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True)
        assert done.stdout.strip() == found
