"""The figures of an analysis, each as PNG and SVG. Matplotlib's own objects, without its global state.

Rows are those of analysis.json.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...report.plots import plainly
from ..bradley_terry import ELO_MEAN
from .equal_quality import curve_of

INK, QUIET = "#1f2a33", "#8a949c"
HUES = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#975a16", "#285e61", "#4a5568")
Rows = Sequence[Mapping[str, Any]]


@plainly
def draw(whole: Mapping[str, Any], folder: Path) -> list[str]:
    """Write scores, rates (if known) and metrics (if any) to folder; returns the stems that were written."""
    made = [_save(_scores(whole["scores"]), folder, "scores")]
    if "elo" not in whole["scores"][0]:
        return made
    if len({s["bpp"] for s in whole["scores"] if s["bpp"]}) > 1:
        made.append(_save(_rates(whole["scores"]), folder, "rates"))
    if any(m["level"] == "votes" for m in whole["metrics"]):
        made.append(_save(_metrics(whole["metrics"], whole["agreement"]["ceiling"]), folder, "metrics"))
    return made


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
    axes.grid(axis="x", color="#e3e7ea", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _save(figure: Any, folder: Path, stem: str) -> str:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "gencomp"}):  # the same bytes for the same figure
        figure.savefig(folder / f"{stem}.png", dpi=160)
        figure.savefig(folder / f"{stem}.svg", metadata={"Date": None})
    return stem


def _points(axes: Any, rows: Sequence[tuple[str, float, Sequence[float] | None]]) -> None:
    """A row for each name from the bottom: its value, and its interval if there is one."""
    for place, (_, value, interval) in enumerate(rows):
        if interval:
            axes.plot(interval, [place, place], color=HUES[0], linewidth=2)
        axes.plot([value], [place], "o", color=HUES[0])
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(-0.6, max(0.6, len(rows) - 0.4))


def _error(scores: Rows) -> list[list[float]] | None:
    """Distances to the interval's ends as errorbar wants them; None where there are no intervals."""
    if any(s["interval"] is None for s in scores):
        return None
    ends = [(s["elo"] - s["interval"][0], s["interval"][1] - s["elo"]) for s in scores]
    return [[max(0.0, low) for low, _ in ends], [max(0.0, high) for _, high in ends]]


def _scores(scores: Rows) -> Any:
    key = "elo" if "elo" in scores[0] else "mos"
    ranked = sorted(scores, key=lambda s: s[key])
    figure, axes = _figure(7.2, 1.1 + 0.38 * len(ranked))
    _points(axes, [(s["condition"], s[key], s["interval"]) for s in ranked])
    if key == "elo":
        axes.axvline(ELO_MEAN, color=QUIET, linewidth=0.8)
    else:
        axes.set_xlim(0.9, 5.1)
    name = "Elo" if key == "elo" else "mean opinion score, 1 to 5"
    axes.set_xlabel(f"{name} (95 % interval over raters)")
    return figure


def _rates(scores: Rows) -> Any:
    figure, axes = _figure(7.2, 4.4)
    axes.grid(axis="y", color="#e3e7ea", linewidth=0.8)
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for s in scores:
        if s["bpp"]:
            curves.setdefault(curve_of(s["codec"], s["realism"]), []).append(s)
    for k, (name, points) in enumerate(curves.items()):
        points.sort(key=lambda s: s["bpp"])
        look = {"fmt": "o-", "capsize": 3, "color": HUES[k % len(HUES)], "label": name}
        axes.errorbar([s["bpp"] for s in points], [s["elo"] for s in points], yerr=_error(points), **look)
    axes.set_xscale("log")
    rates = sorted({s["bpp"] for points in curves.values() for s in points})
    axes.set_xticks([rate for k, rate in enumerate(rates) if not k or rate > 1.12 * rates[k - 1]], minor=False)
    axes.xaxis.set_major_formatter("{x:.3g}")
    axes.minorticks_off()
    axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)  # rates that hardly differ stand together, not at opposite ends
    axes.set_xlabel("bits per pixel (file)")
    axes.set_ylabel("Elo")
    axes.legend(frameon=False)
    return figure


def _metrics(metrics: Rows, ceiling: float | None) -> Any:
    rows = [m for m in metrics if m["level"] == "votes" and m["predicts"]["value"] is not None]
    rows.sort(key=lambda m: m["predicts"]["value"])
    figure, axes = _figure(7.2, 1.3 + 0.34 * len(rows))
    axes.axvline(50, color=QUIET, linewidth=0.8)
    if ceiling:
        axes.axvline(100 * ceiling, color=HUES[1], linewidth=1, linestyle="--")
        look = {"color": HUES[1], "ha": "center", "va": "bottom", "fontsize": 9, "annotation_clip": False}
        axes.annotate("no metric can exceed this", (100 * ceiling, len(rows) - 0.45), **look)
    found = [(m["metric"], m["predicts"]["value"], m["predicts"]["interval"]) for m in rows]
    _points(axes, [(name, 100 * value, ends and [100 * end for end in ends]) for name, value, ends in found])
    axes.set_xlabel("votes that the metric predicts, % (95 % interval over raters)")
    return figure
