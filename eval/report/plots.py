"""Rate against every metric as still figures, PNG, SVG and PDF. Published curves are dashed: not measured here."""

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gencomp.files import write_atomically

from ..metrics.table import Metric, by_votes, measured, metric_of, on_axis
from ..run.crew import Run, Step, in_turn
from . import published
from .published import Published
from .summary import Series, series

# Colours that stay apart for colour-blind readers (Okabe and Ito), gencomp's the strongest.
COLOURS = {
    "gencomp": "#d55e00", "avif": "#0072b2", "webp": "#009e73", "jpeg": "#8a8a8a", "jpeg2000": "#b8860b",
    "jpegxl": "#56b4e9", "hevc": "#cc79a7", "vvc": "#8d6cb8",
}  # fmt: skip
OTHERS = ("#1b7837", "#17a2b8", "#a6611a", "#018571", "#7f7f7f", "#c2410c", "#4c72b0", "#937860")
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}
WIDE = 60  # from such a ratio of the highest to the lowest rate on, there is room for fewer ticks
FILES: Mapping[str, Mapping[str, Any]] = {
    ".png": {"dpi": 130}, ".svg": {"metadata": {"Date": None}}, ".pdf": {"metadata": {"CreationDate": None}},
}  # fmt: skip
LookName = Literal["light", "dark"]
Curves = Sequence[Series]
Colours = Mapping[str, str] | None
plainly = matplotlib.rc_context(matplotlib.rcParamsDefault)
"""Decorates what draws: a `matplotlibrc` does not count, which matplotlib reads in the working folder before any other:
among photographs it may be anybody's."""


class Look(NamedTuple):
    """Colours of a figure's paper, ink, faint lines and published curves."""

    paper: str
    ink: str
    grid: str
    faint: str


LOOKS: Mapping[LookName, Look] = {
    "light": Look("#ffffff", "#1b1b1b", "#e2e2e2", "#9a9a9a"),
    "dark": Look("#0d1117", "#e6e6e6", "#30363d", "#7d8590"),
}


def looks(prefix: Path) -> Iterator[tuple[Look, Path]]:
    """A figure for light pages and one for dark, with their paths: PREFIX and PREFIX-dark."""
    for name, look in LOOKS.items():
        yield look, prefix if name == "light" else prefix.with_name(f"{prefix.name}-{name}")


def colour_of(codec: str, codecs: Sequence[str]) -> str:
    """A codec's colour, the same in every figure of a run."""
    if codec in COLOURS:
        return COLOURS[codec]
    strangers = [c for c in codecs if c not in COLOURS]
    return OTHERS[strangers.index(codec) % len(OTHERS)]


def write_plots(out: Path, collected: Mapping[str, Any], run: Run = in_turn) -> None:
    """One figure for each metric and an overview under plots/."""
    folder, curves = out / "plots", series(collected["summary"])
    folder.mkdir(parents=True, exist_ok=True)
    reference = _prominent(collected)
    needed = {key: collected[key] for key in ("summary", "metrics", "photos")}
    steps = [Step("plot overview", partial(overview, needed, folder / "overview"))]
    for name in collected["metrics"]:
        steps.append(Step(f"plot {name}", partial(draw_all, folder / name, (7.5, 6), [name], curves, reference)))
    run(steps)


def overview(collected: Mapping[str, Any], path: Path, look: Look = LOOKS["light"]) -> None:
    """Fidelity, and the realism that people's votes say most of, in one figure, as path.png, .svg and .pdf."""
    rows, names = collected["summary"], list(collected["metrics"])
    best = by_votes(measured(rows), {name for row in rows for name in row["minimised"]})
    chosen = [name for name in ("psnr", "ms_ssim", *best[:2]) if name in names] or names[:4]
    lines = max(1, (len(chosen) + 1) // 2)
    draw_all(path, (11, 4.2 * lines + 1), chosen, series(rows), _prominent(collected), look, columns=2)


def _prominent(collected: Mapping[str, Any]) -> list[Published]:
    dataset = collected["photos"]["dataset"]
    return [p for p in published.curves() if p.dataset == dataset and p.label in published.PROMINENT]


@plainly
def draw_all(
    path: Path,
    size: tuple[float, float],
    names: Sequence[str],
    curves: Curves,
    reference: Sequence[Published] = (),
    look: Look = LOOKS["light"],
    columns: int = 1,
    colours: Colours = None,
) -> None:
    """Metrics side by side, `columns` of them in a line, as path.png, .svg and .pdf; size in inches."""
    figure = Figure(size, layout="constrained")
    for k, name in enumerate(names, 1):
        draw(figure.add_subplot(max(1, -(-len(names) // columns)), columns, k), name, curves, reference, look, colours)
    save(figure, path, look)


def draw(
    axes: Axes, name: str, curves: Curves, reference: Sequence[Published], look: Look, colours: Colours = None
) -> None:
    """One metric against the rate. A hollow mark: one setting for all images, where others are matched to a rate.

    Intervals are left out: those of single means are as wide as images differ, and say little of codecs that coded
    the same images. The paired ones stand beside the Bjontegaard deltas.
    """
    metric = metric_of(name)
    codecs = list(dict.fromkeys(s.codec for s in curves))
    mixed = len({s.kind for s in curves}) > 1
    for k, one in enumerate(reference):
        points = [(x, on_axis(metric, value)) for x, value in one.points.get(name, [])]
        if points:
            axes.plot(*zip(*points), "--", color=look.faint, lw=1, marker="ovs^D<>"[k % 7], ms=3,
                      label=f"{one.label} (published)", zorder=1)  # fmt: skip
    for curve in curves:
        points = [(x, on_axis(metric, value)) for x, value in curve.points(name)]
        if not points:
            continue
        colour = (colours or {}).get(curve.codec) or colour_of(curve.codec, codecs)
        matched = curve.kind == "bpp" or not mixed
        axes.plot(*zip(*points), "-" if curve.realism in (None, 1) else ":", color=colour, marker="o", ms=4.5, lw=1.8,
                  label=curve.label + ("" if matched else ", one setting"),
                  mfc=colour if matched else look.paper, mew=1.3)  # fmt: skip
    minimisers = dict.fromkeys(curve.codec for curve in curves for row in curve.rows if name in row["minimised"])
    _style(axes, look, axis_label(metric) + (f"\nminimised by {', '.join(minimisers)}" if minimisers else ""))


def axis_label(metric: Metric) -> str:
    """A metric's name, unit and direction."""
    unit = "dB" if metric.in_decibels else metric.unit
    return f"{metric.label}{f' [{unit}]' if unit else ''}, {DIRECTIONS[metric.direction]}"


def _style(axes: Axes, look: Look, title: str) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8) if high < WIDE * low else (1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("bits per pixel, from the files", color=look.ink)
    axes.set_title(title, fontsize=10, color=look.ink)
    axes.set_facecolor(look.paper)
    axes.tick_params(colors=look.ink, which="both")
    axes.grid(True, which="major", color=look.grid, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(look.faint)


def save(figure: Figure, path: Path, look: Look) -> None:
    """A figure as path.png, .svg and .pdf, its legend below all axes; equal figures give equal files."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    width = figure.get_size_inches()[0]
    columns = max(1, int(width / (0.45 + 0.075 * max(map(len, handles), default=1))))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=8,
                  frameon=False, labelcolor=look.ink)  # fmt: skip
    figure.set_facecolor(look.paper)
    with matplotlib.rc_context({"svg.hashsalt": "gencomp", "svg.fonttype": "none"}):
        for suffix, given in FILES.items():
            stream = io.BytesIO()
            figure.savefig(stream, format=suffix[1:], **given)
            write_atomically(path.with_name(path.name + suffix), stream.getvalue())
