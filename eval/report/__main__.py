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

from gencomp.cli import options
from gencomp.files import write_atomically

from ..metrics.table import Metric, measured
from . import plots, published
from .curves import at_rate
from .summary import series
from .tables import ARROWS, MINIMISED, MINIMISED_NOTE, TextTable, markdown

ASKED = ("lpips_alex", "dists", "wasserstein_alex", "wasserstein", "lpips_vgg", "lite", "psnr", "ms_ssim")
DRAWN = ("lpips_alex", "dists")
Names = tuple[str, ...]


class Line(NamedTuple):
    """A curve: points (bpp, value) by metric, ascending in rate, and the metrics that its codec minimised."""

    label: str
    images: str
    points: Mapping[str, Sequence[tuple[float, float]]]
    minimised: Sequence[str] = ()

    def cell(self, name: str, metric: Metric, bpp: float) -> str:
        """A metric at a rate, marked where the codec minimised it; "" beyond the curve's ends."""
        value = at_rate(self.points.get(name, ()), bpp)
        return "" if value is None else f"{value:.{metric.digits}f}" + MINIMISED * (name in self.minimised)


def lines_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Line]:
    """The curves of an evaluation; of a codec that has some at one setting for all images, those alone."""
    curves = series(rows)
    fixed = {(one.codec, one.realism) for one in curves if one.kind == "setting"}
    lines = []
    for one in curves:
        if one.kind == "setting" or (one.codec, one.realism) not in fixed:
            images = "-".join(map(str, sorted({row["images"] for row in one.rows})))
            points = {name: one.points(name) for name in names}
            lines.append(Line(one.label, images, points, one.rows[0]["minimised"]))
    return lines


@click.command(help=__doc__, context_settings={"show_default": True})
@click.argument("folders", nargs=-1, required=True, type=options.OLD_FOLDER)
@options.many("--at", "rates", type=options.POSITIVE, default=(0.08, 0.15), metavar="BPP", help="Repeatable.")
@options.many("--metric", "names", default=ASKED, metavar="NAME", help="Repeatable.")
@options.many("--codec", "codecs", metavar="NAME", help="Repeatable: these alone.  [default: all]")
@options.figure
def main(folders: tuple[Path, ...], rates: tuple[float, ...], names: Names, codecs: Names, figure: Path | None) -> None:
    """The table at the rates, and the figure, of LPIPS and DISTS beside the published curves, with it as PREFIX.md."""
    evaluations = [json.loads((folder / "results.json").read_text("utf-8")) for folder in folders]
    datasets = {one["photos"]["dataset"] for one in evaluations}
    if len(datasets) > 1:
        raise click.UsageError("these evaluations are of different photographs")
    parts = [[row for row in one["summary"] if not codecs or row["codec"] in codecs] for one in evaluations]
    reference = [p for p in published.curves() if p.dataset in datasets and p.label in published.GENERATIVE]
    lines = [line for rows in parts for line in lines_of(rows, names)]
    lines += [Line(f"{p.label} (published)", "", p.points) for p in reference]
    metrics = measured([dict.fromkeys(names, 0)])
    shown = {name: metrics[name] for name in names if name in metrics}
    cells = [
        [line.label, f"{bpp:g}", line.images, *(line.cell(name, metric, bpp) for name, metric in shown.items())]
        for bpp in sorted(rates)
        for line in lines
    ]
    cells = [row for row in cells if any(row[3:])]
    heads = ["codec", "bpp", "images", *(f"{metric.label} {ARROWS[metric.direction]}" for metric in shown.values())]
    table = markdown(
        TextTable(heads, cells, [MINIMISED_NOTE] * any(MINIMISED in cell for row in cells for cell in row))
    )
    click.echo(table, nl=False)
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(figure.with_name(f"{figure.name}.md"), table.encode())
        curves = series([row for rows in parts for row in rows])
        for look, path in plots.looks(figure):
            plots.draw_all(path, (11, 5.2), DRAWN, curves, reference, look, columns=2)


if __name__ == "__main__":
    main()
