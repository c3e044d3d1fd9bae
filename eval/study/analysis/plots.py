"""The figures of an analysis, each as PNG and SVG. Matplotlib's own objects, without its global state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...report.plots import plainly
from ..bradley_terry import ELO_MEAN
from .analyse import Analysis
from .equal_quality import family
from .graded import Graded
from .scores import Score

INK, QUIET = "#1f2a33", "#8a949c"
HUES = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#975a16", "#285e61", "#4a5568")


@plainly
def draw(analysis: Analysis, folder: Path) -> list[str]:
    """Write scores, rates (if known) and metrics (if any) to folder; returns the stems that were written."""
    made = [_save(_scores(analysis), folder, "scores")]
    if len({c.bpp for c in analysis.study.conditions if c.bpp}) > 1:
        made.append(_save(_rates(analysis), folder, "rates"))
    if any(m.level == "votes" for m in analysis.metrics):
        made.append(_save(_metrics(analysis), folder, "metrics"))
    return made


@plainly
def draw_graded(found: Graded, folder: Path) -> list[str]:
    """Write the mean opinion scores to folder; returns the stems that were written."""
    ranked = sorted(found.scores.conditions, key=lambda c: c.mos)
    figure, axes = _figure(7.2, 1.1 + 0.38 * len(ranked))
    for place, c in enumerate(ranked):
        if c.interval:
            axes.plot([c.interval.low, c.interval.high], [place, place], color=HUES[0], linewidth=2)
        axes.plot([c.mos], [place], "o", color=HUES[0])
    axes.set_yticks(range(len(ranked)), [c.condition for c in ranked])
    axes.set_ylim(-0.6, len(ranked) - 0.4)
    axes.set_xlim(0.9, 5.1)
    axes.set_xlabel("mean opinion score, 1 to 5 (95 % interval over raters)")
    return [_save(figure, folder, "scores")]


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


def _error(scores: Sequence[Score]) -> list[list[float]] | None:
    """Distances to the interval's ends as errorbar wants them; None where there are no intervals."""
    if any(s.interval is None for s in scores):
        return None
    ends = [(s.elo - s.interval.low, s.interval.high - s.elo) for s in scores if s.interval]
    return [[max(0.0, low) for low, _ in ends], [max(0.0, high) for _, high in ends]]


def _scores(analysis: Analysis) -> Any:
    ranked = sorted(analysis.scores.scores, key=lambda s: s.elo)
    figure, axes = _figure(7.2, 1.1 + 0.38 * len(ranked))
    axes.axvline(ELO_MEAN, color=QUIET, linewidth=0.8)
    axes.errorbar(
        [s.elo for s in ranked],
        range(len(ranked)),
        xerr=_error(ranked),
        fmt="o",
        color=HUES[0],
        ecolor=HUES[0],
        elinewidth=2,
        capsize=4,
    )
    axes.set_yticks(range(len(ranked)), [s.condition for s in ranked])
    axes.set_ylim(-0.6, len(ranked) - 0.4)
    axes.set_xlabel("Elo (95 % interval over raters)")
    return figure


def _rates(analysis: Analysis) -> Any:
    figure, axes = _figure(7.2, 4.4)
    axes.grid(axis="y", color="#e3e7ea", linewidth=0.8)
    families: dict[str, list[tuple[float, Score]]] = {}
    for condition, score in zip(analysis.study.conditions, analysis.scores.scores, strict=True):
        if condition.bpp:
            families.setdefault(family(condition), []).append((condition.bpp, score))
    for k, (name, points) in enumerate(families.items()):
        points.sort(key=lambda point: point[0])
        scores = [score for _, score in points]
        axes.errorbar(
            [bpp for bpp, _ in points],
            [s.elo for s in scores],
            yerr=_error(scores),
            fmt="o-",
            capsize=3,
            color=HUES[k % len(HUES)],
            label=name,
        )
    axes.set_xscale("log")
    rates = sorted({bpp for points in families.values() for bpp, _ in points})
    axes.set_xticks([rate for k, rate in enumerate(rates) if not k or rate > 1.12 * rates[k - 1]], minor=False)
    axes.xaxis.set_major_formatter("{x:.3g}")
    axes.minorticks_off()
    axes.set_xlim(rates[0] / 1.3, rates[-1] * 1.3)  # rates that hardly differ stand together, not at opposite ends
    axes.set_xlabel("bits per pixel (file)")
    axes.set_ylabel("Elo")
    axes.legend(frameon=False)
    return figure


def _metrics(analysis: Analysis) -> Any:
    rows = [
        (m.metric, m.predicts.value, m.predicts.interval)
        for m in analysis.metrics
        if m.level == "votes" and m.predicts and m.predicts.value is not None
    ]
    rows.sort(key=lambda row: row[1] or 0)
    figure, axes = _figure(7.2, 1.3 + 0.34 * len(rows))
    axes.axvline(50, color=QUIET, linewidth=0.8)
    if analysis.agreement.ceiling:
        axes.axvline(100 * analysis.agreement.ceiling, color=HUES[1], linewidth=1, linestyle="--")
        axes.annotate(
            "no metric can exceed this",
            (100 * analysis.agreement.ceiling, len(rows) - 0.45),
            color=HUES[1],
            ha="center",
            va="bottom",
            fontsize=9,
            annotation_clip=False,
        )
    for k, (_, value, ends) in enumerate(rows):
        if ends:
            axes.plot([100 * ends.low, 100 * ends.high], [k, k], color=HUES[0], linewidth=2)
        axes.plot([100 * (value or 0)], [k], "o", color=HUES[0])
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_ylim(-0.6, max(0.6, len(rows) - 0.4))
    axes.set_xlabel("votes that the metric predicts, % (95 % interval over raters)")
    return figure
