"""Bjontegaard deltas and intervals against other computations and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from gencomp.eval.metrics.table import decibels
from gencomp.eval.report import curves, published
from gencomp.eval.report.curves import Curve, CurveError

# The worked example that has gone with Bjontegaard's measure since its first scripts: kbit/s and dB of two coders.
ANCHOR = np.array([85.95, 157.11, 309.58, 686.76]), np.array([31.42, 34.24, 37.18, 40.28])
TEST = np.array([112.75, 204.93, 407.8, 893.34]), np.array([31.24, 34.17, 37.21, 40.39])


def test_the_worked_example() -> None:
    """The piecewise cubic values of the `bjontegaard` package 1.3.0 for it: 31.379878 % and -1.183472 dB."""
    anchor, test = curves.curve(*ANCHOR), curves.curve(*TEST)
    assert curves.bd_rate(anchor, test).value == pytest.approx(31.379878, abs=1e-6)
    assert curves.bd_quality(anchor, test).value == pytest.approx(-1.183472, abs=1e-6)


def test_agrees_with_sums_over_a_fine_grid() -> None:
    anchor, test = curves.curve(*ANCHOR), curves.curve(*TEST)
    low, high = 31.42, 40.28
    grid = np.linspace(low, high, 20001)
    means = [PchipInterpolator(c.quality, np.log(c.rates))(grid).mean() for c in (anchor, test)]
    delta = curves.bd_rate(anchor, test)
    assert delta.value == pytest.approx(100 * np.expm1(means[1] - means[0]), abs=1e-2)
    assert (delta.low, delta.high) == (low, high)


@given(st.floats(0.3, 3), st.floats(-5, 5))
def test_a_constant_factor_in_rate_and_a_constant_gain_are_found(factor: float, gain: float) -> None:
    anchor = curves.curve(*ANCHOR)
    cheaper = Curve(anchor.rates * factor, anchor.quality)
    assert curves.bd_rate(anchor, cheaper).value == pytest.approx(100 * (factor - 1), abs=1e-6)
    better = Curve(anchor.rates, anchor.quality + gain)
    assert curves.bd_quality(anchor, better).value == pytest.approx(gain, abs=1e-9)


def test_curves_without_overlap_are_refused() -> None:
    anchor = curves.curve(*ANCHOR)
    with pytest.raises(CurveError, match="overlap"):
        curves.bd_rate(anchor, Curve(anchor.rates, anchor.quality + 20))
    with pytest.raises(CurveError, match="overlap"):
        curves.bd_quality(anchor, Curve(anchor.rates * 100, anchor.quality))


def test_a_curve_that_turns_is_refused() -> None:
    anchor = curves.curve(*ANCHOR)
    with pytest.raises(CurveError, match="steadily"):
        curves.bd_rate(anchor, Curve(anchor.rates, np.array([31.0, 35.0, 34.0, 40.0])))


def test_the_share_of_the_overlap_is_stated() -> None:
    rates = np.array([1.0, 2.0, 3.0])
    a, b = Curve(rates, np.array([0.0, 1.0, 2.0])), Curve(rates, np.array([1.0, 2.0, 3.0]))
    delta = curves.bd_rate(a, b)
    assert (delta.low, delta.high, delta.share) == (1.0, 2.0, pytest.approx(1 / 3))


def test_a_window_cuts_with_interpolated_ends() -> None:
    cut = curves.curve(*ANCHOR, window=(100, 400))
    assert cut.rates[0] == 100
    assert cut.rates[-1] == 400
    assert list(cut.rates[1:-1]) == [157.11, 309.58]
    whole = PchipInterpolator(np.log(ANCHOR[0]), ANCHOR[1])
    assert cut.quality[0] == pytest.approx(float(whole(np.log(100))))
    wide = curves.curve(*ANCHOR, window=(1, 1000))
    assert np.array_equal(wide.rates, ANCHOR[0])


def test_points_of_equal_rate_count_once_and_one_point_is_no_curve() -> None:
    doubled = curves.curve(np.array([2.0, 1.0, 1.0]), np.array([5.0, 4.0, 4.0]))
    assert np.array_equal(doubled.rates, [1.0, 2.0])
    with pytest.raises(CurveError, match="two points"):
        curves.curve(np.array([1.0, 1.0]), np.array([4.0, 4.0]))


def test_decibels_of_a_similarity() -> None:
    assert decibels(0.9) == pytest.approx(10)
    assert decibels(1.0) == 90


def test_published_figures_are_the_ones_in_the_papers() -> None:
    found = {(one.label, one.dataset): one for one in published.curves()}
    assert (0.1532, 0.07318) in found["MS-ILLM", "kodak"].points["lpips_alex"]
    assert found["HiFiC", "clic2020"].points["psnr"] == sorted(found["HiFiC", "clic2020"].points["psnr"])
    assert len(found["HiFiC", "kodak"].points["psnr"]) == 3
    assert all(one.source for one in found.values())
    assert {"CRDR beta=3.84", "CRDR beta=0.0"} <= {label for label, _ in found}


def test_kodak_is_known_by_its_names() -> None:
    assert published.dataset_of(["kodim01", "kodim24"]) == "kodak"
    assert published.dataset_of(["kodim01", "holiday"]) is None
    assert published.dataset_of([]) is None
