"""A home of 300 files, put through every verb with every plausible wrong destination: nothing in it is ever lost.

The codec is a stand-in and long work is cut short once a verb has checked and claimed its outputs; what is asked is
what a verb does to files that it was not told to make.
"""

import hashlib
import io
import itertools
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

import gencomp
from gencomp.bulk.plan import Shard
from gencomp.bulk.shard import transform_shard
from gencomp.bulk.transform import Transform
from gencomp.bulk.workers import Broken, Event, Finished, Job
from gencomp.cli.main import main

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"
ODD = ["-rf.png", "=1+1.png", "a\nb.png", "\x1b]0;owned\x07.png", "<!--<script>.png", "é.png", "e\u0301.png", "a b.png"]
REPORTS = """
    index.html results.csv results.json codecs.json report.html family.json recipe.json data.json log.jsonl plan.json
    precache.js analysis.json scores.csv study.json consent.txt votes.sqlite tables/means.csv plots/psnr.svg
    page/index.html records/a.json originals/a.webp frame-0000.png sample-0000.png samples/step-00000001.png
    models/base.safetensors checkpoints/step-00000005.safetensors checkpoints/step-best.safetensors
""".split()  # noqa: SIM905
Tree = dict[str, tuple[str, str]]


def photograph(seed: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image = Image.new("RGB", (24, 18), (seed % 256, 7 * seed % 256, 99))
    image.putpixel((seed % 24, 0), (255, 255, 255))
    image.save(stream, kind)
    return stream.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_codec: Any) -> Path:
    """Photographs, coded files, archives, tables, links, odd names, and the user's own reports and checkpoints."""
    home = tmp_path / "home"
    for k in range(60):
        kind = ("PNG", "JPEG", "WEBP")[k % 3]
        _write(home / "photos" / f"p{k:02}.{kind.lower()}", photograph(k, kind))
        other = photograph(k, ("PNG", "JPEG")[k % 2])
        _write(home / "photos" / "2024" / f"d{k // 2:02}.{('png', 'jpg')[k % 2]}", other)
        _write(home / "docs" / f"{k:02}.txt", b"years of work %d" % k)
    for k, name in enumerate(ODD):
        _write(home / "odd" / name, photograph(k))
    for k in range(30):
        _write(home / "coded" / f"c{k:02}.gnc", fake_codec.compress(Image.open(io.BytesIO(photograph(k)))))
        _write(home / "coded" / f"c{k:02}.png", photograph(k))
    for k in range(8):
        with tarfile.open(home / "photos" / f"{k}.tar", "w") as tar:
            tar.add(home / "photos" / f"p{k:02}.{('png', 'jpeg', 'webp')[k % 3]}", f"{k}.png")
        pq.write_table(pa.table({"image": [photograph(k)], "label": [k]}), home / "docs" / f"{k}.parquet")
    for folder, name in itertools.product(("site", "run"), REPORTS):
        _write(home / folder / name, TINY.read_bytes() if name.endswith("safetensors") else f"mine: {name}".encode())
    _write(home / "cwd" / "demo.png", photograph(3))
    _write(home / "cwd" / "samples.png", photograph(4))
    _write(home / "cwd" / "m.safetensors", TINY.read_bytes())
    thesis = home / "docs" / "00.txt"
    for name in ("p00.gnc", "p01.gnc", "c00.png", "q.webp"):
        (home / "planted").mkdir(exist_ok=True)
        (home / "planted" / name).symlink_to(thesis)
    shutil.copy(home / "photos" / "p00.png", home / "planted" / "p00.png")
    shutil.copy(home / "coded" / "c00.gnc", home / "planted" / "c00.gnc")
    (home / "planted" / "2024").symlink_to(home / "docs")
    (home / "album").symlink_to(home / "photos")
    (home / "dead.png").symlink_to(home / "nowhere")
    for path in (home / "photos").glob("p1*"):
        path.chmod(0o444)
    _stop_long_work(monkeypatch)
    monkeypatch.chdir(home / "cwd")
    new = ["study", "new", str(home / "st"), "--originals", str(home / "odd"), "--crop", "whole", "--checks", "0"]
    new += ["--training", "0", "--no-questions", "--folder", f"a={home / 'odd'}", "--folder", f"b={home / 'odd'}"]
    made = CliRunner().invoke(main, new)
    assert made.exit_code == 0, made.output
    CliRunner().invoke(main, ["study", "export", str(home / "st"), "-o", str(home / "docs" / "votes.csv")])
    return home


def _stop_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from gencomp.eval import evaluation
    from gencomp.eval.codecs.baseline import BaselineError
    from gencomp.eval.family import training
    from gencomp.train.loop import Loop, Stopped

    def no_steps(loop: Loop, _: Any) -> None:
        raise Stopped(loop.stage.step)

    no_workers = Mock(side_effect=BaselineError("no work in this test"))
    monkeypatch.setattr(evaluation, "Workers", no_workers)
    monkeypatch.setattr(training, "trained", no_workers)
    monkeypatch.setattr(Loop, "train_stage", no_steps)
    monkeypatch.setattr("gencomp.bulk.run.run_workers", shards_in_this_process)


def shards_in_this_process(job: Job, shards: Sequence[Shard], *_: Any) -> Iterator[Event]:
    for shard in shards:
        try:
            transform = Transform(job.settings, gencomp.codec.load())
            yield Finished(shard.name, transform_shard(job.source, shard, job.destination, transform))
        except (OSError, ValueError) as error:
            yield Broken(shard.name, str(error))


def tree(home: Path) -> Tree:
    """By path: what stands there, links not followed; modes count."""
    found: Tree = {}
    for parent, folders, names in os.walk(home):
        for name in folders + names:
            path = Path(parent, name)
            if path.is_symlink():
                found[str(path)] = ("link", str(path.readlink()))
            elif path.is_file():
                found[str(path)] = (oct(path.stat().st_mode), hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                found[str(path)] = ("folder", "")
    return found


def aliases(path: Path, suffix: str) -> list[str]:
    """Other spellings of a file, and links to it, with this suffix; made in a folder of their own."""
    folder = path.parents[1] / "aliases"
    folder.mkdir(exist_ok=True)
    link, hard = folder / f"{path.name}.link{suffix}", folder / f"{path.name}.hard{suffix}"
    for other in (link, hard):
        other.unlink(missing_ok=True)
    link.symlink_to(path)
    os.link(path, hard)
    spelled = [str(path), f"{path.parent}/../{path.parent.name}//{path.name}"] if path.suffix == suffix else []
    if path.parent.name == "photos" and path.suffix == suffix:
        spelled.append(str(path.parents[1] / "album" / path.name))
    return [*spelled, str(link), str(hard)]


def file_commands(home: Path) -> Iterator[list[str]]:
    """Verbs that write a file: onto inputs under all names, with --overwrite too, and onto what stands."""
    photo, other, coded = home / "photos" / "p00.png", home / "photos" / "p03.png", home / "coded" / "c00.gnc"
    webp, model, study = home / "photos" / "p02.webp", home / "cwd" / "m.safetensors", str(home / "st")
    checkpoint = home / "run" / "checkpoints" / "step-00000005.safetensors"
    verbs: list[tuple[list[str], str, Path]] = [
        (["compress", str(photo), "--jobs", "1"], ".gnc", photo),
        (["decompress", str(coded), "--jobs", "1"], ".png", coded),
        (["demo", str(photo)], ".png", photo),
        (["interpolate", str(webp), str(photo), "--frames", "2"], ".webp", webp),
        (["sample", "--model", str(model), "--count", "1"], ".png", model),
        (["restore", str(photo), "--denoise", "5", "--effort", "1"], ".png", photo),
        (["restore", str(other), "--mask", str(photo), "--effort", "1"], ".png", photo),
        (["export", str(checkpoint)], ".safetensors", checkpoint),
        (["int8", str(model), "--data", str(home / "photos")], ".safetensors", model),
        (["bench", "--model", str(model), "--repeat", "1"], ".safetensors", model),
        (["study", "export", study], ".json", home / "st" / "study.json"),
        (["study", "simulate", "--like", study, "--save"], ".json", home / "st" / "study.json"),
    ]
    for verb, suffix, read in verbs:
        option = [] if verb[-1] == "--save" else ["-o"]
        for out in aliases(read, suffix):
            yield [*verb, *option, out]
            yield [*verb, *option, out, "--overwrite"]
        names = ["photos/p01.jpeg", "photos/p03.png", "photos/p10.jpeg", "photos/p12.png", "docs/00.txt", "dead.png"]
        names += ["site/index.html", "run/checkpoints/step-best.safetensors", "planted/q.webp", "planted/c00.png"]
        yield from ([*verb, *option, str(home / name)] for name in names)
    for out in ("photos/", "odd", "planted", "coded", "photos/2024"):
        yield ["compress", str(home / "planted"), "-o", str(home / out), "--jobs", "1"]
        yield ["decompress", str(home / "coded"), "-o", str(home / out), "--jobs", "1"]
        yield ["decompress", str(home / "planted"), "-o", str(home / out), "--jobs", "1"]
    for name in ("compress", "decompress"):
        yield from ([name, str(home / folder), "--jobs", "1"] for folder in ("planted", "coded", "odd", "photos"))
        yield [name, str(home / "planted"), "--overwrite", "--jobs", "1"]
    for name in main.list_commands(click.Context(main)):
        yield from ([name, f"{start}\x1b]0;owned\x07.png"] for start in ("", "--"))
    for folder in ("site", "run"):
        yield ["interpolate", str(webp), str(photo), "-o", str(home / folder)]
        yield ["sample", "-o", f"{home / folder}/"]
    yield from (["demo"], ["sample"], ["demo", "demo.png"], ["demo", "demo.png", "--overwrite"])


def folder_commands(home: Path) -> Iterator[list[str]]:
    """Verbs that fill a folder: into photographs, reports, checkpoints, documents, links and the home itself."""
    photos, model = str(home / "photos"), str(home / "cwd" / "m.safetensors")
    verbs = [
        ["eval", photos, "--codec", "jpeg", "--quality", "50", "--metric", "psnr", "--jobs", "0", "--out"],
        ["eval", str(home / "site" / "originals"), "--codec", "jpeg", "--quality", "50", "--jobs", "0", "--out"],
        ["train", "tiny", "--data", photos, "--steps", "2", "--tracker", "none", "--out"],
        ["family", "--data", photos, "--budget", "1", "--out"],
        ["study", "new", "--originals", photos, "--folder", f"a={photos}", "--crop", "whole"],
        ["study", "backup", str(home / "st")],
        ["study", "analyse", str(home / "st"), "--out"],
        ["web", "--model", model, "--export"],
        ["bulk", photos, "--jobs", "1", "--quiet"],
        ["bulk", str(home / "coded"), "--direction", "decode", "--jobs", "1", "--quiet"],
        ["bulk", str(home / "coded"), "--direction", "verify", "--jobs", "1", "--quiet"],
    ]
    folders = ("photos", "site", "run", "docs", "album", "planted", "photos/2024", "", "odd")
    yield from ([*verb, str(home / out)] for verb, out in itertools.product(verbs, folders))
    for out in ("photos", "site/originals", "run"):
        yield ["eval", str(home / out), "--codec", "jpeg", "--quality", "50", "--jobs", "0", "--out", str(home / out)]
        figure = str(home / out / ("results" if out == "site/originals" else "index"))
        yield [*verbs[0][:-3], "--jobs", "0", "--out", "new", "--figure", figure]


@pytest.mark.parametrize("commands", [file_commands, folder_commands])
def test_no_verb_touches_what_it_was_not_asked_to_make(home: Path, commands: Any) -> None:
    lines = list(commands(home))
    before, made, kept = tree(home), 0, 0
    assert len(before) >= 300
    assert len(lines) >= (200 if commands is file_commands else 100)
    for line in lines:
        result = CliRunner().invoke(main, line, prog_name="gencomp")
        after = tree(home)
        harmed = {name for name, what in before.items() if after.get(name) != what}
        assert not harmed, (line, harmed, result.output)
        assert "Traceback" not in result.output, (line, result.output)
        assert "\x1b]0" not in result.output, (line, result.output)
        new = sorted(after.keys() - before.keys(), key=len, reverse=True)
        made, kept = made + bool(new), kept + bool(result.exit_code)
        for name in new:
            path = Path(name)
            (shutil.rmtree if path.is_dir() and not path.is_symlink() else Path.unlink)(path)
    assert made > 5  # harmless destinations work
    assert kept > len(lines) // 2
