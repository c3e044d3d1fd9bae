"""A whole evaluation: what it leaves behind, what it survives, and that it is the same however it is divided."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gencomp.cli.main import main
from gencomp.eval.cli import evaluate
from gencomp.eval.metrics.fidelity import psnr
from gencomp.eval.metrics.networks import frechet
from gencomp.eval.run import records
from gencomp.eval.run.records import CRASHED, Record
from gencomp.image import to_tensor

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
QUICK = ("--metric", "psnr", "--metric", "ms_ssim", "--metric", "texture_error")
PSNR, FRECHET = ("--metric", "psnr"), "frechet_resnet10t"
Options = tuple[str, str, str, int, str, str, str, Path]
PLAIN, FRAGILE = ("--codec", "eval_adapters:plain"), ("--codec", "eval_adapters:fragile")
TWO = ("--codec", "jpeg", "--codec", "webp", "--bpp", 0.5, "--bpp", 1, *QUICK, "--anchor", "jpeg")
ADAPTERS = """
import os
from gencomp.eval.codecs.baseline import Baseline, RateControl
from gencomp.eval.codecs.classical import decode_with_pillow
from gencomp.kinds import saved
def refuse():
    raise RuntimeError("no images of cats")
def codec(name, fault=None):
    def encode(image, quality):
        if fault and image.getpixel((0, 0)) == FORBIDDEN:
            fault()
        return saved(image, "JPEG", quality=round(quality))
    return Baseline(name, ".jpg", RateControl("quality", 1, 95), encode, decode_with_pillow, f"{name} 1")
def plain(): return codec("plain")
def deadly(): return codec("deadly", os.abort)
def fragile(): return codec("fragile", refuse)
"""
WRONG = [("--codec", "jepg"), ("--codec", "absent.safetensors"), ("--metric", "snr"), ("--bpp", "0"), ("--bpp", "nan"),
         ("--quality", "avif:x"), ("--quality", "inf"), ("--realism", "nan"), ("--limit", "0"),
         ("--bd-range", "0.5", "0.1"), ("--bd-range", "0.1", "inf")]  # fmt: skip
UNFIT: list[Any] = [((*PLAIN, *FRAGILE, "--quality", "plain:30"), "--quality")]
UNFIT += [((*PLAIN, *FRAGILE, "--quality", "other:30", "--quality", "20"), "--quality")]
UNFIT += [(("--codec", "eval_adapters:absent"), "none of the codecs can be used: eval_adapters:absent")]


@pytest.fixture(autouse=True)
def adapters(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module `eval_adapters` in the current folder."""
    with Image.open(photos / "chelsea.png") as cat:
        forbidden = cat.getpixel((0, 0))
    (tmp_path / "eval_adapters.py").write_text(ADAPTERS.replace("FORBIDDEN", repr(forbidden)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "eval_adapters", raising=False)


@pytest.fixture(scope="session")
def over_sets(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """A distance of sets over a small network of random weights."""
    import timm
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    save_file(timm.create_model("resnet10t").state_dict(), str(folder / "resnet10t.safetensors"))
    return ("--metric", "fid", "--patch", 64, "--features", "timm:resnet10t", "--weights", folder)


@pytest.fixture
def mine(photos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(photos, tmp_path / "mine"))


def invoke(photos: Path, out: Path, *arguments: object, status: int = 0) -> Result:
    """The command in this process, without workers; what needs them says so."""
    jobs = () if "--jobs" in arguments else ("--jobs", "0")
    done = CliRunner().invoke(evaluate, [str(a) for a in (photos, "--out", out, *arguments, *jobs)])
    assert done.exit_code == status, done.output
    return done


def results(out: Path) -> dict[str, Any]:
    found = json.loads((out / "results.json").read_text())
    assert isinstance(found, dict)
    return found


def evaluated(photos: Path, out: Path, *arguments: object, status: int = 0) -> dict[str, Any]:
    invoke(photos, out, *arguments, status=status)
    return results(out)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def without_seconds(out: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("encode_s", "decode_s")} for row in table(out)]


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory, over_sets: Options) -> Path:
    """An evaluation of three photographs by two codecs at two rates."""
    out = tmp_path_factory.mktemp("finished") / "out"
    invoke(photos, out, *TWO, *over_sets)
    return out


def test_the_folder_holds_what_is_promised(finished: Path) -> None:
    for name in ("results.json", "results.csv", "tables/means.md", "index.html", "plots/psnr.png", "plots/psnr.svg"):
        assert (finished / name).stat().st_size > 0
    rows = table(finished)
    assert len(rows) == 3 * 2 * 2
    wanted = {"image", "codec", "setting", "realism", "width", "height", "bytes", "bpp", "file", "reconstruction",
              "original", "psnr", "ms_ssim", "encode_s", "decode_s"}  # fmt: skip
    assert wanted <= set(rows[0])


def test_rates_are_the_files_and_metrics_are_of_the_images_on_disk(finished: Path) -> None:
    for row in table(finished):
        size = (finished / row["file"]).stat().st_size
        assert size == int(row["bytes"])
        assert float(row["bpp"]) == 8 * size / (int(row["width"]) * int(row["height"]))
        near = abs(float(row["bpp"]) / float(row["setting"].removesuffix(" bpp")) - 1) <= 0.02
        assert row["reached"] == str(near)
        assert bool(row["note"]) != near
        original, rebuilt, coded = (Image.open(finished / row[k]) for k in ("original", "reconstruction", "file"))
        assert np.array_equal(np.asarray(rebuilt), np.asarray(coded.convert("RGB")))
        assert float(row["psnr"]) == psnr(*(to_tensor(np.asarray(p)) for p in (original, rebuilt)))


def test_means_are_arithmetic_and_decibels_come_after(finished: Path) -> None:
    for line in results(finished)["summary"]:
        members = [r for r in table(finished) if (r["codec"], r["setting"]) == (line["codec"], line["setting"])]
        assert line["images"] == len(members) == 3
        for name in ("bpp", "psnr", "ms_ssim", "texture_error"):
            assert line[name] == pytest.approx(np.mean([float(r[name]) for r in members]), rel=1e-12)
        assert line["ms_ssim_db"] == pytest.approx(-10 * np.log10(1 - line["ms_ssim"]), rel=1e-9)
        low, high = line["intervals"]["psnr"]
        assert low < line["psnr"] < high


def test_sets_and_deltas_stand_in_the_results(finished: Path) -> None:
    found = results(finished)
    assert len(found["sets"]) == 4
    assert all(line[FRECHET] > 0 for line in found["sets"])
    delta = next(d for d in found["bd"] if d["codec"] == "webp" and d["metric"] == "psnr")
    assert delta["anchor"] == "jpeg"
    low, high = delta["rate"]["interval"]
    assert low <= delta["rate"]["value"] <= high < 0  # WebP needs fewer bits than JPEG
    assert 0 < delta["rate"]["share"] <= 1


def test_missing_weights_are_named_and_nothing_is_guessed(photos: Path, tmp_path: Path) -> None:
    wanted = ("--metric", "lpips_alex", "--metric", "fid", *PSNR)
    done = invoke(photos, tmp_path / "out", *PLAIN, "--bpp", 1, "--limit", 1, *wanted)
    found = results(tmp_path / "out")
    assert found["not_measured"]["lpips_alex"] == "not measured: needs alexnet-owt-7be5be79.pth"
    assert "weights-inception" in found["not_measured"]["fid"]
    assert "lpips_alex" not in table(tmp_path / "out")[0]
    assert "needs alexnet-owt-7be5be79.pth" in done.output


def test_an_image_too_small_for_a_metric_keeps_the_others_mean(mine: Path, tmp_path: Path) -> None:
    with Image.open(mine / "coffee.png") as coffee:
        coffee.crop((0, 0, 100, 40)).save(mine / "coffee.png")
    found = evaluated(mine, tmp_path / "out", *PLAIN, "--quality", 50, "--metric", "ms_ssim", *PSNR)
    (line,) = found["summary"]
    assert line["fewer"] == {"ms_ssim": 2}
    values = [float(row["ms_ssim"]) for row in table(tmp_path / "out") if row["ms_ssim"]]
    assert line["ms_ssim"] == pytest.approx(np.mean(values))
    assert "161 pixels" in found["not_measured"]["ms_ssim"]
    assert "†" in (tmp_path / "out" / "tables" / "means.md").read_text()


def test_one_setting_for_all_images(photos: Path, tmp_path: Path) -> None:
    given = (*PLAIN, *FRAGILE, "--quality", "plain:30", "--quality", 20, *PSNR, "--limit", 1)
    evaluated(photos, tmp_path / "out", *given)
    settings = {(row["codec"], row["setting"], float(row["rate_control"])) for row in table(tmp_path / "out")}
    assert settings == {("plain", "quality 30", 30), ("plain", "quality 20", 20), ("fragile", "quality 20", 20)}


def test_this_project_s_models_at_several_realisms(photos: Path, tmp_path: Path) -> None:
    given = ("--codec", "gencomp", "--model", TINY, "--codec", "jpeg", "--codec", TINY, "--limit", 1, "--quality", 50,
             "--realism", 0, "--realism", 1, *PSNR, "--device", "cpu")  # fmt: skip
    codecs = evaluated(photos, tmp_path / "out", *given)["codecs"]
    assert all(codecs["gencomp"][key] > 0 for key in ("parameters", "encoder_kmac", "decoder_kmac"))
    assert codecs["gencomp-tiny"]["decoder_kmac"] == codecs["gencomp"]["decoder_kmac"]
    rows = [row for row in table(tmp_path / "out") if row["codec"] == "gencomp"]
    assert all(row["file"].endswith(".gnc") for row in rows)
    assert len({row["file"] for row in rows}) == 1


def test_what_goes_wrong_is_named_and_the_rest_unharmed(mine: Path, tmp_path: Path) -> None:
    (mine / "broken.png").write_bytes(b"no image")
    absent = ("--codec", "eval_adapters:absent")
    problems = evaluated(mine, tmp_path / "out", *FRAGILE, *PLAIN, *absent, "--bpp", 1, *PSNR, status=1)["problems"]
    assert {(p["codec"], p["image"]) for p in problems} == {
        ("eval_adapters:absent", ""), ("fragile", "chelsea at 1 bpp"), ("", "broken")
    }  # fmt: skip
    assert any("no images of cats" in p["what"] for p in problems)
    assert "no images of cats" in (tmp_path / "out" / "index.html").read_text()
    good = [(row["codec"], row["image"]) for row in table(tmp_path / "out") if not row["error"]]
    assert sorted(good) == [("fragile", "astronaut"), ("fragile", "coffee"),
                            ("plain", "astronaut"), ("plain", "chelsea"), ("plain", "coffee")]  # fmt: skip


def test_a_wrong_folder_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["eval", str(tmp_path / "nowhere" / "at" / "all"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("given", "message"), UNFIT)
def test_unfit_settings_leave_no_report(given: tuple[str, ...], message: str, photos: Path, tmp_path: Path) -> None:
    assert message in str(invoke(photos, tmp_path / "out", *given, status=1).exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_options_are_wrong_usage(wrong: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    invoke(photos, tmp_path / "out", *wrong, status=2)


def test_a_flat_image_breaks_no_metric_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (200, 180), (90, 120, 60)).save(tmp_path / "flat" / "flat.png")
    invoke(tmp_path / "flat", tmp_path / "out", *PLAIN, "--quality", 20)
    text = (tmp_path / "out" / "results.json").read_text()
    json.loads(text, parse_constant=Mock(side_effect=AssertionError("no JSON")))


def test_deltas_take_the_images_that_both_codecs_have(photos: Path, tmp_path: Path) -> None:
    """A codec that fails on one image is compared on the others, as if that one had not been there."""
    given = (*PLAIN, *FRAGILE, "--bpp", 0.5, "--bpp", 1, *PSNR, "--anchor", "plain")
    found = evaluated(photos, tmp_path / "out", *given, status=1)
    (delta,) = found["bd"]
    assert delta["images"] == 2
    assert delta["rate"]["value"] == pytest.approx(0, abs=1e-9)  # the same encoder under both names
    assert [row["images"] for row in found["summary"]] == [2, 2, 2, 2]
    summary = (tmp_path / "out" / "tables" / "means.md").read_text()
    assert "chelsea (fragile cannot at 0.5 bpp; fragile cannot at 1 bpp)" in summary


def test_an_interrupted_run_goes_on_where_it_was(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = (photos, out, *PLAIN, "--bpp", 0.5, "--bpp", 1, *PSNR)
    invoke(*given)
    whole = without_seconds(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "files").rglob("*.jpg")}
    (out / "results.csv").unlink()
    min((out / "records").rglob("chelsea.json")).unlink()
    cut = min((out / "records").rglob("coffee.json"))
    cut.write_text(cut.read_text()[:50])  # what a crash of the machine may leave
    invoke(*given)
    assert sum(path.stat().st_mtime_ns != time for path, time in times.items()) == 2
    assert without_seconds(out) == whole


def test_a_codec_that_crashed_the_program_is_not_called_again(photos: Path, tmp_path: Path) -> None:
    """Not before it, or the image, is another one."""
    out = tmp_path / "out"
    given = (photos, out, *PLAIN, "--bpp", 1, *PSNR, "--limit", 2)
    invoke(*given)
    path = next((out / "records").rglob("chelsea.json"))
    record = json.loads(path.read_text())
    record["row"]["error"] = f"{CRASHED} (SIGSEGV)"
    path.write_text(json.dumps(record))
    assert [p["what"] for p in evaluated(*given, status=1)["problems"]] == [f"{CRASHED} (SIGSEGV)"]
    record["fingerprint"]["codec"] = "plain 0"
    path.write_text(json.dumps(record))
    invoke(*given)


def test_other_pixels_and_other_versions_are_coded_anew(mine: Path, tmp_path: Path, over_sets: Options) -> None:
    out = tmp_path / "out"
    given = (mine, out, *PLAIN, "--bpp", 1, *PSNR, *over_sets)
    distance = evaluated(*given)["sets"][0][FRECHET]
    before = {row["image"]: row["bytes"] for row in table(out)}
    with Image.open(mine / "coffee.png") as coffee:
        flipped = coffee.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("L").convert("RGB")
    flipped.save(mine / "coffee.png")
    assert evaluated(*given)["sets"][0][FRECHET] != distance
    after = {row["image"]: row["bytes"] for row in table(out)}
    assert {name for name in before if before[name] != after[name]} == {"coffee"}
    assert np.array_equal(np.asarray(Image.open(out / "originals" / "coffee.webp")), np.asarray(flipped))


def test_two_processes_give_the_results_of_one(
    finished: Path, photos: Path, tmp_path: Path, over_sets: Options
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               "-m", "gencomp.eval", photos, "--out", out, *TWO, *over_sets]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert without_seconds(out) == without_seconds(finished)
    one, two = results(finished), results(out)
    assert (two["machine"]["processes"], two["sets"], two["bd"]) == (2, one["sets"], one["bd"])


def test_feature_distances_over_a_network_at_hand(photos: Path, tmp_path: Path, over_sets: Options) -> None:
    """FID and KID from files of weights to the results, against a computation from the features on disk."""
    found = evaluated(photos, tmp_path / "out", *PLAIN, "--bpp", 1, "--metric", "kid", *over_sets)
    (line,) = found["sets"]
    folder = tmp_path / "out" / "features" / "timm-resnet10t-64"
    sides = [np.concatenate([np.load(p) for p in sorted((folder / s).rglob("*.npy"))]) for s in ("original", "plain")]
    assert len(sides[0]) == 3 * (6 + 4)  # 192x176 in patches of 64: the grid and the shifted one
    assert line[FRECHET] == pytest.approx(frechet(*sides), rel=1e-9)
    assert "kernel_resnet10t" in line
    known = found["metrics"][FRECHET]
    assert known["label"] == "Fréchet distance (resnet10t)"
    assert "resnet10t" in known["definition"]


def test_a_figure_for_a_readme(finished: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "assets"
    invoke(photos, finished, *TWO, "--figure", folder / "small")
    images = [f"small{look}.{kind}" for look in ("-dark", "") for kind in ("pdf", "png", "svg")]
    assert sorted(p.name for p in folder.iterdir()) == sorted(["small.csv", "small.md", *images])
    light, dark = (np.asarray(Image.open(folder / f"small{look}.png").convert("L"))[0, 0] for look in ("", "-dark"))
    assert light > 200 > 60 > dark
    text = (folder / "small.md").read_text()
    assert "| jpeg | 0.5 bpp |" in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_a_codec_that_takes_the_program_down_is_outlived(photos: Path, tmp_path: Path) -> None:
    """With workers: its image is named, all else is done, and the same command does not call it there again."""
    given = (photos, tmp_path / "out", "--codec", "eval_adapters:deadly", *PLAIN, "--quality", 30, *PSNR, "--jobs", 1)
    done = invoke(*given, status=1)
    assert "deadly, chelsea at quality 30: crashed the program (SIGABRT); going on without it" in done.stderr
    errors = {(row["codec"], row["image"]): row["error"] for row in table(tmp_path / "out") if row["error"]}
    assert errors == {("deadly", "chelsea"): "crashed the program (SIGABRT)"}
    assert len(table(tmp_path / "out")) == 6
    assert "going on without it" not in invoke(*given, status=1).stderr


def test_a_note_lasts_as_long_as_its_work_and_is_kept_by_who_finds_it(tmp_path: Path) -> None:
    row = {"image": "one", "codec": "odd", "setting": "1 bpp", "realism": None, "error": ""}
    note = tmp_path / "note.json"
    with records.noted(note, [Record(row, {}, {}, {})]):
        assert json.loads(note.read_text())[0]["row"] == row
        assert records.keep_noted(tmp_path, note, "SIGSEGV") == "odd, one at 1 bpp"
    assert not note.exists()
    (kept,) = records.load_all(tmp_path, {"one"})
    assert kept.row["error"] == "crashed the program (SIGSEGV)"
    assert records.keep_noted(tmp_path, note, "SIGSEGV") is None


def test_a_removed_photograph_leaves_the_results(mine: Path, tmp_path: Path, over_sets: Options) -> None:
    given = (mine, tmp_path / "out", *PLAIN, "--quality", 30, *PSNR, *over_sets)
    three = evaluated(*given)
    (mine / "coffee.png").unlink()
    two = evaluated(*given)
    names = ["astronaut", "chelsea"]
    assert [i["image"] for i in two["photos"]["images"]] == [row["image"] for row in two["rows"]] == names
    assert two["summary"][0]["images"] == 2
    for key in ("psnr", FRECHET):
        assert two["summary"][0][key] != three["summary"][0][key]
    assert "coffee" not in (tmp_path / "out" / "index.html").read_text()


def test_an_image_out_of_reach_leaves_means_and_sets_alike(mine: Path, tmp_path: Path, over_sets: Options) -> None:
    Image.new("RGB", (192, 176), (90, 120, 60)).save(mine / "flat.png")  # no codec spends 1 bpp on it
    given = (*PLAIN, "--codec", "webp", "--bpp", 1, *PSNR, *over_sets, "--anchor", "plain")
    done = invoke(mine, tmp_path / "out", *given)
    found = results(tmp_path / "out")
    assert [(one["setting"], one["image"]) for one in found["left_out"]] == [("1 bpp", "flat")]
    assert [row["codec"] for row in found["summary"]] == ["plain", "webp"]
    assert all((row["images"], row["left_out"]) == (3, 1) and row[FRECHET] > 0 for row in found["summary"])
    assert "1 image left out for all codecs at all rates: flat (plain, webp cannot at 1 bpp)." in done.output
    assert len(found["rows"]) == 8


@pytest.mark.slow
def test_reconstructions_beyond_those_kept_are_measured_and_dropped(
    photos: Path, tmp_path: Path, over_sets: Options
) -> None:
    given, more = (*PLAIN, "--quality", 30, *PSNR), ("--metric", "ms_ssim", *over_sets)
    folder = tmp_path / "one"
    everything = evaluated(photos, tmp_path / "all", *given, "--keep", 3)
    one = evaluated(photos, folder, *given, "--keep", 1)
    assert len(list((folder / "reconstructions").rglob("*.webp"))) == 1
    assert [row["psnr"] for row in everything["rows"]] == [row["psnr"] for row in one["rows"]]
    assert [bool(row["reconstruction"]) for row in one["rows"]] == [True, False, False]
    everything, one = (evaluated(photos, tmp_path / n, *given, "--keep", k, *more) for n, k in (("all", 3), ("one", 1)))
    for key in ("ms_ssim", FRECHET):  # measured later, from the files
        assert one["summary"][0][key] == everything["summary"][0][key]
    for keep in (2, 0):  # more of them decoded again, or none left
        invoke(photos, folder, *given, "--keep", keep)
        assert [bool(row["reconstruction"]) for row in table(folder)].count(True) == keep
        assert len(list((folder / "reconstructions").rglob("*.webp"))) == keep


def test_progress_is_line_by_line_without_a_terminal_and_absent_when_quiet(photos: Path, tmp_path: Path) -> None:
    given = (photos, tmp_path / "out", *PLAIN, "--quality", 30, *PSNR)
    assert "images: 3 of 3, coffee plain" in invoke(*given).stderr
    assert invoke(*given, "--quiet").output == ""
