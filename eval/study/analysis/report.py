"""The analysis on disk: analysis.json, tables as CSV, figures, and index.html that opens without a server."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from gencomp.files import write_atomically
from gencomp.texts import csv_text

from .analyse import Analysis, plain, to_json
from .graded import Graded
from .graded import to_json as graded_json
from .model_fit import p_value
from .plots import draw, draw_graded

FILES = (
    "index.html",
    "analysis.json",
    "answers.json",
    *(
        f"{name}.csv"
        for name in ("scores", "differences", "wins", "images", "equal_quality", "metrics", "raters", "outliers")
    ),
    *(f"{name}.{kind}" for name in ("scores", "rates", "metrics") for kind in ("png", "svg")),
)
"""All that an analysis may write."""
INTERVALS = ("interval", "jod_interval", "dmos_interval")


def write(analysis: Analysis, folder: Path, images: Path | None = None) -> Path:
    """Write everything to folder (made if missing) and return the page's path. images: the study's, for the page."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = to_json(analysis)
    for name, rows in tables(analysis, whole).items():
        write_atomically(folder / f"{name}.csv", to_csv(rows).encode())
    write_atomically(folder / "analysis.json", (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode())
    figures = draw(analysis, folder)
    page = folder / "index.html"
    write_atomically(page, render(analysis, whole, figures, _address(images, folder)).encode())
    return page


def write_graded(found: Graded, folder: Path, images: Path | None = None) -> Path:
    """The same for ratings."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = graded_json(found)
    rows = {name: whole[name] for name in ("scores", "differences", "images")}
    rows |= {"raters": whole["rater_table"], "outliers": whole["outlier_table"]}
    rows["metrics"] = [_flat(m) for m in whole["metrics"]]
    for name, table in rows.items():
        write_atomically(folder / f"{name}.csv", to_csv(table).encode())
    write_atomically(folder / "analysis.json", (json.dumps(whole, indent=1, allow_nan=False) + "\n").encode())
    page = folder / "index.html"
    text = (
        _templates()
        .get_template("graded.html")
        .render(
            whole=whole,
            study=found.study,
            figures=draw_graded(found, folder),
            ranked=sorted(whole["scores"], key=lambda s: -s["mos"]),
            unscreened={s["condition"]: s for s in whole["scores_without_screening"]},
            by_image={(row["scene"], row["condition"]): row for row in whole["images"]},
            metrics=_metric_rows(whole),
            outliers={row["rater"]: row for row in whole["outlier_table"]},
            dropped=[r for r in whole["rater_table"] if not r["kept"]],
            pictures=_address(images, folder),
        )
    )
    write_atomically(page, text.encode())
    return page


def _address(images: Path | None, folder: Path) -> str:
    """Where the page finds the study's images; "" for a page without."""
    return "" if images is None else quote(Path(os.path.relpath(images, folder)).as_posix())


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = number
    templates.filters["ends"] = ends
    templates.filters["p_value"] = p_value
    return templates


def tables(analysis: Analysis, whole: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    names = whole["wins"]["conditions"]
    wins = [
        {"condition": name} | dict(zip(names, row, strict=True))
        for name, row in zip(names, whole["wins"]["table"], strict=True)
    ]
    return {
        "scores": whole["scores"],
        "differences": whole["differences"],
        "wins": wins,
        "images": whole["images"],
        "equal_quality": whole["equal_quality"],
        "metrics": [_flat(m) for m in whole["metrics"]],
        "raters": [plain(r) for r in analysis.raters],
    }


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with one line a row; an interval becomes the two columns low and high."""
    wide = [_ends(row) for row in rows]
    return csv_text(list(wide[0]) if wide else [], wide)


def render(analysis: Analysis, whole: Mapping[str, Any], figures: Sequence[str], pictures: str = "") -> str:
    ranked = sorted(whole["scores"], key=lambda s: -s["elo"])
    plain_scores = {s["condition"]: s for s in whole["scores_without_screening"]}
    return (
        _templates()
        .get_template("analysis.html")
        .render(
            whole=whole,
            study=analysis.study,
            ranked=ranked,
            unscreened=plain_scores,
            figures=figures,
            pictures=pictures,
            wins=_win_cells(whole, [s["condition"] for s in ranked]),
            metrics=_metric_rows(whole),
            by_image={(row["scene"], row["condition"]): row for row in whole["images"]},
            dropped=[r for r in whole["rater_table"] if not r["kept"]],
        )
    )


def number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def ends(interval: Sequence[float] | None, digits: int = 0, scale: float = 1) -> str:
    return (
        "–" if interval is None else f"{number(interval[0] * scale, digits)} to {number(interval[1] * scale, digits)}"
    )


def _win_cells(whole: Mapping[str, Any], order: Sequence[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """For each condition, how often it was preferred to each other one; shade 0..100 for the page."""
    names, table = whole["wins"]["conditions"], whole["wins"]["table"]
    rows = []
    for a in order:
        cells = []
        for b in order:
            won, lost = table[names.index(a)][names.index(b)], table[names.index(b)][names.index(a)]
            share = won / (won + lost) if won + lost else None
            cells.append(
                {
                    "same": a == b,
                    "share": share,
                    "won": won,
                    "votes": won + lost,
                    "shade": round(20 * share) * 5 if share is not None else None,
                }
            )
        rows.append((a, cells))
    return rows


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
