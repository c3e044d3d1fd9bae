"""The one table: every row measures, and everything else follows from it."""

import math

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from gencomp.eval.metrics import table
from gencomp.eval.metrics.sides import by_sides
from gencomp.eval.metrics.table import METRICS, NAMES, Resources
from gencomp.eval.report import tables

NEEDS_WEIGHTS = ("lpips_alex", "lpips_vgg", "dists")


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.scope == "image" and n not in NEEDS_WEIGHTS])
def test_metrics_of_images_prefer_the_image_itself(name: str, pair: tuple[Tensor, Tensor]) -> None:
    metric = METRICS[name]
    measure = metric.make(Resources())
    same, other = measure(pair[0], pair[0]), measure(*pair)
    assert math.isfinite(same)
    assert math.isfinite(other)
    if metric.direction == "one":
        assert same == pytest.approx(1)
    else:
        assert table.goodness(metric, same) > table.goodness(metric, other)


def test_what_is_kept_of_an_original_is_of_that_one_alone(pair: tuple[Tensor, Tensor]) -> None:
    """Measured in turn against two originals, a metric says what a fresh one says, and looks at each original once."""
    for name in ("nlpd", "band_energy", "texture_error", "regular_grain", "wasserstein"):
        measure, fresh = METRICS[name].make(Resources()), METRICS[name].make
        for x, y in (pair, pair, pair[::-1], pair):
            assert measure(x, y) == fresh(Resources())(x, y), name
    looked = []

    def look(x: Tensor) -> Tensor:
        looked.append(x)
        return x

    difference = by_sides(look, lambda y: y, lambda x, y: float((x - y).abs().mean()))
    assert difference(pair[0], pair[1]) == difference(pair[0], pair[1]) > difference(pair[0], pair[0])
    assert len(looked) == 1


def test_metrics_of_sets_prefer_the_set_itself(pair: tuple[Tensor, Tensor]) -> None:
    swd = METRICS["swd"].make(Resources())
    assert swd([pair[0]], [pair[0]]) < swd([pair[0]], [pair[1]])
    vectors = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double().numpy()
    for name in ("fid", "fid_whole", "kid"):
        distance = METRICS[name].make(Resources())
        assert distance(vectors, vectors) < distance(vectors, vectors + 1)


def test_a_row_is_all_that_a_metric_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new row is asked for, measured, named, ordered and written without another line."""
    brightness = table.Metric("brightness", "brightness", "lower", "grey levels", 1, "image", "mean difference",
                              lambda _: lambda x, y: 255 * float((x - y).mean().abs()), headline=True)  # fmt: skip
    monkeypatch.setattr(table, "METRICS", {**METRICS, "brightness": brightness})
    monkeypatch.setattr(tables, "METRICS", {**METRICS, "brightness": brightness})
    assert table.asked(["brightness"], "image") == [brightness]
    assert table.measured([{"brightness": 3.0}]) == {"brightness": brightness}
    assert table.direction_of("brightness") == "lower"
    row: dict[str, object] = dict.fromkeys(("images", "reached"), 1)
    row |= dict.fromkeys(("unable", "lacks", "left_out"), 0) | dict.fromkeys(("bpp", "encode_s", "decode_s"), 0.1)
    row |= {"codec": "c", "setting": "1 bpp", "realism": None, "fewer": {}, "brightness": 3.21}
    results = {"metrics": {"brightness": brightness._asdict()}, "summary": [row], "left_out": []}
    assert "| 3.2 |" in tables.means_md(results)
    assert "brightness grey levels ↓" in tables.means_md(results)


def test_names_over_other_networks_keep_what_is_known() -> None:
    found = table.measured([{"fid_whole_swav": 1.0, "kid_resnet10t": 2.0, "psnr": 3.0, "bpp": 4.0}])
    assert list(found) == ["psnr", "fid_whole_swav", "kid_resnet10t"]
    assert found["fid_whole_swav"].label == "FID, whole images (swav)"
    assert "swav" in found["fid_whole_swav"].definition
    assert table.direction_of("kid_resnet10t") == "lower"
    assert table.direction_of("unheard_of") == "higher"
    assert [table.is_of_sets(n) for n in ("fid_swav", "swd", "psnr", "bpp")] == [True, True, False, False]


def test_the_help_names_every_metric() -> None:
    from gencomp.eval.cli import evaluate

    text = "".join(CliRunner().invoke(evaluate, ["--help"]).output.split())
    assert all(name in text for name in NAMES)
