"""`python -m gencomp.eval.report DIR... --at BPP`: evaluations at given rates, beside what others published.

Means of curves are interpolated in the logarithm of the rate between neighbouring points, those of one setting for all
images where there are such. Published curves of the same photographs are treated alike; their figures are their own.

    python -m gencomp.eval.report seen/ --at 0.08 --at 0.15
    python -m gencomp.eval.report seen/ slow/ --at 0.08 --at 0.15 --figure assets/published
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from matplotlib.figure import Figure

from gencomp.files import write_atomically

from ..drawing import plainly
from ..metrics.table import Metric, measured
from . import plots, published
from .summary import Series, series
from .tables import ARROWS, MINIMISED, Table, markdown

ASKED = ("lpips_alex", "dists", "wasserstein_alex", "wasserstein", "lpips_vgg", "lite", "psnr", "ms_ssim")
DRAWN = ("lpips_alex", "dists")


class Line(NamedTuple):
    """A curve: points (bpp, value) by metric, ascending in rate, and the metrics that its codec minimised."""

    label: str
    images: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    minimised: Sequence[str] = ()


def at_rate(points: Sequence[tuple[float, float]], bpp: float) -> float | None:
    """A curve's value at a rate, linear in its logarithm; None beyond its ends."""
    if not points or not points[0][0] <= bpp <= points[-1][0]:
        return None
    rates, values = zip(*points)
    return float(np.interp(np.log(bpp), np.log(rates), values))


def lines_of(results: Mapping[str, Any], names: Sequence[str]) -> list[Line]:
    """The curves of an evaluation; of a codec that has some at one setting for all images, those alone."""
    rows = results["summary"]
    by_key = {(row["codec"], row["setting"], row["realism"]): row for row in rows}
    curves = series(rows)
    fixed = {(one.codec, one.realism) for one in curves if one.kind == "setting"}
    kept = [one for one in curves if one.kind == "setting" or (one.codec, one.realism) not in fixed]
    return [_line(one, [by_key[key] for key in one.keys], names) for one in kept]


def _line(one: Series, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Line:
    counts = sorted({row["images"] for row in rows})
    points = {name: [(row["bpp"], row[name]) for row in rows if name in row] for name in names}
    return Line(one.label, "-".join(map(str, counts)), points, rows[0]["minimised"])


def table_at(lines: Sequence[Line], rates: Sequence[float], metrics: Mapping[str, Metric]) -> Table:
    """A row for each curve and rate at which it has anything."""
    rows = []
    for bpp in rates:
        for line in lines:
            values = {name: at_rate(line.points.get(name, ()), bpp) for name in metrics}
            cells = ["" if values[n] is None else f"{values[n]:.{m.digits}f}" + MINIMISED * (n in line.minimised)
                     for n, m in metrics.items()]  # fmt: skip
            if any(cells):
                rows.append([line.label, f"{bpp:g}", line.images, *cells])
    heads = ["codec", "bpp", "images", *(f"{m.label} {ARROWS[m.direction]}" for m in metrics.values())]
    marked = [f"{MINIMISED} what the codec, its training or its refinement minimised."]
    return Table(heads, rows, marked if any(MINIMISED in cell for row in rows for cell in row) else [])


@click.command(help=__doc__)
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--at", "rates", multiple=True, type=click.FloatRange(0, min_open=True), default=(0.08, 0.15),
              show_default=True, metavar="BPP", help="Repeatable: bits per pixel.")  # fmt: skip
@click.option("--metric", "names", multiple=True, default=ASKED, show_default=True, metavar="NAME", help="Repeatable.")
@click.option("--codec", "codecs", multiple=True, metavar="NAME", help="Repeatable: these alone.  [default: all]")
@click.option("--figure", type=click.Path(dir_okay=False, path_type=Path), metavar="PREFIX",
              help="Also write the table as PREFIX.md, and LPIPS and DISTS beside the published curves as PREFIX.png, "
              ".svg and .pdf, and for dark pages as PREFIX-dark.")  # fmt: skip
def main(
    folders: tuple[Path, ...], rates: tuple[float, ...], names: tuple[str, ...], codecs: tuple[str, ...],
    figure: Path | None,
) -> None:  # fmt: skip
    """The table at the rates, and the figure."""
    evaluations = [json.loads((folder / "results.json").read_text("utf-8")) for folder in folders]
    datasets = {one["photos"]["dataset"] for one in evaluations}
    if len(datasets) > 1:
        raise click.UsageError("these evaluations are of different photographs")
    ours = [line for one in evaluations for line in lines_of(one, names)]
    ours = [line for line in ours if not codecs or line.label.partition(",")[0] in codecs]
    reference = [p for p in published.curves() if p.dataset in datasets and p.label in published.GENERATIVE]
    theirs = [Line(f"{p.label} (published)", "", p.points) for p in reference]
    metrics = {n: m for n, m in measured([dict.fromkeys(names, 0)]).items()}
    found = table_at([*ours, *theirs], sorted(rates), {n: metrics[n] for n in names if n in metrics})
    click.echo(markdown(found), nl=False)
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(figure.with_name(f"{figure.name}.md"), markdown(found).encode())
        for look in plots.LOOKS:
            _draw(evaluations, codecs, reference, figure, look)


@plainly
def _draw(
    evaluations: Sequence[Mapping[str, Any]], codecs: Sequence[str], reference: Sequence[published.Published],
    prefix: Path, look: plots.LookName,
) -> None:  # fmt: skip
    rows = [row for one in evaluations for row in one["summary"] if not codecs or row["codec"] in codecs]
    drawing = Figure((11, 5.2), layout="constrained")
    for k, name in enumerate(DRAWN):
        plots.draw(drawing.add_subplot(1, 2, k + 1), name, rows, series(rows), reference, plots.LOOKS[look])
    plots.save(drawing, prefix if look == "light" else prefix.with_name(f"{prefix.name}-{look}"), plots.LOOKS[look])


if __name__ == "__main__":
    main()
