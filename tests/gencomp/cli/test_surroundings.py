"""What a command may not take for granted: standard streams, short names, room in memory."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
