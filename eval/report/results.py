"""What a run leaves behind for programs and people: results.json, results.csv, and every table in four formats."""

import json
import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from gencomp.files import write_atomically

from ..metrics.table import RATERS, Metric, by_votes, is_of_sets, measured
from ..run import sets
from ..run.comparable import comparable
from ..run.records import Record, load_all
from ..run.steps import Run, in_turn
from . import deltas, published, summary, tables

IMAGE_COLUMNS = ("image", "width", "height", "original", "source")
FORMAT = "gencomp-eval-2"


class Context(NamedTuple):
    """What the results say of the run itself.

    codecs: facts or an error by name; absent: why a metric is missing; images: names of the photographs that were
    asked for, which alone stand in the results; left_out: what their folders hold besides.
    """

    command: list[str]
    sources: list[str]
    codecs: Mapping[str, Mapping[str, Any]]
    absent: Mapping[str, str]
    anchor: str
    window: tuple[float, float] | None
    patch: int
    processes: int
    jobs: int
    images: set[str]
    left_out: str = ""


def collect(out: Path, context: Context, run: Run = in_turn) -> dict[str, Any]:
    """What the folder holds of the photographs asked for, made now or earlier, as one JSON-ready dictionary."""
    found = [record for record in load_all(out) if record.place.image in context.images]
    found.sort(key=lambda record: _order(record, context))
    groups = sets.groups(found)
    groups = {sets.key_of(r): groups[sets.key_of(r)] for r in found if sets.key_of(r) in groups}
    comparison = comparable(groups)
    rows = summary.summarise(out, comparison, context.patch, context.codecs)
    metrics = measured(rows)
    minimised = {name for row in rows for name in row["minimised"]}
    leading = by_votes(metrics, minimised)[:1]  # the first column of realism
    asked = [name for name in (*leading, "psnr") if name in metrics]
    images = {r.place.image: r for r in found if not r.row["error"]}
    return {
        "format": FORMAT,
        "gencomp": version("gencomp"),
        "command": context.command,
        "machine": _machine(context),
        "photos": {
            "sources": context.sources,
            "left_out": context.left_out,
            "dataset": published.dataset_of(list(images)),
            "images": [{k: images[i].row[k] for k in IMAGE_COLUMNS} for i in sorted(images)],
        },
        "codecs": context.codecs,
        "metrics": {
            name: {key: value for key, value in metric._asdict().items() if key != "make"}
            for name, metric in sorted(metrics.items(), key=lambda m: (m[1].of_realism, m[0] not in leading))
        },
        "not_measured": _not_measured(out, found, comparison.used, context),
        "left_out": [one._asdict() for one in comparison.left_out],
        "protocol": _protocol(context, metrics, leading),
        "summary": rows,
        "sets": [
            {key: row[key] for key in ("codec", "setting", "realism", "bpp", *filter(is_of_sets, row))} for row in rows
        ],
        "bd": deltas.deltas(rows, comparison.used, context.anchor, context.window, run),
        "answers": deltas.answers(rows, comparison.used, context.codecs, context.anchor, asked, context.window, run),
        "problems": summary.problems(found, context.codecs),
        "rows": [r.row | r.metrics for r in found],
    }


def _not_measured(
    out: Path, found: Sequence[Record], used: Mapping[sets.Key, list[Record]], context: Context
) -> dict[str, str]:
    """Why a metric is missing, by its name."""
    failures = Counter((name, why) for r in found for name, why in r.failed.items())
    of_sets = {
        name: f"not measured over the set: {why}"
        for members in used.values()
        for name, why in sets.load_set(out, members, context.patch).failed.items()
    }
    of_images = {name: f"not measured on {count} reconstructions: {why}" for (name, why), count in failures.items()}
    return dict(context.absent) | of_sets | of_images


def _order(record: Record, context: Context) -> tuple[Any, ...]:
    names = list(context.codecs)
    place = record.place
    known = names.index(place.codec) if place.codec in names else len(names)
    return known, place.codec, record.row["bpp"] is None, _number(place.setting), place.realism or 0.0, place.image


def _number(setting: str) -> float:
    """The number in a setting's name, to sort by."""
    return next((float(word) for word in setting.split() if word.replace(".", "", 1).replace("e-", "").isdigit()), 0.0)


def _machine(context: Context) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "system": f"{platform.system()} {platform.machine()}",
        "processes": context.processes,
        "jobs": context.jobs,
    }


def _protocol(context: Context, metrics: Mapping[str, Metric], leading: Sequence[str]) -> list[str]:
    window = f" within {context.window[0]:g} to {context.window[1]:g} bpp." if context.window else "."
    left_out = [f"Left out of the photographs: {context.left_out}."] if context.left_out else []
    return [
        *left_out,
        "Rates are sizes of files on disk, headers and all; every image is decoded from its file.",
        "Targets in bits per pixel are met image by image, by interpolation over the codec's own rate control: within "
        "2 %, or the row says why not. Targets in settings hold one setting for all images.",
        "Means, curves and deltas are over one set of images. Where a codec fails on an image, or its smallest or "
        "largest file is off the rate, either the image leaves all rates and codecs or the codec's point stands "
        "outside the comparison: whichever of the two misses the larger share of the other.",
        "Chroma format and bit depth are read from the files.",
        "Means over images are arithmetic; the mean MS-SSIM is turned into dB afterwards.",
        "The first measure of realism is the one that predicts most of people's votes (31 raters, 267 pairs; a rater "
        f"agrees with the majority of the others in {RATERS:.3f}) among those that no codec here has minimised"
        + (f": {metrics[leading[0]].label}, {metrics[leading[0]].votes:.3f}." if leading else "."),
        f"Patches for distances of features: the grid of {context.patch} pixels and the grid shifted by half of it, as "
        "HiFiC.",
        f"Intervals: 95 %, percentile bootstrap over images, {summary.RESAMPLES} resamples of a mean and "
        f"{deltas.RESAMPLES}, the same images for both codecs, of a Bjontegaard delta; p is the two-sided share of "
        "resamples on the other side of zero.",
        f"Bjontegaard deltas: PCHIP over log rate, over the overlap of the curves{window} On means: of the curves of "
        "means over the images that both codecs have at all their rates. Per image: the mean of each image's own.",
        "Seconds are wall clock, one image at a time in each worker, without the disk's; they depend on the machine "
        "and its load.",
    ]


def write(out: Path, results: Mapping[str, Any]) -> None:
    """results.json, results.csv and tables/ of an evaluation's folder."""
    write_atomically(out / "results.json", json.dumps(results, indent=1).encode())
    write_atomically(out / "results.csv", tables.rows_csv(results).encode())
    (out / "tables").mkdir(exist_ok=True)
    for name, text in tables.files(results).items():
        write_atomically(out / "tables" / name, text.encode())


def command_line() -> list[str]:
    """The command as it was given, without the place of the program."""
    return ["gencomp", *([] if Path(sys.argv[0]).name == "gencomp" else ["eval"]), *sys.argv[1:]]
