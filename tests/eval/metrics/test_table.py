"""The one table: every row measures, and everything else follows from it."""

import math
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from gencomp.eval.metrics import table
from gencomp.eval.metrics.table import METRICS, NAMES, Resources, by_sides
from gencomp.eval.report import tables

NEEDS_WEIGHTS = ("lpips_alex", "lpips_vgg", "dists", "lite", "wasserstein_alex")
LEADERS: list[Any] = [(("psnr", "dists", "lpips_alex", "wasserstein"), (), "wasserstein")]
LEADERS += [(("psnr", "dists", "lpips_alex", "wasserstein"), ("psnr", "wasserstein"), "lpips_alex")]
LEADERS += [(("psnr", "wasserstein_alex", "lpips_vgg", "wasserstein"), ("wasserstein",), "wasserstein_alex")]
LEADERS += [(("ms_ssim", "dists", "lite"), ("lite", "lpips_alex"), "dists")]
LEADERS += [(("ms_ssim", "wasserstein"), ("wasserstein",), None)]


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.scope == "image" and n not in NEEDS_WEIGHTS])
def test_metrics_of_images_prefer_the_image_itself(name: str, pair: tuple[Tensor, Tensor]) -> None:
    metric = METRICS[name]
    measure = metric.make(Resources())
    same, other = measure(pair[0], pair[0]), measure(*pair)
    assert math.isfinite(same)
    assert math.isfinite(other)
    assert table.goodness(metric, same) > table.goodness(metric, other)


def test_what_is_kept_of_an_original_is_of_that_one_alone(pair: tuple[Tensor, Tensor]) -> None:
    """Measured in turn against two originals, a metric says what a fresh one says, and looks at each original once."""
    for name in ("texture_error", "grid_artefacts", "wasserstein"):
        measure, fresh = METRICS[name].make(Resources()), METRICS[name].make
        for x, y in (pair, pair, pair[::-1], pair):
            assert measure(x, y) == fresh(Resources())(x, y), name
    look = Mock(side_effect=lambda x: x)
    difference = by_sides(look, lambda y: y, lambda x, y: float((x - y).abs().mean()))
    assert difference(pair[0], pair[1]) == difference(pair[0], pair[1]) > difference(pair[0], pair[0])
    assert look.call_count == 1


def test_metrics_of_sets_prefer_the_set_itself() -> None:
    vectors = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).double().numpy()
    for name in ("fid", "kid"):
        distance = METRICS[name].make(Resources())
        assert distance(vectors, vectors) < distance(vectors, vectors + 1)


def test_a_row_is_all_that_a_metric_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new row is asked for, measured, named, ordered and written without another line."""
    brightness = table.Metric("brightness", "brightness", "lower", "grey levels", 1, "image", "mean difference",
                              lambda _: lambda x, y: 255 * float((x - y).mean().abs()), headline=True)  # fmt: skip
    monkeypatch.setattr(table, "METRICS", {**METRICS, "brightness": brightness})
    assert table.asked(["brightness"], "image") == [brightness]
    assert table.measured([{"brightness": 3.0}]) == {"brightness": brightness}
    assert table.direction_of("brightness") == "lower"
    row: dict[str, object] = dict.fromkeys(("images", "reached"), 1)
    row |= dict.fromkeys(("unable", "left_out"), 0) | dict.fromkeys(("bpp", "encode_s", "decode_s"), 0.1)
    row |= {"codec": "c", "setting": "1 bpp", "realism": None, "fewer": {}, "minimised": [], "brightness": 3.21}
    results = {"metrics": {"brightness": brightness._asdict()}, "summary": [row], "left_out": []}
    text = tables.markdown(tables.means_table(results))
    assert "| 3.2 |" in text
    assert "brightness grey levels ↓" in text


def test_names_over_other_networks_keep_what_is_known() -> None:
    for network in ("lite", "swav", "timm:resnet10t"):
        names = [table.over_network(METRICS[name], network).name for name in ("fid", "kid")]
        found = table.measured([dict.fromkeys([*names, "psnr", "bpp"], 1.0)])
        assert list(found) == ["psnr", *names]
        text = " ".join(f"{m.name} {m.label} {m.definition}" for name, m in found.items() if name != "psnr")
        assert not any(word in text for word in ("FID", "fid", "KID", "kid", "Inception"))
        assert all(table.direction_of(name) == "lower" for name in names)
    assert table.direction_of("unheard_of") == "higher"
    assert [table.is_of_sets(n) for n in ("frechet_lite", "psnr", "bpp")] == [True, False, False]


@pytest.mark.parametrize(("measured", "minimised", "first"), LEADERS)
def test_votes_lead_realism_among_the_unminimised(
    measured: tuple[str, ...], minimised: tuple[str, ...], first: str | None
) -> None:
    assert next(iter(table.by_votes({name: METRICS[name] for name in measured}, minimised)), None) == first


def test_the_help_names_every_metric() -> None:
    from gencomp.eval.cli import evaluate

    text = "".join(CliRunner().invoke(evaluate, ["--help"]).output.split())
    assert all(name in text for name in NAMES)
