"""Rate against every measure as still figures, PNG and SVG. Published curves are dashed and grey: not measured here."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gencomp.files import write_atomically

from ..metrics.table import Metric, measured
from . import published
from .curves import decibels
from .published import Published
from .summary import Series

# Colours that stay apart for colour-blind readers (Okabe and Ito), gencomp's the strongest.
COLOURS = {
    "gencomp": "#d55e00", "avif": "#0072b2", "webp": "#009e73", "jpeg": "#8a8a8a", "jpeg2000": "#b8860b",
    "jpegxl": "#56b4e9", "hevc": "#cc79a7", "vvc": "#5b3c88",
}  # fmt: skip
OTHERS = ("#1b7837", "#762a83", "#a6611a", "#018571", "#404040")
OVERVIEW = ("psnr", "ms_ssim", "swd", "texture_error")


def colour_of(codec: str, codecs: Sequence[str]) -> str:
    """A codec's colour, the same in every figure of a run."""
    if codec in COLOURS:
        return COLOURS[codec]
    strangers = [c for c in codecs if c not in COLOURS]
    return OTHERS[strangers.index(codec) % len(OTHERS)]


def shown(name: str, row: dict[str, Any]) -> float:
    """The value of a measure on a figure's axis: MS-SSIM in dB."""
    return float(row["ms_ssim_db" if name == "ms_ssim" else name])


def axis_label(metric: Metric) -> str:
    """A measure's name, unit and direction."""
    unit = "dB" if metric.name == "ms_ssim" else metric.unit
    direction = {"more": "higher is better", "less": "lower is better", "one": "1 keeps the texture"}[metric.better]
    return f"{metric.label}{f' [{unit}]' if unit else ''}, {direction}"


def write_plots(
    out: Path, rows: list[dict[str, Any]], series: list[Series], names: Sequence[str], dataset: str | None
) -> None:
    """One figure a measure and an overview under plots/."""
    folder = out / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    reference = [p for p in published.curves() if p.dataset == dataset and p.label in published.PROMINENT]
    for name in names:
        figure = Figure((7, 5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, name, rows, series, reference)
        axes.legend(fontsize=8)
        save(figure, folder / name)
    overview(rows, series, names, reference, folder / "overview")


def overview(
    rows: list[dict[str, Any]], series: list[Series], names: Sequence[str], reference: list[Published], path: Path
) -> None:
    """The main measures in one figure of two columns, as path.png and path.svg."""
    chosen = [name for name in OVERVIEW if name in names] or list(names)[:4]
    lines = max(1, (len(chosen) + 1) // 2)
    figure = Figure((11, 4.2 * lines), layout="constrained")
    for k, name in enumerate(chosen):
        axes = figure.add_subplot(lines, 2, k + 1)
        draw(axes, name, rows, series, reference)
        if k == 0:
            axes.legend(fontsize=7, ncols=2)
    save(figure, path)


def draw(
    axes: Axes, name: str, rows: list[dict[str, Any]], series: list[Series], reference: Sequence[Published]
) -> None:
    """One measure against the rate.

    Intervals are left out: those of single means are as wide as pictures differ, and say little of codecs that coded
    the same pictures. The paired ones stand beside the Bjontegaard deltas.
    """
    by_key = {(r["codec"], r["setting"], r["realism"]): r for r in rows}
    codecs = list(dict.fromkeys(s.codec for s in series))
    for k, one in enumerate(reference):
        points = one.points.get(name, [])
        if points:
            values = [decibels(v) if name == "ms_ssim" else v for _, v in points]
            axes.plot([x for x, _ in points], values, "--", color="#9a9a9a", lw=1, marker="ovs^D<>"[k % 7], ms=3,
                      label=f"{one.label} (published)", zorder=1)  # fmt: skip
    for one_series in series:
        points = [(by_key[k]["bpp"], shown(name, by_key[k])) for k in one_series.keys if name in by_key[k]]
        if not points:
            continue
        colour = colour_of(one_series.codec, codecs)
        style = "-" if one_series.realism in (None, 1) else ":"
        label = one_series.label + ("" if one_series.kind == "bpp" else ", one setting")
        axes.plot(*zip(*points), style, color=colour, marker="o", ms=4, lw=1.8, label=label)
    _style(axes, measured(rows)[name])


def _style(axes: Axes, metric: Metric) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bits a pixel, from the files")
    axes.set_title(axis_label(metric), fontsize=10)
    axes.grid(True, which="major", color="#e2e2e2", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """A figure as path.png and path.svg; equal figures give equal files."""
    with matplotlib.rc_context({"svg.hashsalt": "gencomp", "svg.fonttype": "none"}):
        for suffix, options in ((".png", {"dpi": 130}), (".svg", {"metadata": {"Date": None}})):
            stream = io.BytesIO()
            figure.savefig(stream, format=suffix[1:], **options)
            write_atomically(path.with_name(path.name + suffix), stream.getvalue())
