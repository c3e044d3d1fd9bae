import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gencomp.eval.codecs import build
from gencomp.eval.codecs.baseline import Baseline, RateControl
from gencomp.eval.codecs.classical import decode_with_pillow
from gencomp.eval.study.cli import study as command
from gencomp.eval.study.design import demonstration
from gencomp.eval.study.design.sources import StudyImage
from gencomp.eval.study.plan import load
from gencomp.eval.study.web.cli import _origin
from gencomp.eval.study.web.store import Store
from gencomp.kinds import saved

HERE = Path(__file__).parent
WRONG: list[Any] = [(["--codec", "nobody"], "no codec nobody here; known: bad, good, middling")]
WRONG += [(["--realism", "0.5"], "no realism 0.5 here; known: 0.0, 1.0"), (["--draw", "9"], "there are only 4")]
WRONG += [(["--trials", "41"], "there are only 40 pairs"), (["--consent", "nowhere.txt"], "does not exist")]
WRONG += [(["--crop", "big"], "give WIDTHxHEIGHT"), (["--crop-at", "image0"], "give IMAGE=X,Y")]
WRONG += [(["--design", "full", "--trials", "3"], "--trials does not go with --design full")]
WRONG += [(["--task", "dsis", "--ties"], "are for --task pairs")]
WRONG += [(["--task", "acr", "--design", "active"], "are for --task pairs")]
WRONG += [(["--task", "acr", "--layout", "flip"], "--task acr has side")]
WRONG += [(["--task", "dsis", "--trials", "21"], "there are only 20 images to rate")]
WRONG += [(["--task", "acr", "--trials", "25"], "there are only 24 images to rate")]
WRONG += [(["--questions", "q.json", "--no-questions"], "contradict each other")]
WRONG += [(["--questions", "q.json"], "is no list of questions")]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command, arguments)


@pytest.fixture
def evaluation(tmp_path: Path, codings: Callable[..., list[StudyImage]]) -> Path:
    """The folder of a finished evaluation: three codecs, one of them at two settings and two realisms."""
    folder = tmp_path / "evaluation"
    coded = codings(folder / "reconstructions")
    (folder / "originals").mkdir()
    rows = ["image,codec,setting,realism,bpp,original,reconstruction,psnr,encode_s"]
    for one in coded:
        (folder / "originals" / f"{one.image}.png").write_bytes(one.original.read_bytes())
        several = [("0.1 bpp", "0"), ("0.1 bpp", "1"), ("0.2 bpp", "1")]
        for setting, realism in several if one.codec == "good" else [("0.1 bpp", "")]:
            path = one.reconstruction.relative_to(folder)
            rows.append(f"{one.image},{one.codec},{setting},{realism},0.1,originals/{one.image}.png,{path},30.5,1.0")
    (folder / "results.csv").write_text("\n".join(rows) + "\n")
    sets = [{"codec": "bad", "setting": "0.1 bpp", "realism": None, "bpp": 0.1, "fid": 40.0, "kid": 3.0}]
    (folder / "results.json").write_text(json.dumps({"sets": sets}))
    return folder


def test_a_study_is_built_from_an_evaluation(evaluation: Path, tmp_path: Path) -> None:
    result = run("new", str(tmp_path / "s"), "--from", str(evaluation), "--crop", "64x48", "--seed", "3", "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["conditions"] == [
        "good realism 0 0.1 bpp", "good realism 1 0.1 bpp", "good realism 1 0.2 bpp", "middling 0.1 bpp", "bad 0.1 bpp",
    ]  # fmt: skip
    assert (said["scenes"], said["pairs"], said["crop"]) == (4, 40, [64, 48])
    study = load(tmp_path / "s")
    assert (study.design.trials, study.conditions[-1].measures) == (40, {"fid": 40.0, "kid": 3.0})
    assert set(study.scenes[0].renderings["bad 0.1 bpp"].metrics) == {"psnr", "psnr_crop"}


def test_codecs_settings_and_realisms_can_be_chosen(evaluation: Path, tmp_path: Path) -> None:
    chosen = ("--setting", "0.1 bpp", "--realism", "1", "--codec", "good", "--codec", "bad")
    result = run("new", str(tmp_path / "s"), "--from", str(evaluation), *chosen, "--crop", "64", "--image", "image2")
    assert result.exit_code == 0, result.output
    study = load(tmp_path / "s")
    assert [c.id for c in study.conditions] == ["good", "bad"]
    assert [c.realism for c in study.conditions] == [1, None]
    assert [scene.image for scene in study.scenes] == ["image2"]


@pytest.mark.parametrize(("arguments", "says"), WRONG)
def test_a_wrong_wish_builds_nothing(
    evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "q.json").write_text('[{"id": "age", "when": "during", "text": "How old?"}]')
    result = run("new", str(tmp_path / "s"), "--from", str(evaluation), "--crop", "64", *arguments)
    assert result.exit_code in (1, 2)
    assert says in result.output
    assert not (tmp_path / "s").exists()


AWAY = ["--host", "0.0.0.0"]
BASE = ["--base-url", "http://lab:8600"]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (AWAY, 1, "make them with --invite"),
        ([*AWAY, "--invite", "2"], 1, "give one with --base-url"),
        ([*AWAY, *BASE, "--invite", "2"], 1, "who is responsible"),
        (BASE, 1, "make them with --invite"),
        (["--panel", "PID"], 1, "who is responsible"),
        (["--base-url", "study.example.org/here"], 2, "give http://HOST"),
        (["--base-url", "https://study.example.org:port"], 2, "give http://HOST"),
        (["--base-url", "https://[::1"], 2, "give http://HOST"),
        (["--base-url", "ftp://study.example.org"], 2, "give http://HOST"),
        (["--panel", "PID", "--invite", "3"], 2, "either by a panel's link or by their own"),
        (["--panel", "P?D"], 2, "give the name of a parameter"),
        (["--completion-url", "javascript:alert(1)"], 2, "give https://"),
    ],
)
def test_strangers_need_links_and_complete_consent(folder: Path, arguments: list[str], status: int, says: str) -> None:
    refused = run("serve", str(folder), "--port", "0", *arguments)
    assert (refused.exit_code, says in refused.output) == (status, True), refused.output
    assert Store(folder, load(folder).id).raters() == 0


def test_links_are_written_for_the_owner_alone(folder: Path) -> None:
    (folder / "consent.txt").write_text("I am responsible.")
    serve = [sys.executable, "-c", "from gencomp.eval.study.cli import study; study()", "serve", str(folder)]
    how = ["--port", "0", "--invite", "3", "--base-url", "https://study.example.org"]
    process = subprocess.Popen([*serve, *how], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = [process.stdout.readline() for _ in range(3)]
    process.terminate()
    process.wait()
    links = (folder / "links.txt").read_text().split()
    assert "3 new links" in said[0]
    assert len(set(links)) == 3
    assert all(re.fullmatch(r"https://study\.example\.org/r/[\w-]{22}", link) for link in links)
    if os.name == "posix":
        assert (folder / "links.txt").stat().st_mode & 0o077 == 0
    rater = Store(folder, load(folder).id).rater(links[0].rsplit("/", 1)[1])
    assert rater
    assert (rater.agreed, rater.done, rater.total) == (False, 0, 17)


def test_the_public_address_is_compared_as_browsers_write_it() -> None:
    same = ("https://Study.Example.org", "https://study.example.org:443/", "https://study.example.org")
    assert {_origin(urlsplit(url)) for url in same} == {"study.example.org"}
    assert _origin(urlsplit("http://study.example.org:8600")) == "study.example.org:8600"
    assert _origin(urlsplit("http://[::1]:80")) == "[::1]"


def test_a_damaged_database_is_said_in_one_line(folder: Path) -> None:
    Store(folder, load(folder).id).close()
    database = folder / "votes.sqlite"
    data = database.read_bytes()
    database.write_bytes(data[:4096] + bytes(b ^ 0x5A for b in data[4096:]))
    for verb in (["analyse", str(folder)], ["export", str(folder), "-o", str(folder / "v.csv")]):
        result = run(*verb)
        assert result.exit_code == 1
        assert re.fullmatch(r"Error: .*votes\.sqlite cannot be used \(.*\).*\n", result.output)


def test_a_codecs_folders_are_told_apart_by_rates(tmp_path: Path, codings: Callable[..., list[StudyImage]]) -> None:
    originals = codings(tmp_path / "images")[0].original.parent
    result = run("new", str(tmp_path / "s"), "--originals", str(originals), *(["--folder", f"jpeg={originals}"] * 2))
    assert (result.exit_code, result.output) == (
        1, "Error: --folder jpeg is given twice; tell them apart by their rates: jpeg@BPP=FOLDER\n",
    )  # fmt: skip


def test_a_taken_port_is_named(folder: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("serve", str(folder), "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert "try another --port" in result.output


def test_votes_are_exported_whole(folder: Path, tmp_path: Path) -> None:
    assert run("export", str(folder), "-o", str(tmp_path / "v.json")).exit_code == 0
    assert json.loads((tmp_path / "v.json").read_text()) == {"study": load(folder).id, "votes": []}
    assert run("analyse", str(folder)).exit_code == 1


def test_many_raters_at_once_lose_no_vote() -> None:
    """A small dose of load_raters.py, the server killed with -9 at the end."""
    how = ["--raters", "12", "--votes", "20", "--pause", "0.02"]
    command = [sys.executable, str(HERE / "web" / "load_raters.py"), *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(done.stdout)
    assert found["errors"] == []
    assert (found["votes_stored"], found["lost"], found["doubled"], found["every_vote_as_sent"]) == (240, 0, 0, True)


def test_the_demonstrations_crops_lie_in_their_photographs() -> None:
    pytest.importorskip("skimage")
    for name in demonstration.PHOTOGRAPHS:
        height, width, _ = demonstration.photograph(name).shape
        x, y = demonstration.CROP_AT[name]
        assert x + min(width, demonstration.CROP[0]) <= width
        assert y + min(height, demonstration.CROP[1]) <= height


def test_the_demonstration_compares_codecs_at_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JPEG stands in for the model, so that the test does not wait for it: it has realism, and a file for both ends."""
    pytest.importorskip("skimage")

    def decode(data: bytes, realism: float) -> Image.Image:
        pixels = np.asarray(decode_with_pillow(data)).astype(int) + round(10 * realism)
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def encode(image: Image.Image, quality: float) -> bytes:
        return saved(image, "JPEG", quality=round(quality))

    stand_in = Baseline("gencomp", ".jpg", RateControl("quality", 1, 100), encode, decode, has_realism=True)
    monkeypatch.setattr(build, "of_model", lambda *_, **__: stand_in)
    monkeypatch.setattr(demonstration, "PHOTOGRAPHS", ("chelsea",))
    monkeypatch.setattr(demonstration, "CROP_AT", {})
    whole = demonstration.photograph("chelsea")
    monkeypatch.setattr(demonstration, "photograph", lambda _: whole[60:220, 100:300])
    result = run("demo", str(tmp_path / "demo"))
    assert result.exit_code == 0, result.output
    study = load(tmp_path / "demo")
    assert [c.id for c in study.conditions] == ["gencomp realism 0", "gencomp realism 1", "avif", "webp"]
    rates = [r.bpp for r in study.scenes[0].renderings.values() if r.bpp]
    assert len(rates) == 4
    assert max(rates) / min(rates) < 1.05
    assert study.design.trials == 6
    assert run("demo", str(tmp_path / "demo")).exit_code == 1  # never over an old one


def test_new_says_what_the_checks_achieve(evaluation: Path, tmp_path: Path) -> None:
    asked = tmp_path / "q.json"
    asked.write_text('[{"id": "age", "when": "after", "text": "How old?", "options": ["young", "old"]}]')
    how = ("--from", str(evaluation), "--crop", "64", "--task", "acr", "--questions", str(asked))
    result = run("new", str(tmp_path / "s"), *how)
    assert result.exit_code == 0, result.output
    assert "checks: 14 of 16 must be right: 0.013 % of raters who answer at random pass" in result.output
    study = load(tmp_path / "s")
    assert (study.task, study.layout, study.question) == ("acr", "side", "How good is this image?")
    assert [(q.id, q.options) for q in study.questions] == [("age", ("young", "old"))]
