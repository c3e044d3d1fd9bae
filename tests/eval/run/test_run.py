"""A whole evaluation: what it leaves behind, what it survives, and that it is the same however it is divided."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gencomp.eval.cli import evaluate
from gencomp.eval.metrics.fidelity import psnr
from gencomp.eval.run import records
from gencomp.image import to_tensor

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
QUICK = ("--metric", "psnr", "--metric", "ms_ssim", "--metric", "texture_error", "--metric", "swd")
ADAPTERS = """
from gencomp.eval.codecs.baseline import Baseline, RateControl
from gencomp.eval.codecs.classical import decode_with_pillow, through_pillow

def encode(image, quality):
    return through_pillow("JPEG", quality=round(quality))(image)

def plain():
    return Baseline("plain", ".jpg", RateControl("quality", 1, 95), encode, decode_with_pillow, "plain 1")

def deadly():
    def sometimes(image, quality):
        if image.getpixel((0, 0)) == FORBIDDEN:
            import os
            os.abort()
        return encode(image, quality)
    return Baseline("deadly", ".jpg", RateControl("quality", 1, 95), sometimes, decode_with_pillow, "deadly 1")

def fragile():
    def sometimes(image, quality):
        if image.getpixel((0, 0)) == FORBIDDEN:
            raise RuntimeError("no images of cats")
        return encode(image, quality)
    return Baseline("fragile", ".jpg", RateControl("quality", 1, 95), sometimes, decode_with_pillow, "fragile 1")
"""


WRONG = [("--codec", "jepg"), ("--metric", "snr"), ("--bpp", "0"), ("--bpp", "nan"), ("--quality", "avif:x"),
         ("--quality", "inf"), ("--realism", "nan"), ("--limit", "0"), ("--bd-range", "0.5", "0.1")]  # fmt: skip


@pytest.fixture(autouse=True)
def adapters(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module `eval_adapters` in the current folder."""
    with Image.open(photos / "chelsea.png") as cat:
        forbidden = cat.getpixel((0, 0))
    (tmp_path / "eval_adapters.py").write_text(ADAPTERS.replace("FORBIDDEN", repr(forbidden)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "eval_adapters", raising=False)


def invoke(*arguments: object) -> Result:
    """The command in this process, without workers; what needs them says so."""
    given = [str(a) for a in arguments]
    return CliRunner().invoke(evaluate, given if "--jobs" in given else [*given, "--jobs", "0"])


def results(out: Path) -> dict[str, Any]:
    found = json.loads((out / "results.json").read_text())
    assert isinstance(found, dict)
    return found


def table(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of three photographs by two codecs at two rates."""
    out = tmp_path_factory.mktemp("finished") / "out"
    done = invoke(photos, "--out", out, "--codec", "jpeg", "--codec", "webp", "--bpp", 0.5, "--bpp", 1, *QUICK,
                  "--anchor", "jpeg")  # fmt: skip
    assert done.exit_code == 0, done.output
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
        original, rebuilt, coded = (Image.open(finished / row[k]) for k in ("original", "reconstruction", "file"))
        assert np.array_equal(np.asarray(rebuilt), np.asarray(coded.convert("RGB")))
        pair = (to_tensor(np.asarray(p)) for p in (original, rebuilt))
        assert float(row["psnr"]) == psnr(*pair)


def test_rates_are_matched_or_the_row_says_why(finished: Path) -> None:
    for row in table(finished):
        target = float(row["setting"].removesuffix(" bpp"))
        near = abs(float(row["bpp"]) / target - 1) <= 0.02
        assert row["reached"] == str(near)
        assert bool(row["note"]) != near


def test_means_are_arithmetic_and_decibels_come_after(finished: Path) -> None:
    rows, found = table(finished), results(finished)
    for line in found["summary"]:
        members = [r for r in rows if (r["codec"], r["setting"]) == (line["codec"], line["setting"])]
        assert line["images"] == len(members) == 3
        for name in ("bpp", "psnr", "ms_ssim", "texture_error"):
            assert line[name] == pytest.approx(np.mean([float(r[name]) for r in members]), rel=1e-12)
        assert line["ms_ssim_db"] == pytest.approx(-10 * np.log10(1 - line["ms_ssim"]), rel=1e-9)
        low, high = line["intervals"]["psnr"]
        assert low < line["psnr"] < high


def test_sets_and_deltas_stand_in_the_results(finished: Path) -> None:
    found = results(finished)
    assert len(found["sets"]) == 4
    assert all(line["swd"] > 0 for line in found["sets"])
    delta = next(d for d in found["bd"] if d["codec"] == "webp" and d["metric"] == "psnr")
    assert delta["anchor"] == "jpeg"
    low, high = delta["rate"]["interval"]
    assert low <= delta["rate"]["value"] <= high < 0  # WebP needs fewer bits than JPEG
    assert 0 < delta["rate"]["share"] <= 1


def test_missing_weights_are_named_and_nothing_is_guessed(photos: Path, tmp_path: Path) -> None:
    done = invoke(photos, "--out", tmp_path / "out", "--codec", "eval_adapters:plain", "--bpp", 1, "--limit", 1,
                  "--metric", "lpips_alex", "--metric", "fid", "--metric", "psnr")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = results(tmp_path / "out")
    assert found["not_measured"]["lpips_alex"] == "not measured: needs alexnet-owt-7be5be79.pth"
    assert "weights-inception" in found["not_measured"]["fid"]
    assert "lpips_alex" not in table(tmp_path / "out")[0]
    assert "needs alexnet-owt-7be5be79.pth" in done.output


def test_an_image_too_small_for_a_metric_keeps_the_others_mean(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(photos, folder)
    with Image.open(folder / "coffee.png") as coffee:
        coffee.crop((0, 0, 100, 40)).save(folder / "coffee.png")
    out = tmp_path / "out"
    done = invoke(folder, "--out", out, "--codec", "eval_adapters:plain", "--quality", 50, "--metric",
                  "ms_ssim", "--metric", "psnr", "--metric", "swd")  # fmt: skip
    assert done.exit_code == 0, done.output
    (line,) = results(out)["summary"]
    assert line["fewer"] == {"ms_ssim": 2, "swd": 2}
    assert line["swd"] > 0
    values = [float(row["ms_ssim"]) for row in table(out) if row["ms_ssim"]]
    assert line["ms_ssim"] == pytest.approx(np.mean(values))
    assert "161 pixels" in results(out)["not_measured"]["ms_ssim"]
    assert "†" in (out / "tables" / "means.md").read_text()


def test_one_setting_for_all_images(photos: Path, tmp_path: Path) -> None:
    done = invoke(photos, "--out", tmp_path / "out", "--codec", "eval_adapters:plain", "--codec",
                  "eval_adapters:fragile", "--quality", "plain:30", "--quality", 20, "--metric", "psnr",
                  "--limit", 1)  # fmt: skip
    assert done.exit_code == 0, done.output
    settings = {(row["codec"], row["setting"], float(row["rate_control"])) for row in table(tmp_path / "out")}
    assert settings == {("plain", "quality 30", 30), ("plain", "quality 20", 20), ("fragile", "quality 20", 20)}


def test_this_project_s_model_at_several_realisms(photos: Path, tmp_path: Path) -> None:
    done = invoke(photos, "--out", tmp_path / "out", "--codec", "gencomp", "--model", TINY, "--codec", "jpeg",
                  "--limit", 1, "--quality", 50, "--realism", 0, "--realism", 1, "--metric", "psnr",
                  "--device", "cpu")  # fmt: skip
    assert done.exit_code == 0, done.output
    codecs = results(tmp_path / "out")["codecs"]
    assert codecs["jpeg"]["peak_mb"] < codecs["gencomp"]["peak_mb"] / 2  # no model is loaded for JPEG
    facts = codecs["gencomp"]
    assert facts["parameters"] > 0
    assert facts["encoder_kmac"] > 0
    assert facts["decoder_kmac"] > 0
    assert facts["peak_mb"] > 50
    rows = [row for row in table(tmp_path / "out") if row["codec"] == "gencomp"]
    assert all(row["file"].endswith(".gnc") for row in rows)
    assert len({row["file"] for row in rows}) == 1


def test_what_goes_wrong_is_named_and_the_rest_unharmed(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with-bad"
    shutil.copytree(photos, folder)
    (folder / "broken.png").write_bytes(b"no image")
    done = invoke(folder, "--out", tmp_path / "out", "--codec", "eval_adapters:fragile", "--codec",
                  "eval_adapters:plain", "--codec", "eval_adapters:absent", "--bpp", 1, "--metric", "psnr")  # fmt: skip
    assert done.exit_code == 1
    problems = results(tmp_path / "out")["problems"]
    assert {(p["codec"], p["image"]) for p in problems} == {
        ("eval_adapters:absent", ""), ("fragile", "chelsea at 1 bpp"), ("", "broken")
    }  # fmt: skip
    assert any("no images of cats" in p["what"] for p in problems)
    assert "no images of cats" in (tmp_path / "out" / "index.html").read_text()
    good = [row for row in table(tmp_path / "out") if not row["error"]]
    assert {(row["codec"], row["image"]) for row in good} == {
        ("fragile", "astronaut"), ("fragile", "coffee"),
        ("plain", "astronaut"), ("plain", "chelsea"), ("plain", "coffee"),
    }  # fmt: skip


def test_a_wrong_folder_is_one_line(tmp_path: Path) -> None:
    from gencomp.cli.main import main

    done = CliRunner().invoke(main, ["eval", str(tmp_path / "nowhere" / "at" / "all"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("settings", [("plain:30",), ("other:30", "20")])
def test_settings_that_fit_no_codec_are_refused(settings: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    chosen = [part for setting in settings for part in ("--quality", setting)]
    done = invoke(photos, "--out", tmp_path / "out", "--codec", "eval_adapters:plain", "--codec",
                  "eval_adapters:fragile", *chosen)  # fmt: skip
    assert done.exit_code == 1
    assert "--quality" in str(done.exception)


def test_a_flat_image_breaks_no_metric_and_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    Image.new("RGB", (200, 180), (90, 120, 60)).save(folder / "flat.png")
    done = invoke(folder, "--out", tmp_path / "out", "--codec", "eval_adapters:plain", "--quality", 20)
    assert done.exit_code == 0, done.output

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=refuse)


def test_deltas_take_the_images_that_both_codecs_have(photos: Path, tmp_path: Path) -> None:
    """A codec that fails on one image is compared on the others, as if that one had not been there."""
    given = ("--codec", "eval_adapters:plain", "--codec", "eval_adapters:fragile", "--bpp", 0.5, "--bpp", 1, "--metric",
             "psnr", "--anchor", "plain")  # fmt: skip
    assert invoke(photos, "--out", tmp_path / "out", *given).exit_code == 1
    (delta,) = results(tmp_path / "out")["bd"]
    assert delta["images"] == 2
    assert delta["rate"]["value"] == pytest.approx(0, abs=1e-9)  # the same encoder under both names
    assert [row["images"] for row in results(tmp_path / "out")["summary"]] == [2, 2, 2, 2]
    summary = (tmp_path / "out" / "tables" / "means.md").read_text()
    assert "chelsea (fragile cannot at 0.5 bpp; fragile cannot at 1 bpp)" in summary


def test_without_any_codec_there_is_no_report(photos: Path, tmp_path: Path) -> None:
    done = invoke(photos, "--out", tmp_path / "out", "--codec", "eval_adapters:absent", "--bpp", 1)
    assert done.exit_code == 1
    assert "none of the codecs can be used: eval_adapters:absent" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_options_are_wrong_usage(wrong: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    assert invoke(photos, "--out", tmp_path / "out", *wrong).exit_code == 2


def test_an_interrupted_run_goes_on_where_it_was(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = (photos, "--out", out, "--codec", "eval_adapters:plain", "--bpp", 0.5, "--bpp", 1, "--metric", "psnr")
    assert invoke(*given).exit_code == 0
    whole = (out / "results.csv").read_text()
    times = {path: path.stat().st_mtime_ns for path in (out / "files").rglob("*.jpg")}
    (out / "results.csv").unlink()
    lost = next(iter(sorted((out / "records").rglob("chelsea.json"))))
    lost.unlink()
    cut = next(iter(sorted((out / "records").rglob("coffee.json"))))
    cut.write_text(cut.read_text()[:50])  # what a crash of the machine may leave
    assert invoke(*given).exit_code == 0
    again = {path: path.stat().st_mtime_ns for path in (out / "files").rglob("*.jpg")}
    assert sum(again[path] != times[path] for path in times) == 2
    assert without_seconds((out / "results.csv").read_text()) == without_seconds(whole)


def test_a_codec_that_crashed_the_program_is_not_called_again(photos: Path, tmp_path: Path) -> None:
    """Not before it, or the image, is another one."""
    out = tmp_path / "out"
    given = (photos, "--out", out, "--codec", "eval_adapters:plain", "--bpp", 1, "--metric", "psnr", "--limit", 2)
    assert invoke(*given).exit_code == 0
    path = next((out / "records").rglob("chelsea.json"))
    record = json.loads(path.read_text())
    record["row"]["error"] = f"{records.CRASHED} (SIGSEGV)"
    path.write_text(json.dumps(record))
    assert invoke(*given).exit_code == 1
    assert [p["what"] for p in results(out)["problems"]] == [f"{records.CRASHED} (SIGSEGV)"]
    record["fingerprint"]["codec"] = "plain 0"
    path.write_text(json.dumps(record))
    assert invoke(*given).exit_code == 0


def test_other_pixels_and_other_versions_are_coded_anew(photos: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "mine", tmp_path / "out"
    shutil.copytree(photos, folder)
    given = (folder, "--out", out, "--codec", "eval_adapters:plain", "--bpp", 1, "--metric", "psnr", "--metric", "swd")
    assert invoke(*given).exit_code == 0
    before = {row["image"]: row["bytes"] for row in table(out)}
    distance = results(out)["sets"][0]["swd"]
    with Image.open(folder / "coffee.png") as coffee:
        flipped = coffee.transpose(Image.Transpose.FLIP_LEFT_RIGHT).convert("L").convert("RGB")
    flipped.save(folder / "coffee.png")
    assert invoke(*given).exit_code == 0
    after = {row["image"]: row["bytes"] for row in table(out)}
    assert {name for name in before if before[name] != after[name]} == {"coffee"}
    assert np.array_equal(np.asarray(Image.open(out / "originals" / "coffee.webp")), np.asarray(flipped))
    assert results(out)["sets"][0]["swd"] != distance


def without_seconds(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(text.splitlines()))
    return [{k: v for k, v in row.items() if k not in ("encode_s", "decode_s")} for row in rows]


def test_two_processes_give_the_results_of_one(finished: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
               "-m", "gencomp.eval", photos, "--out", out, "--codec", "jpeg", "--codec", "webp", "--bpp", "0.5",
               "--bpp", "1", *QUICK, "--anchor", "jpeg"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert without_seconds((out / "results.csv").read_text()) == without_seconds((finished / "results.csv").read_text())
    one, two = results(finished), results(out)
    assert two["machine"]["processes"] == 2
    assert two["sets"] == one["sets"]
    assert two["bd"] == one["bd"]


def test_feature_distances_over_a_network_at_hand(photos: Path, tmp_path: Path) -> None:
    """FID and KID from files of weights to the results, against a computation from the features on disk."""
    import timm
    from safetensors.torch import save_file

    from gencomp.eval.metrics.distances import frechet

    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(timm.create_model("resnet10t").state_dict(), str(weights / "resnet10t.safetensors"))
    out = tmp_path / "out"
    done = invoke(photos, "--out", out, "--codec", "eval_adapters:plain", "--bpp", 1, "--metric", "fid",
                  "--metric", "kid", "--patch", 64, "--features", "timm:resnet10t", "--weights", weights)  # fmt: skip
    assert done.exit_code == 0, done.output
    (line,) = results(out)["sets"]
    folder = out / "features" / "timm-resnet10t-64"
    sides = [np.concatenate([np.load(p) for p in sorted((folder / s).rglob("*.npy"))]) for s in ("original", "plain")]
    assert len(sides[0]) == 3 * (6 + 4)  # 192x176 in patches of 64: the grid and the shifted one
    assert line["frechet_resnet10t"] == pytest.approx(frechet(*sides), rel=1e-9)
    assert {"kernel_resnet10t", "frechet_whole_resnet10t"} <= set(line)
    known = results(out)["metrics"]["frechet_whole_resnet10t"]
    assert known["label"] == "Fréchet distance, whole images (resnet10t)"
    assert "resnet10t" in known["definition"]


def test_a_figure_for_a_readme(finished: Path, photos: Path, tmp_path: Path) -> None:
    done = invoke(photos, "--out", finished, "--codec", "jpeg", "--codec", "webp", "--bpp", 0.5, "--bpp", 1, *QUICK,
                  "--anchor", "jpeg", "--figure", tmp_path / "assets" / "small")  # fmt: skip
    assert done.exit_code == 0, done.output
    made = sorted(p.name for p in (tmp_path / "assets").iterdir())
    images = [f"small{look}.{kind}" for look in ("-dark", "") for kind in ("pdf", "png", "svg")]
    assert made == sorted(["small.csv", "small.md", *images])
    corners = [
        np.asarray(Image.open(tmp_path / "assets" / f"small{look}.png").convert("L"))[0, 0] for look in ("", "-dark")
    ]
    assert corners[0] > 200 > 60 > corners[1]
    text = (tmp_path / "assets" / "small.md").read_text()
    assert "| jpeg | 0.5 bpp |" in text
    assert str(tmp_path) not in text


@pytest.mark.slow
def test_a_codec_that_takes_the_program_down_is_outlived(photos: Path, tmp_path: Path) -> None:
    """With workers: its image is named, all else is done, and the same command does not call it there again."""
    given = (photos, "--out", tmp_path / "out", "--codec", "eval_adapters:deadly", "--codec", "eval_adapters:plain",
             "--quality", 30, "--metric", "psnr", "--jobs", 1)  # fmt: skip
    done = invoke(*given)
    assert done.exit_code == 1
    assert "deadly, chelsea at quality 30: crashed the program (SIGABRT); going on without it" in done.stderr
    errors = {(row["codec"], row["image"]): row["error"] for row in table(tmp_path / "out") if row["error"]}
    assert errors == {("deadly", "chelsea"): "crashed the program (SIGABRT)"}
    assert len(table(tmp_path / "out")) == 6
    assert "going on without it" not in invoke(*given).stderr


def test_a_removed_photograph_leaves_the_results(photos: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "mine", tmp_path / "out"
    shutil.copytree(photos, folder)
    given = (folder, "--out", out, "--codec", "eval_adapters:plain", "--quality", 30, "--metric", "psnr", "--metric",
             "swd")  # fmt: skip
    assert invoke(*given).exit_code == 0
    three = results(out)
    (folder / "coffee.png").unlink()
    assert invoke(*given).exit_code == 0
    two = results(out)
    assert [i["image"] for i in two["photos"]["images"]] == ["astronaut", "chelsea"]
    assert {row["image"] for row in two["rows"]} == {"astronaut", "chelsea"}
    assert two["summary"][0]["images"] == 2
    assert two["summary"][0]["psnr"] != three["summary"][0]["psnr"]
    assert two["sets"][0]["swd"] != three["sets"][0]["swd"]
    assert "coffee" not in (out / "index.html").read_text()


def test_an_image_out_of_reach_leaves_means_and_sets_alike(photos: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "mixed", tmp_path / "out"
    shutil.copytree(photos, folder)
    Image.new("RGB", (192, 176), (90, 120, 60)).save(folder / "flat.png")  # no codec spends 1 bpp on it
    done = invoke(folder, "--out", out, "--codec", "eval_adapters:plain", "--codec", "webp", "--bpp", 1, "--metric",
                  "psnr", "--metric", "swd", "--anchor", "plain")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = results(out)
    assert [(one["setting"], one["image"]) for one in found["left_out"]] == [("1 bpp", "flat")]
    assert [row["codec"] for row in found["summary"]] == ["plain", "webp"]
    assert all((row["images"], row["left_out"]) == (3, 1) and row["swd"] > 0 for row in found["summary"])
    assert "1 image left out for all codecs at all rates: flat (plain, webp cannot at 1 bpp)." in done.output
    assert len(found["rows"]) == 8


def test_a_model_file_is_a_codec_by_its_name(photos: Path, tmp_path: Path) -> None:
    done = invoke(photos, "--out", tmp_path / "out", "--codec", TINY, "--codec", "gencomp", "--limit", 1, "--quality",
                  50, "--metric", "psnr", "--device", "cpu")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {row["codec"] for row in table(tmp_path / "out")} == {"gencomp-tiny", "gencomp"}
    assert results(tmp_path / "out")["codecs"]["gencomp-tiny"]["decoder_kmac"] > 0
    assert invoke(photos, "--out", tmp_path / "out", "--codec", "absent.safetensors").exit_code == 2


@pytest.mark.slow
def test_reconstructions_beyond_those_kept_are_measured_and_dropped(photos: Path, tmp_path: Path) -> None:
    given = (photos, "--codec", "eval_adapters:plain", "--quality", 30, "--metric", "psnr")
    for name, keep in (("all", 3), ("one", 1)):
        assert invoke(*given, "--out", tmp_path / name, "--keep", keep).exit_code == 0
    assert len(list((tmp_path / "one" / "reconstructions").rglob("*.webp"))) == 1
    everything, one = (results(tmp_path / name) for name in ("all", "one"))
    assert [row["psnr"] for row in everything["rows"]] == [row["psnr"] for row in one["rows"]]
    assert [bool(row["reconstruction"]) for row in one["rows"]] == [True, False, False]
    assert (
        invoke(*given, "--out", tmp_path / "one", "--keep", 1, "--metric", "ms_ssim", "--metric", "swd").exit_code == 0
    )
    assert (
        invoke(*given, "--out", tmp_path / "all", "--keep", 3, "--metric", "ms_ssim", "--metric", "swd").exit_code == 0
    )
    for key in ("ms_ssim", "swd"):  # measured later, from the files
        assert results(tmp_path / "one")["summary"][0][key] == results(tmp_path / "all")["summary"][0][key]
    for keep in (2, 0):  # more of them decoded again, or none left
        assert invoke(*given, "--out", tmp_path / "one", "--keep", keep).exit_code == 0
        assert [bool(row["reconstruction"]) for row in table(tmp_path / "one")].count(True) == keep
        assert len(list((tmp_path / "one" / "reconstructions").rglob("*.webp"))) == keep


def test_without_a_terminal_progress_is_said_line_by_line_and_not_at_all_when_quiet(
    photos: Path, tmp_path: Path
) -> None:
    given = (photos, "--out", tmp_path / "out", "--codec", "eval_adapters:plain", "--quality", 30, "--metric", "psnr")
    loud, quiet = invoke(*given), invoke(*given, "--quiet")
    assert "images: 3 of 3, coffee plain" in loud.stderr
    assert (quiet.exit_code, quiet.output) == (0, "")
