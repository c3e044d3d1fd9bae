"""Bjontegaard deltas and intervals against other computations and closed forms."""

import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from scipy.interpolate import PchipInterpolator

from gencomp.eval.metrics.table import decibels
from gencomp.eval.report import curves, plots, published
from gencomp.eval.report.__main__ import main
from gencomp.eval.report.curves import Curve, CurveError, at_rate, mean_interval, resample
from gencomp.eval.report.summary import series

# The worked example that has gone with Bjontegaard's measure since its first scripts: kbit/s and dB of two coders.
ANCHOR = curves.curve(np.array([85.95, 157.11, 309.58, 686.76]), np.array([31.42, 34.24, 37.18, 40.28]))
TEST = curves.curve(np.array([112.75, 204.93, 407.8, 893.34]), np.array([31.24, 34.17, 37.21, 40.39]))


def test_the_worked_example_and_sums_over_a_fine_grid() -> None:
    """The piecewise cubic values of the `bjontegaard` package 1.3.0 for it: 31.379878 % and -1.183472 dB."""
    delta = curves.bd_rate(ANCHOR, TEST)
    assert delta.value == pytest.approx(31.379878, abs=1e-6)
    assert curves.bd_quality(ANCHOR, TEST).value == pytest.approx(-1.183472, abs=1e-6)
    grid = np.linspace(31.42, 40.28, 20001)
    means = [PchipInterpolator(c.quality, np.log(c.rates))(grid).mean() for c in (ANCHOR, TEST)]
    assert delta.value == pytest.approx(100 * np.expm1(means[1] - means[0]), abs=1e-2)
    assert (delta.low, delta.high) == (31.42, 40.28)


@settings(deadline=None)
@given(st.floats(0.3, 3), st.floats(-5, 5))
def test_a_constant_factor_in_rate_and_a_constant_gain_are_found(factor: float, gain: float) -> None:
    cheaper, better = Curve(ANCHOR.rates * factor, ANCHOR.quality), Curve(ANCHOR.rates, ANCHOR.quality + gain)
    assert curves.bd_rate(ANCHOR, cheaper).value == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert curves.bd_quality(ANCHOR, better).value == pytest.approx(gain, abs=1e-9)


def test_curves_that_do_not_overlap_or_that_turn_are_refused() -> None:
    with pytest.raises(CurveError, match="overlap"):
        curves.bd_rate(ANCHOR, Curve(ANCHOR.rates, ANCHOR.quality + 20))
    with pytest.raises(CurveError, match="overlap"):
        curves.bd_quality(ANCHOR, Curve(ANCHOR.rates * 100, ANCHOR.quality))
    with pytest.raises(CurveError, match="steadily"):
        curves.bd_rate(ANCHOR, Curve(ANCHOR.rates, np.array([31.0, 35.0, 34.0, 40.0])))


def test_the_share_of_the_overlap_is_stated() -> None:
    rates = np.array([1.0, 2.0, 3.0])
    a, b = Curve(rates, np.array([0.0, 1.0, 2.0])), Curve(rates, np.array([1.0, 2.0, 3.0]))
    delta = curves.bd_rate(a, b)
    assert (delta.low, delta.high, delta.share) == (1.0, 2.0, pytest.approx(1 / 3))


def test_a_window_cuts_with_interpolated_ends() -> None:
    cut = curves.curve(*ANCHOR, window=(100, 400))
    assert list(cut.rates) == [100, 157.11, 309.58, 400]
    whole = PchipInterpolator(np.log(ANCHOR.rates), ANCHOR.quality)
    assert cut.quality[0] == pytest.approx(float(whole(np.log(100))))
    assert np.array_equal(curves.curve(*ANCHOR, window=(1, 1000)).rates, ANCHOR.rates)


def test_points_of_equal_rate_count_once_and_one_point_is_no_curve() -> None:
    doubled = curves.curve(np.array([2.0, 1.0, 1.0]), np.array([5.0, 4.0, 4.0]))
    assert np.array_equal(doubled.rates, [1.0, 2.0])
    with pytest.raises(CurveError, match="two points"):
        curves.curve(np.array([1.0, 1.0]), np.array([4.0, 4.0]))


def test_values_are_linear_in_the_logarithm_of_the_rate_and_end_with_the_curve() -> None:
    points = [(0.05, 3.0), (0.1, 2.0), (0.4, 0.0)]
    assert (at_rate(points, 0.1), at_rate(points, 0.2)) == (2, pytest.approx(1))
    assert at_rate([(b, math.log(b)) for b, _ in points], 0.07) == pytest.approx(math.log(0.07))
    assert at_rate(points, 0.0499) is at_rate(points, 0.401) is at_rate([], 0.1) is None


def test_decibels_of_a_similarity() -> None:
    assert (decibels(0.9), decibels(1.0)) == (pytest.approx(10), 90)


def test_published_figures_are_the_ones_in_the_papers() -> None:
    found = {(one.label, one.dataset): one for one in published.curves()}
    assert (0.1532, 0.07318) in found["MS-ILLM", "kodak"].points["lpips_alex"]
    assert found["HiFiC", "clic2020"].points["psnr"] == sorted(found["HiFiC", "clic2020"].points["psnr"])
    assert len(found["HiFiC", "kodak"].points["psnr"]) == 3
    assert all(one.source for one in found.values())
    assert {"CRDR beta=3.84", "CRDR beta=0.0", *published.PROMINENT} <= {label for label, _ in found}


def test_kodak_is_known_by_its_names() -> None:
    assert published.dataset_of(["kodim01", "kodim24"]) == "kodak"
    assert published.dataset_of(["kodim01", "holiday"]) is published.dataset_of([]) is None


def test_intervals_of_a_mean_cover_it_and_p_holds_its_level() -> None:
    covered = significant = 0
    for trial in range(60):
        sample = np.random.default_rng(trial).normal(size=40)
        found = resample(lambda index, s=sample: float(s[index].mean()), 40, resamples=300, seed=trial)  # type: ignore[misc]
        assert found is not None
        covered += found.interval.low <= 0 <= found.interval.high
        significant += found.p < 0.05
    assert 50 <= covered <= 60  # 95 % of 60 is 57
    assert significant <= 10


def test_a_clear_difference_is_significant() -> None:
    sample = np.random.default_rng(0).normal(-3, 1, 24)
    found = resample(lambda index: float(sample[index].mean()), 24, resamples=400)
    assert found is not None
    assert found.p == pytest.approx(1 / 400)
    assert found.interval.high < 0


def test_what_cannot_be_resampled_is_refused() -> None:
    undefined = Mock(side_effect=CurveError("never"))
    assert resample(lambda index: 0.0, 1) is mean_interval(np.ones(1)) is resample(undefined, 10, resamples=20) is None


def row(codec: str, setting: str, bpp: float, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"realism": None, "images": 24, "unable": False, "minimised": []}
    return plain | {"codec": codec, "setting": setting, "bpp": bpp} | more


def evaluation(folder: Path, dataset: str | None, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"photos": {"dataset": dataset}, "summary": rows}))
    return folder


def test_the_table_has_every_codec_and_the_published_and_marks_what_was_minimised(tmp_path: Path) -> None:
    ours = [row("ours", f"quality {q}", bpp, lpips_alex=v, dists=v, psnr=30.0, minimised=["lpips_alex"])
            for q, bpp, v in ((20, 0.1, 0.2), (40, 0.4, 0.1))]  # fmt: skip
    ours.append(row("ours", "0.2 bpp", 0.2, lpips_alex=9.0))  # image by image: one setting for all goes before it
    first = evaluation(tmp_path / "one", "kodak", ours)
    slow = [row("slow", f"{b} bpp", b, dists=0.05, images=8) for b in (0.1, 0.3)]
    second = evaluation(tmp_path / "two", "kodak", slow)
    given = [str(first), str(second), "--at", "0.2", "--at", "9", "--metric", "lpips_alex", "--metric", "dists"]
    done = CliRunner().invoke(main, [*given, "--figure", str(tmp_path / "drawn" / "f")])
    assert done.exit_code == 0, done.output
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.output.splitlines()[2:] if "|" in line]
    assert lines[:2] == [["ours", "0.2", "24", "0.1500¶", "0.1500"], ["slow", "0.2", "8", "", "0.0500"]]
    assert {"MS-ILLM (published)", "HiFiC (published)", "CRDR beta=3.84 (published)"} <= {line[0] for line in lines}
    assert all(line[1] == "0.2" for line in lines)
    assert "¶ what the codec" in done.output
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == sorted(
        ["f.md", *(f"f{look}.{kind}" for look in ("", "-dark") for kind in ("png", "svg", "pdf"))]
    )
    assert "ours" not in CliRunner().invoke(main, [*given, "--codec", "slow"]).output
    other = evaluation(tmp_path / "three", None, ours)
    assert CliRunner().invoke(main, [str(first), str(other)]).exit_code == 2


ROWS = [
    {"codec": codec, "setting": f"{rate:g} bpp" if codec != "avif" else f"quality {100 * rate:g}", "realism": None,
     "unable": False, "minimised": ["psnr"] if codec == "hevc" else [], "bpp": rate, "psnr": 30 + 5 * np.log2(rate) + k}
    for k, codec in enumerate(("gencomp", "avif", "hevc", "somebody's codec of a long name", "another"))
    for rate in (0.1, 0.2, 0.4)
]  # fmt: skip


def test_the_legend_names_every_curve_and_lies_outside_the_axes(tmp_path: Path) -> None:
    figure = Figure((7, 5), layout="constrained")
    axes = figure.add_subplot()
    plots.draw(axes, "psnr", series(ROWS), [], plots.LOOKS["light"])
    plots.save(figure, tmp_path / "one", plots.LOOKS["light"])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["gencomp", "avif, one setting", "hevc", "somebody's codec of a long name", "another"]
    assert not legend.get_window_extent().overlaps(axes.get_window_extent())
    assert legend.get_window_extent().width <= figure.bbox.width


def test_marks_tell_matched_files_from_one_setting_for_all() -> None:
    axes = Figure().add_subplot()
    plots.draw(axes, "psnr", series(ROWS), [], plots.LOOKS["light"])
    filled = {line.get_label(): to_hex(line.get_markerfacecolor()) for line in axes.get_lines()}
    assert filled["avif, one setting"] == plots.LOOKS["light"].paper
    assert filled["hevc"] == plots.COLOURS["hevc"]


@pytest.mark.parametrize("look", plots.LOOKS)
def test_each_look_has_its_paper_and_equal_figures_give_equal_files(look: plots.LookName, tmp_path: Path) -> None:
    collected = {"summary": ROWS, "metrics": {"psnr": {}}, "photos": {"dataset": None}}
    for name in ("one", "two"):
        plots.overview(collected, tmp_path / name, plots.LOOKS[look])
    with Image.open(tmp_path / "one.png") as image:
        assert f"#{image.convert('RGB').crop((2, 2, 3, 3)).tobytes().hex()}" == plots.LOOKS[look].paper
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
