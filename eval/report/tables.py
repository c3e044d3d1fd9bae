"""The tables of an evaluation as CSV, Markdown, LaTeX and JSON: means, deltas on means and per image, single images."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gencomp.texts import csv_text

from ..metrics.table import metric_of
from .deltas import FEWEST, Window

FIRST_COLUMNS = ("image", "codec", "setting", "realism", "width", "height", "bytes", "bpp", "sample_format", "file",
                 "original", "reconstruction")  # fmt: skip
LAST_COLUMNS = ("encode_s", "decode_s", "rate_control", "rate", "reached", "note", "error")
MINIMISED = "¶"
MINIMISED_NOTE = f"{MINIMISED} what the codec, its training or its refinement minimised."
ARROWS = {"higher": "↑", "lower": "↓"}
Results = Mapping[str, Any]


class TextTable(NamedTuple):
    """A table for people: heads, rows of text, and lines below it."""

    heads: list[str]
    rows: list[list[str]]
    notes: list[str]


def files(results: Results) -> dict[str, str]:
    """Every file of tables/ by its name."""
    means, bd = means_table(results), deltas_table(results)
    return {
        "means.csv": means_csv(results),
        "means.md": markdown(means),
        "means.tex": latex(means),
        "means.json": json.dumps(results["summary"], indent=1),
        "deltas.csv": deltas_csv(results),
        "deltas.md": markdown(bd),
        "deltas.tex": latex(bd),
        "deltas.json": json.dumps(results["bd"], indent=1),
        "images.csv": rows_csv(results),
        "images.json": json.dumps(results["rows"], indent=1),
    }


def rows_csv(results: Results) -> str:
    """One row for each image, codec, setting and realism."""
    per_image = [m for m in results["metrics"] if any(m in row for row in results["rows"])]
    return csv_text([*FIRST_COLUMNS, *per_image, *LAST_COLUMNS], results["rows"])


def means_csv(results: Results) -> str:
    """The means, each metric with the bounds of its interval."""
    rows = []
    for row in results["summary"]:
        given = {m: interval for m, interval in row["intervals"].items() if interval}
        bounds = {f"{m}_{end}": i[k] for m, i in given.items() for k, end in enumerate(("low", "high"))}
        rows.append(row | {"minimised": " ".join(row["minimised"])} | bounds)
    metrics = [c for m in results["metrics"] for c in (m, f"{m}_low", f"{m}_high") if any(c in r for r in rows)]
    columns = ["codec", "setting", "realism", "sample_format", "images", "left_out", "unable", "reached",
               "bytes", "bpp", "minimised"]  # fmt: skip
    return csv_text([*columns, *metrics, "encode_s", "decode_s"], rows)


def deltas_csv(results: Results) -> str:
    """The deltas on means and per image, one row for each codec and metric."""
    rows = []
    for one in results["bd"]:
        row = {key: one[key] for key in ("codec", "anchor", "kind", "metric", "images")}
        row |= dict(zip(("window_low", "window_high"), one["window"] or ()))
        for axis in ("rate", "quality"):
            delta = one[axis]
            row |= {f"{axis}_{key}": delta.get(key) for key in ("value", "low", "high", "share", "p", "refused")}
            row |= dict(zip((f"{axis}_interval_low", f"{axis}_interval_high"), delta.get("interval") or ()))
        single = one["per_image"]
        row |= {f"per_image_{key}": single.get(key) for key in ("images", "refused", "mean", "median", "fewer_bits")}
        row |= dict(zip(("per_image_interval_low", "per_image_interval_high"), single.get("interval") or ()))
        rows.append(row)
    return csv_text(list(dict.fromkeys(key for row in rows for key in row)), rows)


def means_table(results: Results) -> TextTable:
    """The headline metrics' means. Marks say what stands behind a number that is not like the others."""
    metrics = {n: m for n, m in results["metrics"].items() if m["headline"]}
    rows = results["summary"]
    realism = any(row["realism"] is not None for row in rows)
    heads = ["codec", *(["realism"] if realism else []), "asked for", "bpp"]
    heads += [" ".join(filter(None, (m["label"], m["unit"], ARROWS[m["direction"]]))) for m in metrics.values()]
    heads += ["encode s", "decode s"]
    lines = []
    for row in rows:
        line = [row["codec"], *([f"{row['realism']:g}" if row["realism"] is not None else ""] if realism else [])]
        line += [row["setting"] + ("§" if row["unable"] else "")]
        line += [f"{row['bpp']:.3f}" + ("" if row["reached"] == row["images"] else "*")]
        line += [_number(row, name) for name in metrics]
        lines.append([*line, f"{row['encode_s']:.3f}", f"{row['decode_s']:.3f}"])
    return TextTable(heads, lines, _notes(results))


def _notes(results: Results) -> list[str]:
    rows = results["summary"]
    marks = {
        "* not all images came within 2 % of the rate: the nearest was taken.": lambda r: r["reached"] != r["images"],
        "† without the images that this metric cannot take.": lambda r: r["fewer"],
        f"{MINIMISED} what this codec, its training or its refinement minimised.": lambda r: r["minimised"],
        "§ not all of the images could be coded so: outside curves and deltas.": lambda r: r["unable"],
    }
    lines = [text for text, is_marked in marks.items() if any(map(is_marked, rows))]
    gone: dict[str, list[str]] = {}
    for one in results["left_out"]:
        gone.setdefault(one["image"], []).append(f"{', '.join(one['codecs'])} cannot at {one['setting']}")
    names = ", ".join(f"{image} ({'; '.join(why)})" for image, why in gone.items())
    count = f"{len(gone)} image{'s' if len(gone) > 1 else ''}"
    return [*lines, f"{count} left out for all codecs at all rates: {names}."] if gone else lines


def _number(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return ""
    marks = "†" * (name in row["fewer"]) + MINIMISED * (name in row["minimised"])
    return f"{row[name]:.{metric_of(name).digits}f}{marks}"


def deltas_table(results: Results) -> TextTable:
    """Bits for equal quality, a row for each codec: on means, with interval and p, and the mean of single images."""
    found = results["bd"]
    metrics = list(dict.fromkeys(one["metric"] for one in found))
    curves = list(dict.fromkeys((one["codec"], one["kind"]) for one in found))
    by = {(one["codec"], one["kind"], one["metric"]): one for one in found}
    lower = [results["metrics"][metric]["direction"] == "lower" for metric in metrics]
    rows = []
    for codec, kind in curves:
        name = codec + (", one setting" if kind == "setting" else "")
        entries = [by.get((codec, kind, metric)) for metric in metrics]
        rows.append([name, "on means", *(_rate_of_means(one) if one else "" for one in entries)])
        rows.append(["", "per image", *(_rate_per_image(one) if one else "" for one in entries)])
        rows.append(["", "overlap", *(_overlap(one, down) if one else "" for one, down in zip(entries, lower))])
    heads = ["codec", "BD-rate", *(results["metrics"][metric]["label"] for metric in metrics)]
    return TextTable(heads, rows, _delta_notes(found) if found else [])


def _delta_notes(found: Sequence[Mapping[str, Any]]) -> list[str]:
    window: Window = found[0]["window"]
    counts = sorted({str(one["images"]) for one in found if one["images"]}, key=int) or ["0"]
    return ([MINIMISED_NOTE] if any(one["minimised"] for one in found) else []) + [
        f"Bits for equal quality against {found[0]['anchor']}, "
        + (f"over {window[0]:g} to {window[1]:g} bpp" if window else "over the whole of both curves")
        + f"; {' or '.join(counts)} images. Negative: fewer bits. In brackets the 95 % interval over images, "
        f"from {FEWEST} images on.",
        "Overlap: the range of quality over which both curves are compared, and its share of their span.",
    ]


def _rate_of_means(one: Mapping[str, Any]) -> str:
    rate, mark = one["rate"], MINIMISED if one["minimised"] else ""
    if "refused" in rate:
        return f"refused: {rate['refused']}"
    if rate["interval"] is None or one["images"] < FEWEST:
        return f"{rate['value']:+.1f} %{mark}, no interval"
    p = ", p < 0.01" if rate["p"] < 0.01 else f", p = {rate['p']:.2f}"
    return f"{rate['value']:+.1f} %" + _bounds(rate["interval"]) + p + mark


def _rate_per_image(one: Mapping[str, Any]) -> str:
    single = one["per_image"]
    if not single["images"]:
        return ""
    interval = single["interval"] if one["images"] >= FEWEST else None
    text = f"{single['mean']:+.1f} %{_bounds(interval)}, fewer bits on {single['fewer_bits']}"
    return f"{text} of {single['images']}" + (f" ({single['refused']} refused)" if single["refused"] else "")


def _overlap(one: Mapping[str, Any], lower_is_better: bool) -> str:
    """The range of quality of a delta on means, in the metric's own values (dB for similarities)."""
    rate = one["rate"]
    if "refused" in rate:
        return ""
    low, high = (rate["low"], rate["high"]) if not lower_is_better else (-rate["high"], -rate["low"])
    return f"{low:.4g} to {high:.4g}, {100 * rate['share']:.0f} %"


def _bounds(interval: Sequence[float] | None) -> str:
    return f" [{interval[0]:+.1f}, {interval[1]:+.1f}]" if interval else ""


def markdown(table: TextTable) -> str:
    """A table as Markdown, its notes below."""
    lines = ["| " + " | ".join(table.heads) + " |", "|" + "---|" * len(table.heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table.rows]
    for note in table.notes:
        lines += ["", note.replace("*", "\\*", 1) if note.startswith("*") else note]
    return "\n".join(lines) + "\n"


_LATEX = {"\\": r"\textbackslash{}", "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
          "→": r"$\to$", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "<": r"$<$"}  # fmt: skip


def latex(table: TextTable) -> str:
    """A table as a LaTeX tabular of the booktabs package, its notes as comments above."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in cells) + r" \\"

    head = [f"% {note}" for note in table.notes] + [rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}"]
    body = [r"\toprule", line(table.heads), r"\midrule", *map(line, table.rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(head + body) + "\n"


def text(table: TextTable) -> str:
    """A table as aligned columns for a terminal."""
    rows = [table.heads, *table.rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(table.heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(lines + table.notes)
