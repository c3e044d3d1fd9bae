"""What a run leaves behind: results.json, results.csv, a summary for people, plots, and the report's page."""

import csv
import io
import json
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from gencomp.files import write_atomically

from ..metrics import table as measures
from ..run import sets
from ..run.records import Cell, load_all
from . import published, summary

COLUMNS = ("image", "codec", "setting", "realism", "width", "height", "bytes", "bpp", "file", "original",
           "reconstruction")  # fmt: skip
LAST_COLUMNS = ("encode_s", "decode_s", "knob", "reached", "note", "error")
PHOTO_COLUMNS = ("image", "width", "height", "original", "source")
FORMAT = "gencomp-eval-1"


class Context(NamedTuple):
    """What the results say of the run itself. codecs: facts or an error by name; absent: why a measure is missing."""

    command: list[str]
    sources: list[str]
    codecs: dict[str, dict[str, Any]]
    absent: dict[str, str]
    anchor: str
    window: tuple[float, float] | None
    patch: int
    processes: int


def collect(out: Path, context: Context) -> dict[str, Any]:
    """Everything that the folder holds, this run's and earlier ones', as one JSON-ready dictionary."""
    found = sorted(load_all(out), key=lambda cell: _order(cell, context))
    groups = sets.groups(found)
    groups = {sets.group_key(c): groups[sets.group_key(c)] for c in found if sets.group_key(c) in groups}
    rows = summary.summarise(out, groups, context.patch)
    images = {c.place.image: c for c in found if not c.row["error"]}
    failures = Counter((name, why) for c in found for name, why in c.failed.items())
    set_failures = {
        name: f"not measured over the set: {why}"
        for members in groups.values()
        for name, why in sets.load_set(out, members, context.patch).failed.items()
    }
    return {
        "format": FORMAT,
        "gencomp": version("gencomp"),
        "command": context.command,
        "machine": _machine(context),
        "photos": {
            "sources": context.sources,
            "dataset": published.dataset_of(list(images)),
            "images": [{k: images[i].row[k] for k in PHOTO_COLUMNS} for i in sorted(images)],
        },
        "codecs": context.codecs,
        "metrics": {name: metric._asdict() for name, metric in measures.measured(rows).items()},
        "not_measured": context.absent
        | set_failures
        | {name: f"not measured on {count} reconstructions: {why}" for (name, why), count in failures.items()},
        "protocol": _protocol(context),
        "summary": rows,
        "sets": [{key: row[key] for key in ("codec", "setting", "realism", "bpp", *sets_of(row))} for row in rows],
        "bd": summary.deltas(rows, groups, context.anchor, context.window),
        "problems": summary.problems(found, context.codecs),
        "rows": [c.row | c.metrics for c in found],
    }


def sets_of(row: dict[str, Any]) -> list[str]:
    """The measures of the whole set in a summary's row."""
    return [k for k in row if k in ("swd",) or k.startswith(("fid", "kid"))]


def _order(cell: Cell, context: Context) -> tuple[Any, ...]:
    names = list(context.codecs)
    place = cell.place
    known = names.index(place.codec) if place.codec in names else len(names)
    return known, place.codec, cell.row["bpp"] is None, _number(place.setting), place.realism or 0.0, place.image


def _number(setting: str) -> float:
    """The number in a setting's name, to sort by."""
    return next((float(word) for word in setting.split() if word.replace(".", "", 1).replace("e-", "").isdigit()), 0.0)


def _machine(context: Context) -> dict[str, Any]:
    import torch

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": context.processes,
    }


def _protocol(context: Context) -> list[str]:
    window = context.window
    return [
        "Rates are sizes of files on disk, headers and all; every picture is decoded from its file.",
        "Targets in bits a pixel are met picture by picture, by bisection on the codec's own knob: within 2 %, or the "
        "row says why not. Targets in settings hold one setting for all pictures.",
        "Means over pictures are arithmetic; the mean MS-SSIM is turned into dB afterwards.",
        f"Patches for FID and KID: the grid of {context.patch} pixels and the grid shifted by half of it, as HiFiC.",
        f"Intervals: 95 %, percentile bootstrap over pictures, {summary.RESAMPLES} resamples of a mean and "
        f"{summary.DELTA_RESAMPLES}, the same pictures for both codecs, of a Bjontegaard delta.",
        "Bjontegaard deltas: PCHIP over log rate, on the means over pictures, over the overlap of the curves"
        + (f" within {window[0]:g} to {window[1]:g} bpp." if window else "."),
        "Seconds are wall clock, one picture at a time, without the disk's; they depend on the machine and its load.",
    ]


def write(out: Path, results: dict[str, Any]) -> None:
    """results.json, results.csv and summary.md of an evaluation's folder."""
    write_atomically(out / "results.json", json.dumps(results, indent=1).encode())
    write_atomically(out / "results.csv", table(results["rows"], list(results["metrics"])).encode())
    write_atomically(out / "summary.csv", summary_csv(results).encode())
    write_atomically(out / "summary.md", summary_md(results).encode())


def table(rows: Sequence[dict[str, Any]], metrics: Sequence[str]) -> str:
    """The rows as CSV, one for each picture, codec and setting."""
    per_picture = [m for m in metrics if any(m in row for row in rows)]
    columns = [*COLUMNS, *per_picture, *LAST_COLUMNS]
    return _csv(columns, rows)


def summary_csv(results: dict[str, Any]) -> str:
    """The means as CSV, each measure with the bounds of its interval."""
    rows = []
    for row in results["summary"]:
        given = {m: interval for m, interval in row["intervals"].items() if interval}
        rows.append(row | {f"{m}_low": i[0] for m, i in given.items()} | {f"{m}_high": i[1] for m, i in given.items()})
    metrics = [c for m in results["metrics"] for c in (m, f"{m}_low", f"{m}_high") if any(c in r for r in rows)]
    columns = ["codec", "setting", "realism", "pictures", "lacks", "reached", "bytes", "bpp"]
    return _csv([*columns, *metrics, "encode_s", "decode_s"], rows)


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


SHOWN = {"psnr": "{:.2f}", "ms_ssim": "{:.4f}", "lpips_alex": "{:.4f}", "dists": "{:.4f}", "fid": "{:.2f}",
         "swd": "{:.1f}", "texture_error": "{:.2f}", "band_energy": "{:.2f}", "regular_grain": "{:.2f}"}  # fmt: skip


def summary_md(results: dict[str, Any]) -> str:
    """The means as a Markdown table. A rate that was not reached on every picture has a star."""
    metrics = [m for m in SHOWN if m in results["metrics"]]
    realism = any(row["realism"] is not None for row in results["summary"])
    heads = ["codec", *(["realism"] if realism else []), "asked for", "bpp"]
    heads += [_head(results["metrics"][m]) for m in metrics] + ["encode s", "decode s"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in results["summary"]:
        star = "" if row["reached"] == row["pictures"] else "*"
        cells = [row["codec"], *([f"{row['realism']:g}" if row["realism"] is not None else ""] if realism else [])]
        cells += [row["setting"] + ("‡" if row["lacks"] else ""), f"{row['bpp']:.3f}{star}"]
        cells += [SHOWN[m].format(row[m]) + ("†" if m in row["fewer"] else "") if m in row else "" for m in metrics]
        cells += [f"{row['encode_s']:.3f}", f"{row['decode_s']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    if any(row["reached"] != row["pictures"] for row in results["summary"]):
        lines += ["", "\\* not every picture came within 2 % of the rate: the nearest setting was taken."]
    if any(row["fewer"] for row in results["summary"]):
        lines += ["", "† without the pictures that this measure cannot take."]
    if any(row["lacks"] for row in results["summary"]):
        lines += ["", "‡ over fewer pictures than other rows, with which it does not compare."]
    return "\n".join(lines) + "\n"


def summary_text(results: dict[str, Any]) -> str:
    """The means as aligned columns for a terminal."""
    lines = [line for line in summary_md(results).splitlines() if not line.startswith("|---")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join(table + [line.replace("\\", "") for line in lines if not line.startswith("|")])


def _head(metric: dict[str, Any]) -> str:
    unit = f" {metric['unit']}" if metric["unit"] else ""
    arrow = {"more": "↑", "less": "↓", "one": "→1"}[metric["better"]]
    return f"{metric['label']}{unit} {arrow}"


def command_line() -> list[str]:
    """The command as it was given, without the place of the program."""
    return ["gencomp", "eval", *sys.argv[(2 if Path(sys.argv[0]).name == "gencomp" else 1) :]]
