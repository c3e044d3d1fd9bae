"""Which images count, that one which does not moves no codec's delta, and that all that is said is of the same ones."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gencomp.eval.report import deltas, results, summary
from gencomp.eval.report.curves import bd_rate, curve, mean_interval, resample
from gencomp.eval.report.tables import deltas_table
from gencomp.eval.run.records import EvaluationOptions, Record
from gencomp.eval.run.sets import SetMetrics, comparable, groups

RATES = (0.1, 0.2, 0.4)
EFFICIENCY = {"anchor": 1.0, "frugal": 0.8, "weak": 1.3}  # bits that a made-up codec needs for the same quality


def record(image: int, codec: str, rate: float, highest: float = 9.0, lowest: float = 0.0) -> Record:
    """A made-up file: dB grow with the logarithm of the bits; rates beyond a limit give the limit's file."""
    bpp = min(max(rate, lowest), highest)
    near = "reached" if bpp == rate else "limit"
    psnr = 30 + image % 7 + 6 * np.log2(bpp / EFFICIENCY[codec] / 0.1) / 2
    row = {"image": f"image{image:02d}", "codec": codec, "setting": f"{rate:g} bpp", "realism": None, "error": "",
           "rate": near, "bpp": bpp, "bytes": 1000 * bpp, "encode_s": 0.1, "decode_s": 0.1, "sample_format": "",
           "width": 100, "height": 80, "rate_control": 1.0, "original": "", "source": ""}  # fmt: skip
    return Record(row, {"psnr": float(psnr)}, {}, {"codec": "note"})


def coded(images: int, smooth: float | None = None) -> list[Record]:
    """Every codec at every rate; `frugal` cannot spend more than `smooth` bpp on the first image."""
    return [
        record(image, codec, rate, smooth if smooth and codec == "frugal" and image == 0 else 9.0)
        for image in range(images) for codec in EFFICIENCY for rate in RATES
    ]  # fmt: skip


def rates_of(found: list[Record]) -> dict[str, float]:
    comparison = comparable(groups(found))
    rows: list[dict[str, Any]] = [
        {"codec": k[0], "setting": k[1], "realism": None, "unable": k in comparison.unable, "minimised": [],
         "psnr": 0.0, "bpp": float(np.mean([r.row["bpp"] for r in members]))}
        for k, members in comparison.used.items()
    ]  # fmt: skip
    return {one["codec"]: one["rate"]["value"] for one in deltas.deltas(rows, comparison.used, "anchor")}


def lacking(images: int, *gaps: tuple[str, float, int], failed: bool = False) -> list[Record]:
    """Every codec at every rate, but for gaps (codec, rate, image): at its limit there, or with an error."""
    found = []
    for one in coded(images):
        image, codec, setting, _ = one.place
        if (codec, float(setting[:-4]), int(image[5:])) in gaps:
            near = record(int(image[5:]), codec, 0.3)  # its only file is off every rate
            off = near._replace(row=near.row | {"setting": setting, "rate": "limit"})
            one = one._replace(row=one.row | {"error": "broken", "bpp": None}, metrics={}) if failed else off
        found.append(one)
    return found


GAPS = {
    "an image that two points of nine miss leaves": (lacking(7, ("frugal", 0.2, 0), ("frugal", 0.4, 0)), {0}, set()),
    "points that miss one of three images leave": (
        lacking(3, ("weak", 0.1, 0), ("weak", 0.4, 2)), set(), {("weak", "0.1 bpp", None), ("weak", "0.4 bpp", None)}),
    "a codec fails on an image": (lacking(8, *[("weak", r, 5) for r in RATES], failed=True), {5}, set()),
    "a point misses most images, another image many points": (
        lacking(12, *[("frugal", 0.1, k) for k in range(9)], ("weak", 0.2, 11), ("anchor", 0.4, 11)), {11},
        {("frugal", "0.1 bpp", None)}),
}  # fmt: skip


@pytest.mark.parametrize("name", GAPS)
def test_all_numbers_are_of_one_set_of_images_and_follow_from_the_table(name: str, tmp_path: Path) -> None:
    """Means, deltas, their intervals and the sentences, recomputed from results.csv."""
    found, gone, outside = GAPS[name]
    images = {one.place.image for one in found}
    options = EvaluationOptions((), tmp_path, (), (), anchor="anchor")
    results.write(tmp_path, results.collect(options, found, {}, {}))
    said = json.loads((tmp_path / "results.json").read_text())
    assert {one["image"] for one in said["left_out"]} == {f"image{k:02d}" for k in gone}
    assert {(r["codec"], r["setting"], r["realism"]) for r in said["summary"] if r["unable"]} == outside
    with (tmp_path / "results.csv").open(newline="") as lines:
        rows = [r for r in csv.DictReader(lines) if int(r["image"][5:]) not in gone]
    values = {}  # by codec: (2, points, images), bits and dB
    for codec in EFFICIENCY:
        points = [r for r in said["summary"] if r["codec"] == codec and not r["unable"]]
        of = [[r for r in rows if (r["codec"], r["setting"]) == (codec, p["setting"])] for p in points]
        assert all(not r["error"] and r["rate"] != "limit" for point in of for r in point)
        values[codec] = np.array([[[float(r[key]) for r in p] for p in of] for key in ("bpp", "psnr")])
        for point, table in zip(points, values[codec].transpose(1, 0, 2)):
            means = map(pytest.approx, table.mean(1))
            assert (point["images"], point["bpp"], point["psnr"]) == (len(images) - len(gone), *means)
    deltas_of = {one["codec"]: one for one in said["bd"]}
    for one in said["answers"]:  # the anchor against its rivals, where the deltas are the rivals' against the anchor
        rival = one["anchor"]
        if values[rival].shape[1] < 2:
            assert "too few to say" in one["text"]
            assert "refused" in deltas_of[rival]["rate"]
            continue

        def of_images(index: np.ndarray, test: str = "anchor", anchor: str = rival) -> float:
            return bd_rate(*(curve(*values[c][:, :, index].mean(2)) for c in (anchor, test))).value

        everyone = np.arange(values[rival].shape[2])
        value, again = of_images(everyone), resample(of_images, len(everyone), deltas.RESAMPLES)
        assert deltas_of[rival]["rate"]["value"] == pytest.approx(of_images(everyone, rival, "anchor"))
        assert again is not None
        assert one["rate"]["value"] == pytest.approx(value)
        assert one["rate"]["interval"] == pytest.approx(list(again.interval))
        if len(everyone) < deltas.FEWEST:
            assert f"too few to say ({len(everyone)} images, 3 rates)" in one["text"]
            continue
        kind = "fewer" if value < 0 else "more"
        assert f"anchor needs {abs(value):.1f} % {kind} bits than {rival} at equal PSNR" in one["text"]
        assert f"{again.interval.low:+.1f} to {again.interval.high:+.1f} %; {len(everyone)} images, " in one["text"]


@pytest.mark.parametrize(
    ("images", "delta", "words"),
    [
        (1, {"value": -30.0, "interval": None}, "too few to say (1 image, 4 and 3 rates)"),
        (5, {"value": -30.0, "interval": (-40.0, -20.0)}, "too few to say (5 images, 4 and 3 rates)"),
        (24, {"refused": "the curves do not overlap"}, "too few to say (the curves do not overlap; 24 images"),
        (24, {"value": -3.0, "interval": (-8.0, 2.0)}, "a and b cannot be told apart at equal PSNR: -3.0 % bits (95 %"),
        (24, {"value": -30.0, "interval": (-40.0, -20.0)}, "a needs 30.0 % fewer bits than b at equal PSNR (95 %"),
        (24, {"value": 30.0, "interval": (20.0, 40.0)}, "a needs 30.0 % more bits than b at equal PSNR (95 %"),
    ],
)
def test_a_sentence_says_no_more_than_its_interval(images: int, delta: dict[str, object], words: str) -> None:
    one = {"codec": "a", "anchor": "b", "metric": "psnr", "minimised": False, "points": [4, 3]}
    assert words in deltas.sentence(one | {"images": images, "rate": delta})


def test_a_smooth_photograph_does_not_move_a_delta() -> None:
    """Without it, with it reached, and with it unreached: the same deltas, to half a point; they are the true ones."""
    without, whole = rates_of([r for r in coded(6) if r.place.image != "image00"]), rates_of(coded(6))
    unreached = rates_of(coded(6, smooth=0.15))
    for codec, true in (("frugal", -20), ("weak", 30)):
        assert unreached[codec] == pytest.approx(without[codec], abs=1e-9)
        assert abs(unreached[codec] - whole[codec]) < 0.5
        assert whole[codec] == pytest.approx(true, abs=0.5)


def test_a_codec_that_cannot_do_a_rate_takes_no_image_from_the_others() -> None:
    found = [r if r.place.codec != "weak" else record(k // 9, "weak", 0.1, lowest=0.3)
             if r.place.setting == "0.1 bpp" else r for k, r in enumerate(coded(6))]  # fmt: skip
    comparison = comparable(groups(found))
    assert (comparison.unable, comparison.left_out) == ({("weak", "0.1 bpp", None)}, [])
    assert all(len(members) == 6 for members in comparison.used.values())
    rows = [{"codec": k[0], "setting": k[1], "realism": None, "bpp": 1.0, "unable": k in comparison.unable}
            for k in comparison.used]  # fmt: skip
    weak = next(s.rows for s in summary.series(rows) if s.codec == "weak")
    assert {row["setting"] for row in weak} == {"0.2 bpp", "0.4 bpp"}


def test_deltas_stand_per_image_with_interval_significance_and_overlap() -> None:
    comparison = comparable(groups(coded(6)))
    rows: list[dict[str, Any]] = [
        {"codec": codec, "setting": setting, "realism": None, "unable": False, "minimised": [], "psnr": 0.0,
         "bpp": float(setting[:3])} for codec, setting, _ in comparison.used
    ]  # fmt: skip
    found = deltas.deltas(rows, comparison.used, "anchor", (0.1, 0.4))
    frugal = next(one for one in found if one["codec"] == "frugal")
    single = frugal["per_image"]
    assert (single["images"], single["refused"], single["fewer_bits"]) == (6, 0, 6)
    assert single["mean"] == pytest.approx(-20, abs=0.5)
    assert single["interval"] == mean_interval(np.array(list(single["values"].values())))
    assert set(single["values"]) == {f"image{k:02d}" for k in range(6)}
    assert frugal["rate"]["p"] == pytest.approx(1 / deltas.RESAMPLES)
    assert 0 < frugal["rate"]["share"] <= 1
    table = deltas_table({"bd": found, "metrics": {"psnr": {"label": "PSNR", "direction": "higher"}}})
    text = "\n".join(" ".join(row) for row in table.rows)
    assert "p < 0.01" in text
    assert "fewer bits on 6 of 6" in text
    assert any("0.1 to 0.4 bpp" in note for note in table.notes)


def test_metrics_that_the_table_no_longer_has_are_passed_over_and_minimised_ones_named() -> None:
    """A folder of an earlier version stays of use."""
    earlier = [r._replace(metrics={"regular_grain": 1.0, **r.metrics}) for r in coded(2)]
    codecs = {"weak": {"minimised": ["psnr", "dists"]}}
    comparison = comparable(groups(earlier))
    rows = summary.summarise(comparison, dict.fromkeys(comparison.used, SetMetrics({}, {})), codecs)
    assert all("psnr" in row and "regular_grain" not in row for row in rows)
    assert {row["codec"]: row["minimised"] for row in rows} == {"anchor": [], "frugal": [], "weak": ["psnr"]}
