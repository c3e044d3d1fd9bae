"""What the page says of measurements: values at a rate, trends, and sentences that claim no more than was measured."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from gencomp.eval.family import standings
from gencomp.eval.family.cli import family
from gencomp.eval.family.measure import FamilyResults, common_rate, pair
from gencomp.eval.family.rungs import LADDER, rung
from gencomp.eval.family.standings import Spent, Standing, Values, history, trend
from gencomp.eval.run.records import Record

ROWS = [{"codec": "a", "bpp": 0.1, "psnr": 20.0}, {"codec": "a", "bpp": 0.4, "psnr": 24.0}]
ROWS += [{"codec": "b", "bpp": 0.2, "psnr": 30.0}, {"codec": "b", "bpp": 1.6, "psnr": 40.0}]
VERDICTS: list[Any] = [(-12.3, (-15.0, -9.0), "holds", "12.3 % fewer bits than balle2017")]
VERDICTS += [(8.0, (2.0, 15.0), "reversed", "8.0 % more bits than balle2017")]
VERDICTS += [(-1.0, (-4.0, 3.0), "open", "the interval has zero in it")]


def test_the_common_rate_is_one_that_most_curves_reach() -> None:
    assert 0.2 <= common_rate(ROWS, ["a", "b"]) <= 0.4
    apart = [*ROWS, {"codec": "c", "bpp": 3.0, "psnr": 1.0}, {"codec": "c", "bpp": 6.0, "psnr": 2.0}]
    assert 0.2 <= common_rate(apart, ["a", "b", "c"]) <= 0.4


def test_the_trend_compares_the_last_fifths_of_one_stage() -> None:
    lines = [{"g_loss": 10.0 if k < 16 else 9.0, "stage": 1} for k in range(20)]
    assert trend(lines) == pytest.approx(-0.1)
    assert trend(lines[:5]) is None
    assert trend([{**line, "stage": 1 + (k > 9)} for k, line in enumerate(lines)]) is None


def test_every_rung_improves_on_an_older_one_that_exists() -> None:
    for one in LADDER.values():
        assert not one.after or one.after in LADDER
        assert one.promise == "arithmetic" or not one.after or LADDER[one.after].year <= one.year
        assert sum(part.share for part in one.runs) == 1
        assert one.idea.endswith(".")
        assert one.paper
    assert rung("tiny").runs[0].recipe == "tiny"


def line(name: str, kmac: float = 10.0) -> Standing:
    spent = Spent(1200, 9600, 2.0, 3.1, -0.031)
    return Standing(name, rung(name), spent, {"encoder_kmac": kmac, "decoder_kmac": kmac}, Values(None, None, {}))


@pytest.mark.parametrize(("value", "interval", "verdict", "words"), VERDICTS)
def test_a_pair_is_said_to_hold_only_where_the_interval_does(
    value: float, interval: tuple[float, float], verdict: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "pair", lambda *_: {"rate": {"value": value, "interval": interval}})
    (said,) = history(nothing(), [line("balle2017"), line("balle2018")], 2, False)
    assert said.verdict == verdict
    assert words in said.text
    assert ("What is known" in said.text) == (verdict != "holds")
    if verdict != "holds":
        assert "balle2018 did 1,200 steps on 9,600 crops (3.10 TFLOP, 2.0 min)" in said.text
        assert "fell by 3.1 %" in said.text


def test_curves_that_do_not_compare_are_said_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standings, "pair", lambda *_: {"rate": {"refused": "the curves do not overlap"}})
    (said,) = history(nothing(), [line("balle2017"), line("balle2018")], 2, True)
    assert said.verdict == "refused"
    assert "the curves do not overlap" in said.text
    assert "arithmetic of 2 minutes" in said.text


def test_light_is_held_to_its_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    delta: dict[str, Any] = {"rate": {"value": 20.0, "interval": (15.0, 25.0)}}
    monkeypatch.setattr(standings, "pair", lambda *_: delta)
    (said,) = history(nothing(), [line("light", 1.0), line("base", 10.0)], 2, False)
    assert said.verdict == "holds"
    assert "0.10 of base's 20.0" in said.text
    assert "20.0 % more bits" in said.text


def test_a_pair_is_compared_in_one_metric_on_the_same_images() -> None:
    """The most realistic curve of a rung that has several; None without one of them."""
    curves = [("old", None, 30.0), ("new", 0.0, 40.0), ("new", 1.0, 31.0)]
    points = [(codec, f"quality {k}", realism, 0.1 * 2**k, psnr + 3 * k) for codec, realism, psnr in curves
              for k in range(3)]  # fmt: skip
    rows = [{"codec": codec, "setting": setting, "realism": realism, "bpp": bpp, "psnr": psnr, "minimised": []}
            for codec, setting, realism, bpp, psnr in points]  # fmt: skip
    used: dict[Any, list[Record]] = {
        tuple(point[:3]): [Record({"image": image, "bpp": point[3]} | dict(zip(("codec", "setting", "realism"), point)),
                                  {"psnr": point[4]}, {}, {}) for image in "abcdef"]
        for point in points
    }  # fmt: skip
    found = FamilyResults({"summary": rows}, [], used, "old")
    compared = pair(found, "new", "old", "psnr")
    assert compared is not None
    assert (compared["codec"], compared["images"]) == ("new, realism 1", 6)
    assert compared["quality"]["value"] == pytest.approx(1)
    assert pair(found, "newer", "old", "psnr") is None
    assert pair(found, "new", "old", "ms_ssim") is None


def nothing() -> FamilyResults:
    return FamilyResults({}, [], {}, "balle2018")


LIMIT = 300.0


def wait_for(condition: object, what: str) -> None:
    end = time.monotonic() + LIMIT
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.mark.parametrize(
    "wrong",
    [["--budget", "0"], ["--budget", "nan"], ["--rungs", ""], ["--rungs", "../x"], ["--jobs", "0"], ["--data", "x"]],
)
def test_wrong_options_are_refused_before_any_work(wrong: list[str], tmp_path: Path) -> None:
    budget = () if "--budget" in wrong else ("--budget", "1")
    given = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), *budget, *wrong]
    done = CliRunner().invoke(family, given)
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "out").exists()


def test_a_page_without_any_rung_is_refused(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gencomp", "family", "--data", str(photos), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--budget", "1", "--rungs", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("Error: none of these rungs can be trained here: no recipe nothing is installed\n")


@pytest.mark.slow
def test_a_family_that_is_killed_goes_on_and_does_nothing_twice(photos: Path, tmp_path: Path, browser: Any) -> None:
    out, few = tmp_path / "out", tmp_path / "few"
    few.mkdir()
    with Image.open(next(iter(sorted(photos.iterdir())))) as photo:
        photo.convert("RGB").crop((0, 0, 192, 192)).save(few / "one.png")
    arguments = ["--data", str(photos), "--out", str(out), "--budget", "0.05", "--rungs", "tiny", "--eval", str(few)]
    command = [sys.executable, "-m", "gencomp", "family", *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (out / "runs" / "tiny" / "1" / "log.jsonl").is_file() or first.poll() is not None, "no training")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    plan = (out / "plan.json").read_bytes()
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (out / "plan.json").read_bytes() == plan
    assert {line["curve"] for line in found["rungs"]} == {"tiny, realism 0", "tiny, realism 1"}
    page = (out / "page" / "index.html").read_text()
    for shown in ("tiny, realism 0", "webp", "A recipe that is no rung", "kMAC", "gencomp"):
        assert shown in page
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    crops = sorted((out / "page" / "crops").glob("*.webp"))
    assert len(crops) == 1 + 2 + 3
    assert Image.open(crops[0]).size[0] > 100
    for width in (390, 1400):
        opened = browser.new_page(viewport={"width": width, "height": 800})
        opened.goto((out / "page" / "index.html").as_uri())
        opened.locator(".crops").first.scroll_into_view_if_needed()  # images are loaded when they are looked at
        crop = opened.locator(".crops img").first
        crop.wait_for()
        before = crop.bounding_box()["width"]
        crop.click()
        assert crop.bounding_box()["width"] > 1.9 * before
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        opened.close()
    model = out / "models" / "tiny.safetensors"
    before = model.stat().st_mtime_ns, sum(1 for _ in (out / "runs").rglob("*"))
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (model.stat().st_mtime_ns, sum(1 for _ in (out / "runs").rglob("*"))) == before
    other = subprocess.run([*command[:-2], "--budget", "1"], capture_output=True, text=True)
    assert other.returncode == 1
    assert "was begun with --budget 0.05 (now 1)" in other.stderr
