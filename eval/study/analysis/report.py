"""The analysis on disk: analysis.json, tables as CSV, figures, and index.html that opens without a server."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from gencomp.files import write_atomically
from gencomp.texts import csv_text

from ..bradley_terry import p_value
from ..plan import Study
from .plots import draw

_TABLES = ("scores", "differences", "wins", "images", "equal_quality", "metrics", "raters", "outliers")
_FIGURES = [f"{name}.{kind}" for name in ("scores", "rates", "metrics") for kind in ("png", "svg")]
FILES = ("index.html", "analysis.json", "answers.json", *(f"{name}.csv" for name in _TABLES), *_FIGURES)
"""All that an analysis may write."""
INTERVALS = ("interval", "jod_interval", "dmos_interval")


def write(study: Study, whole: Mapping[str, Any], folder: Path, images: Path | None = None) -> Path:
    """Write everything of `analyse` to folder (made if missing) and return the page's path. images: the study's, for
    the page."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = {name: whole[name] for name in ("scores", "differences", "images", "equal_quality") if name in whole}
    rows |= {"metrics": [_flat(m) for m in whole["metrics"]], "raters": whole["rater_table"]}
    if pairs := study.task == "pairs":
        names, table = whole["wins"].values()
        rows["wins"] = [{"condition": name} | dict(zip(names, row)) for name, row in zip(names, table, strict=True)]
    else:
        rows["outliers"] = whole["outlier_table"]
    for name, table in rows.items():
        write_atomically(folder / f"{name}.csv", to_csv(table).encode())
    write_atomically(folder / "analysis.json", (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode())
    page = folder / "index.html"
    pictures = "" if images is None else quote(Path(os.path.relpath(images, folder)).as_posix())
    template = "analysis.html" if pairs else "graded.html"
    write_atomically(page, render(template, whole, study=study, figures=draw(whole, folder), pictures=pictures))
    return page


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with one line a row; an interval becomes the two columns low and high."""
    wide = [_ends(row) for row in rows]
    return csv_text(list(wide[0]) if wide else [], wide)


def render(template: str, whole: Mapping[str, Any], **more: Any) -> bytes:
    ranked = sorted(whole["scores"], key=lambda s: -s["elo" if "elo" in s else "mos"])
    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    templates = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.filters |= {"number": number, "ends": ends, "p_value": p_value}
    text = templates.get_template(template).render(
        {"whole": whole, "ranked": ranked, **more},
        unscreened={s["condition"]: s for s in whole["scores_without_screening"]},
        by_image={(row["scene"], row["condition"]): row for row in whole["images"]},
        metrics=_metric_rows(whole),
        dropped=[r for r in whole["rater_table"] if not r["kept"]],
        wins=_win_cells(whole, [s["condition"] for s in ranked]) if "wins" in whole else [],
        outliers={row["rater"]: row for row in whole.get("outlier_table", ())},
    )
    return text.encode()


def number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def ends(interval: Sequence[float] | None, digits: int = 0, scale: float = 1) -> str:
    return "–" if interval is None else " to ".join(number(end * scale, digits) for end in interval)


def _win_cells(whole: Mapping[str, Any], order: Sequence[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """For each condition, how often it was preferred to each other one; shade 0..100 for the page."""
    names, table = whole["wins"]["conditions"], whole["wins"]["table"]

    def cell(a: int, b: int) -> dict[str, Any]:
        won, votes = table[a][b], table[a][b] + table[b][a]
        share = won / votes if votes else None
        shade = None if share is None else round(20 * share) * 5
        return {"same": a == b, "share": share, "won": won, "votes": votes, "shade": shade}

    places = [names.index(name) for name in order]
    return [(names[a], [cell(a, b) for b in places]) for a in places]


def _metric_rows(whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a metric with all its levels, best predictor of votes first."""
    rows: dict[str, dict[str, Any]] = {}
    for m in whole["metrics"]:
        rows.setdefault(m["metric"], {"metric": m["metric"]})[m["level"]] = m

    def predicts(row: Mapping[str, Any]) -> float:
        value = row.get("votes", {}).get("predicts", {}).get("value")
        return -1.0 if value is None else float(value)

    return sorted(rows.values(), key=predicts, reverse=True)


def _flat(metric: Mapping[str, Any]) -> dict[str, Any]:
    row = {key: metric[key] for key in ("metric", "level", "n")}
    for name in ("pearson", "spearman", "kendall", "predicts"):
        held = metric[name] or {"value": None, "interval": None}
        row[name] = held["value"]
        row[f"{name}_low"], row[f"{name}_high"] = held["interval"] or (None, None)
    return row


def _ends(row: Mapping[str, Any]) -> dict[str, Any]:
    wide: dict[str, Any] = {}
    for key, value in row.items():
        if key in INTERVALS:
            name = key.removesuffix("interval")
            wide[f"{name}low"], wide[f"{name}high"] = value or (None, None)
        else:
            wide[key] = value
    return wide
