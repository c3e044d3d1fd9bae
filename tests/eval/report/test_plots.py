"""Figures: every curve is in the legend, and the legend hides none; matched and fixed settings differ; two looks."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from gencomp.eval.report import plots
from gencomp.eval.report.summary import series

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
    collected = {"summary": ROWS, "metrics": {"psnr": {"part_of": ""}}, "photos": {"dataset": None}}
    for name in ("one", "two"):
        plots.overview(collected, tmp_path / name, plots.LOOKS[look])
    with Image.open(tmp_path / "one.png") as image:
        assert f"#{image.convert('RGB').crop((2, 2, 3, 3)).tobytes().hex()}" == plots.LOOKS[look].paper
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
