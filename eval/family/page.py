"""One page for the family, whole in its folder: curves, a table, history's order, crops, and a line for each idea."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from gencomp.files import write_atomically
from gencomp.texts import script_json

from ..report.page import template
from ..report.plots import COLOURS, OTHERS, draw_all, looks
from ..report.summary import series
from .crops import SamePlace
from .measure import CLASSICAL, FamilyResults
from .plan import FamilySettings
from .rungs import rung
from .standings import Sentence, Standing, beside

# Hues for rungs, greys for the classical codecs; both stand on white and on black.
RUNG_COLOURS = {
    "autoencoder": "#a17c50", "vae": "#cf86bd", "theis2017": "#7a97e0", "balle2017": "#32a79d", "balle2018": "#43a047",
    "minnen2018": "#1a7fdc", "santurkar2018": "#a45bd6", "hybrid": "#c9a227", "light": "#8aa02a", "base": "#e07b00",
    "gan": "#e5394d", "jpeg": "#b2b2ae", "webp": "#8d8d8a", "avif": "#6b6f74",
}  # fmt: skip
VERDICTS = {"holds": "as in history", "open": "not resolved", "reversed": "the other way round", "refused": "no answer"}


class Content(NamedTuple):
    """All that the page shows."""

    settings: FamilySettings
    found: FamilyResults
    lines: Sequence[Standing]
    history: Sequence[Sentence]
    crops: Sequence[SamePlace]
    bpp: float
    skipped: Mapping[str, str]
    command: str
    machine: str
    on_cpu: bool


_CURVES = [f"curves{look}{kind}" for look in ("", "-dark") for kind in (".svg", ".pdf", ".png")]
FILES = ("index.html", "family.json", "crops", *_CURVES)
"""What stands in the folder of the page."""


def write(out: Path, content: Content) -> Path:
    """Write index.html, its figures and its numbers into a folder that can be moved or sent as it is."""
    out.mkdir(parents=True, exist_ok=True)
    figure(out / "curves", content)
    write_atomically(out / "family.json", json.dumps(summary(content), indent=1).encode())
    path = out / "index.html"
    write_atomically(path, page(content).encode())
    return path


def colours_of(codecs: Sequence[str]) -> dict[str, str]:
    """A colour for each codec; recipes that are no rungs take what is left."""
    strangers = [name for name in codecs if name not in RUNG_COLOURS]
    others = {name: OTHERS[k % len(OTHERS)] for k, name in enumerate(strangers)}
    return {name: RUNG_COLOURS.get(name) or COLOURS.get(name) or others[name] for name in codecs}


def figure(prefix: Path, content: Content) -> None:
    """Rate against PSNR and MS-SSIM, for light pages and for dark."""
    rows, colours = content.found.results["summary"], colours_of(content.found.codecs)
    metrics = [name for name in ("psnr", "ms_ssim") if any(name in row for row in rows)]
    for look, path in looks(prefix):
        draw_all(path, (5.6 * len(metrics), 5.2), metrics, series(rows), (), look, len(metrics), colours)


def page(content: Content) -> str:
    """The page's text."""
    colours = colours_of(content.found.codecs)
    files = importlib.resources.files("gencomp.eval.family").joinpath("templates")
    shown = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    shown.filters |= {"percent": percent, "number": number}
    results = content.found.results
    data = {"summary": results["summary"], "metrics": results["metrics"], "colours": colours}
    data |= {"published": [], "rows": [], "photos": {"images": [], "dataset": None}}
    known = {"colours": colours, "verdicts": VERDICTS, "metrics": results["metrics"], "anchor": content.found.anchor}
    return shown.from_string((files / "family.html").read_text("utf-8")).render(
        known,
        c=content,
        classical=beside(content.found, [name for name in CLASSICAL if name in colours], content.bpp),
        photo_count=len(content.found.photos),
        rungs=list(dict.fromkeys(line.rung for line in content.lines)),
        skipped=[(rung(name), why) for name, why in content.skipped.items()],
        style=template("report.css") + (files / "family.css").read_text("utf-8"),
        script="\n".join([template("report.js"), template("chart.js"), (files / "family.js").read_text("utf-8")]),
        data=script_json(data),
    )


def percent(delta: Mapping[str, Any] | None) -> str:
    """A BD-rate with its interval, a refusal, or a dash."""
    if delta is None:
        return "–"
    if "refused" in delta:
        return f"refused: {delta['refused']}"
    interval = delta.get("interval")
    bounds = f" ({interval[0]:+.1f} to {interval[1]:+.1f})" if interval else ""
    return f"{delta['value']:+.1f} %{bounds}"


def number(value: float | None, digits: int = 0) -> str:
    """A number for a table, or a dash."""
    return "–" if value is None else f"{value:,.{digits}f}"


def summary(content: Content) -> dict[str, Any]:
    """The page's numbers for a program."""
    lines = []
    for line in content.lines:
        deltas = {"bd_rate_psnr": line.values.psnr_delta, "bd_rate_ms_ssim": line.values.ms_ssim_delta}
        at = {"at_common_rate": line.values.at_rate}
        lines.append(
            {"rung": line.rung.name, "curve": line.label, **line.spent._asdict(), **line.facts, **deltas, **at}
        )
    whole = {"settings": content.settings._asdict(), "anchor": content.found.anchor, "common_rate_bpp": content.bpp}
    whole |= {"command": content.command, "rungs": lines, "history": [one._asdict() for one in content.history]}
    return whole | {"skipped": dict(content.skipped), "summary": content.found.results["summary"]}
