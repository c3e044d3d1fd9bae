"""What a run leaves behind for programs and people: results.json, results.csv, and every table in four formats."""

import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..metrics.table import RATERS, Metric, by_votes, is_of_sets, measured
from ..run import records, sets
from ..run.crew import Run, in_turn
from ..run.records import EvaluationOptions, Record
from ..run.sets import comparable
from . import deltas, published, summary, tables

IMAGE_COLUMNS = ("image", "width", "height", "original", "source")
FORMAT = "gencomp-eval-2"
Facts = Mapping[str, Mapping[str, Any]]


def collect(
    options: EvaluationOptions,
    found: Sequence[Record],
    codecs: Facts,
    absent: Mapping[str, str],
    processes: int = 1,
    run: Run = in_turn,
) -> dict[str, Any]:
    """What is known of the photographs asked for, made now or earlier, as one JSON-ready dictionary. found: their
    records; codecs: facts or an error by name; absent: why a metric is missing."""
    found = sorted(found, key=lambda record: _order(record, list(codecs)))
    groups = sets.groups(found)
    groups = {key: groups[key] for key in (sets.key_of(r.row) for r in found) if key in groups}
    comparison = comparable(groups)
    of_sets = {key: sets.load_set(options.out, used, options.patch) for key, used in comparison.used.items()}
    rows = summary.summarise(comparison, of_sets, codecs)
    metrics = measured(rows)
    minimised = {name for row in rows for name in row["minimised"]}
    leading = by_votes(metrics, minimised)[:1]  # the first column of realism
    asked = [name for name in (*leading, "psnr") if name in metrics]
    images = {r.place.image: r for r in found if not r.row["error"]}
    photos = {"sources": options.sources, "left_out": options.left_out, "dataset": published.dataset_of(list(images))}
    machine = {"torch": version("torch"), "processes": processes, "jobs": max(1, options.jobs)}
    machine |= {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    return {
        "format": FORMAT,
        "gencomp": version("gencomp"),
        "command": ["gencomp", *([] if Path(sys.argv[0]).name == "gencomp" else ["eval"]), *sys.argv[1:]],
        "machine": machine,
        "photos": photos | {"images": [{k: images[i].row[k] for k in IMAGE_COLUMNS} for i in sorted(images)]},
        "codecs": codecs,
        "metrics": {
            name: {key: value for key, value in metric._asdict().items() if key != "make"}
            for name, metric in sorted(metrics.items(), key=lambda m: (m[1].of_realism, m[0] not in leading))
        },
        "not_measured": _not_measured(found, of_sets.values(), absent),
        "left_out": comparison.left_out,
        "protocol": _protocol(options, metrics, leading),
        "summary": rows,
        "sets": [{k: row[k] for k in ("codec", "setting", "realism", "bpp", *filter(is_of_sets, row))} for row in rows],
        "bd": deltas.deltas(rows, comparison.used, options.anchor, options.window, run),
        "answers": deltas.answers(rows, comparison.used, codecs, options.anchor, asked, options.window, run),
        "problems": summary.problems(found, codecs),
        "rows": [r.row | r.metrics for r in found],
    }


def _not_measured(
    found: Sequence[Record], of_sets: Iterable[sets.SetMetrics], absent: Mapping[str, str]
) -> dict[str, str]:
    failures = Counter((name, why) for r in found for name, why in r.failed.items())
    over_sets = {name: f"not measured over the set: {why}" for one in of_sets for name, why in one.failed.items()}
    of_images = {name: f"not measured on {count} reconstructions: {why}" for (name, why), count in failures.items()}
    return {**absent, **over_sets, **of_images}


def _order(record: Record, codecs: list[str]) -> tuple[Any, ...]:
    place = record.place
    known = codecs.index(place.codec) if place.codec in codecs else len(codecs)
    number = re.search(r"(?<!\S)\d+(\.\d+)?(e-\d+)?(?!\S)", place.setting)
    setting = float(number[0]) if number else 0.0
    return known, place.codec, record.row["bpp"] is None, setting, place.realism or 0.0, place.image


def _protocol(options: EvaluationOptions, metrics: Mapping[str, Metric], leading: Sequence[str]) -> list[str]:
    window = f" within {options.window[0]:g} to {options.window[1]:g} bpp." if options.window else "."
    left_out = [f"Left out of the photographs: {options.left_out}."] if options.left_out else []
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
        f"Patches for distances of features: the grid of {options.patch} pixels and the grid shifted by half of it, as "
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
    records.write_json(out / "results.json", results)
    records.write(out / "results.csv", tables.rows_csv(results).encode())
    for name, text in tables.files(results).items():
        records.write(out / "tables" / name, text.encode())
