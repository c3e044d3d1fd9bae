"""Which images count at a rate, and that one which does not moves no codec's delta."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gencomp.eval.report import deltas, summary
from gencomp.eval.report.bootstrap import mean_interval
from gencomp.eval.report.tables import deltas_table
from gencomp.eval.run.comparable import comparable
from gencomp.eval.run.records import Record
from gencomp.eval.run.sets import Key, groups

RATES = (0.1, 0.2, 0.4)
EFFICIENCY = {"anchor": 1.0, "frugal": 0.8, "weak": 1.3}  # bits that a made-up codec needs for the same quality


def record(image: int, codec: str, rate: float, highest: float = 9.0, lowest: float = 0.0) -> Record:
    """A made-up file: dB grow with the logarithm of the bits; rates beyond a limit give the limit's file."""
    bpp = min(max(rate, lowest), highest)
    near = "reached" if bpp == rate else "limit"
    psnr = 30 + image % 7 + 6 * np.log2(bpp / EFFICIENCY[codec] / 0.1) / 2
    row = {"image": f"image{image:02d}", "codec": codec, "setting": f"{rate:g} bpp", "realism": None, "error": "",
           "rate": near, "bpp": bpp, "bytes": 1000 * bpp, "encode_s": 0.1, "decode_s": 0.1, "sample_format": "",
           "width": 100, "height": 80, "rate_control": 1.0}  # fmt: skip
    return Record(row, {"psnr": float(psnr)}, {}, {"codec": "note"})


def coded(images: int, smooth: float | None = None) -> list[Record]:
    """Every codec at every rate; `frugal` cannot spend more than `smooth` bpp on the first image."""
    return [
        record(image, codec, rate, smooth if smooth and codec == "frugal" and image == 0 else 9.0)
        for image in range(images) for codec in EFFICIENCY for rate in RATES
    ]  # fmt: skip


def rates_of(found: list[Record]) -> dict[str, float]:
    """BD-rate by codec."""
    comparison = comparable(groups(found))
    rows: list[dict[str, Any]] = [
        {"codec": k[0], "setting": k[1], "realism": None, "unable": k in comparison.unable, "minimised": [],
         "psnr": 0.0, "bpp": float(np.mean([r.row["bpp"] for r in members]))}
        for k, members in comparison.used.items()
    ]  # fmt: skip
    return {one["codec"]: one["rate"]["value"] for one in deltas.deltas(rows, comparison.used, "anchor")}


def test_an_image_that_cannot_reach_a_rate_leaves_it_for_all_codecs_by_name() -> None:
    comparison = comparable(groups(coded(6, smooth=0.15)))
    assert comparison.left_out == [("0.2 bpp", "image00", ["frugal"]), ("0.4 bpp", "image00", ["frugal"])]
    for (_, setting, _), members in comparison.used.items():
        assert len(members) == (6 if setting == "0.1 bpp" else 5)
    assert comparison.unable == set()


def test_a_smooth_photograph_does_not_move_a_delta() -> None:
    """Without it, with it reached, and with it unreached: the same deltas, to half a point; they are the true ones."""
    without, whole = rates_of([r for r in coded(6) if r.place.image != "image00"]), rates_of(coded(6))
    unreached = rates_of(coded(6, smooth=0.15))
    for codec, true in (("frugal", -20), ("weak", 30)):
        assert unreached[codec] == pytest.approx(without[codec], abs=1e-9)
        assert abs(unreached[codec] - whole[codec]) < 0.5
        assert whole[codec] == pytest.approx(true, abs=0.5)


def test_counting_the_unreached_file_would_have_moved_it() -> None:
    """The defect that the rule is there for."""
    naive = [r._replace(row=r.row | {"rate": "nearest"}) for r in coded(6, smooth=0.15)]
    assert abs(rates_of(naive)["frugal"] - rates_of(coded(6))["frugal"]) > 0.5


def test_a_codec_that_cannot_do_a_rate_takes_no_image_from_the_others() -> None:
    found = [r if r.place.codec != "weak" else record(k // 9, "weak", 0.1, lowest=0.3)
             if r.place.setting == "0.1 bpp" else r for k, r in enumerate(coded(6))]  # fmt: skip
    comparison = comparable(groups(found))
    assert comparison.unable == {("weak", "0.1 bpp", None)}
    assert comparison.left_out == []
    assert all(len(members) == 6 for members in comparison.used.values())
    rows = [{"codec": k[0], "setting": k[1], "realism": None, "bpp": 1.0, "unable": k in comparison.unable}
            for k in comparison.used]  # fmt: skip
    keys: list[Key] = next(s.keys for s in summary.series(rows) if s.codec == "weak")
    assert {setting for _, setting, _ in keys} == {"0.2 bpp", "0.4 bpp"}


def test_deltas_stand_per_image_with_interval_significance_and_overlap() -> None:
    comparison = comparable(groups(coded(6)))
    rows: list[dict[str, Any]] = [
        {
            "codec": codec,
            "setting": setting,
            "realism": None,
            "unable": False,
            "minimised": [],
            "psnr": 0.0,
            "bpp": float(setting[:3]),
        }
        for codec, setting, _ in comparison.used
    ]
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


def test_metrics_that_the_table_no_longer_has_are_passed_over_and_minimised_ones_named(tmp_path: Path) -> None:
    """A folder of an earlier version stays of use."""
    earlier = [r._replace(metrics={"regular_grain": 1.0, **r.metrics}) for r in coded(2)]
    codecs = {"weak": {"minimised": ["psnr", "dists"]}}
    rows = summary.summarise(tmp_path, comparable(groups(earlier)), 256, codecs)
    assert all("psnr" in row and "regular_grain" not in row for row in rows)
    assert {row["codec"]: row["minimised"] for row in rows} == {"anchor": [], "frugal": [], "weak": ["psnr"]}
