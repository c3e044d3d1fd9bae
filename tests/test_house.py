"""The house rules that code can check: who imports whom, what is listed, what the wheel holds, what the README says."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIRED = {"torch", "timm", "lpips", "kornia", "accelerate", "constriction", "datasets"}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Absolute names of all that a file imports, relative imports resolved (train/ and eval/ lie in gencomp)."""
    place = path.relative_to(ROOT).with_suffix("").parts
    package = list(place[:-1]) if place[0] == "gencomp" else ["gencomp", *place[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            found |= {start} | {f"{start}.{alias.name}" for alias in node.names}
    return found


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def offenders(paths: list[Path], package: str) -> list[str]:
    return [f"{p.relative_to(ROOT)} imports {n}" for p in paths for n in sorted(imports(p)) if within(n, package)]


def test_the_codec_imports_neither_training_nor_evaluation() -> None:
    assert offenders(sources("gencomp"), "gencomp.train") == []
    assert offenders(sources("gencomp"), "gencomp.eval") == []


def test_training_and_evaluation_do_not_import_each_other() -> None:
    """But `gencomp family`, which trains what it evaluates."""
    assert offenders(sources("train"), "gencomp.eval") == []
    family = sources("eval/family")
    assert family
    assert offenders([path for path in sources("eval") if path not in family], "gencomp.train") == []


def test_one_file_alone_imports_constriction() -> None:
    users = [p for p in sources("gencomp", "train", "eval") if any(within(n, "constriction") for n in imports(p))]
    assert users == [ROOT / "gencomp" / "entropy" / "coder.py"]


def test_the_container_needs_the_standard_library_alone() -> None:
    outside = {n.split(".")[0] for n in imports(ROOT / "gencomp" / "bitstream.py")} - set(sys.stdlib_module_names)
    assert outside == set()


def test_nothing_is_pickled() -> None:
    """But published arrays, of known digest, are read by an unpickler that knows nothing else."""
    reader = ROOT / "eval/metrics/downloads.py"
    assert not re.search(r"pickle\.(loads?|dumps?)\b", reader.read_text())
    for package in ("pickle", "dill", "joblib"):
        assert offenders([path for path in sources("gencomp", "train", "eval") if path != reader], package) == []
    for path in sources("gencomp", "train"):
        assert "torch.save(" not in path.read_text(), path


def test_every_package_folder_is_listed_for_the_wheel() -> None:
    folders = {p.parent.relative_to(ROOT) for p in sources("gencomp", "train", "eval") if p.name == "__init__.py"}
    names = {".".join(f.parts) if f.parts[0] == "gencomp" else ".".join(("gencomp", *f.parts)) for f in folders}
    assert names == set(PYPROJECT["tool"]["setuptools"]["packages"])


def test_the_required_packages_are_plain_ranges() -> None:
    extras = [line for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines]
    lines = [*PYPROJECT["project"]["dependencies"], *(line for line in extras if not line.startswith("gencomp["))]
    declared = {re.split(r"[<>=!~;\[ ]", line)[0]: line for line in lines}
    assert set(declared) >= REQUIRED
    assert all("==" not in line for line in declared.values())
    assert (declared["torch"], declared["numpy"]) == ("torch>=2.6", "numpy>=2")


def test_the_wheel_puts_only_gencomp_into_site_packages(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("gencomp", "train", "eval"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q", "-w", "out"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env={**os.environ, "PIP_NO_INPUT": "1"})
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "out").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gencomp"}
    for needed in ("gencomp/py.typed", "gencomp/weights/gencomp-base.safetensors", "gencomp/train/loop.py"):
        assert needed in names
    shipped = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    pages = [path for kind in ("html", "js") for path in (ROOT / "eval").rglob(f"*.{kind}")]
    pages += [path for path in (ROOT / "gencomp" / "web" / "static").rglob("*") if path.is_file()]
    for path in [*sources("gencomp", "train", "eval"), *pages]:
        place = path.relative_to(ROOT).as_posix()
        assert (place if place.startswith("gencomp/") else f"gencomp/{place}") in shipped


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pytest.importorskip("skimage.data")
    from PIL import Image

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    Image.fromarray(data.astronaut()[:200, 120:360]).save("photo.jpg")
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert Path("photo.gnc").stat().st_size < 2000


def test_the_notebook_runs_and_shows_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage.data")
    notebook = json.loads((ROOT / "assets" / "round-trip.ipynb").read_text())
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "round-trip.ipynb", "exec"), names)
    shown = capsys.readouterr().out
    distortions = [float(value) for value in re.findall(r"realism .*: ([\d.]+) dB", shown)]
    assert distortions == sorted(distortions, reverse=True)
    assert distortions[0] > 25
    assert all(int(size) <= int(limit) for limit, size in re.findall(r"at most (\d+) .*, (\d+) bytes", shown))


def test_the_readme_names_the_commands_of_the_makefile() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test", "install", "lint"):
        assert f"make {target}" in readme
        assert re.search(rf"^{target}:", makefile, re.M)


def test_the_embedded_model_is_small_enough_to_ship() -> None:
    model = ROOT / "gencomp" / "weights" / "gencomp-base.safetensors"
    assert model.stat().st_size <= 24_000_000


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text("utf-8").splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, test in named:
            assert f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path} has no {test}"
    told = re.findall(r"--target (\w+)`(?:, `(\w+)`)?", (ROOT / "SECURITY.md").read_text("utf-8"))
    targets = (ROOT / "tests" / "fuzz" / "targets.py").read_text("utf-8")
    assert {target for pair in told for target in pair if target} <= set(re.findall(r'"(\w+)": ', targets))
