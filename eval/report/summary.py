"""From records to means with intervals, curves, and problems."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..metrics.table import METRICS, decibels
from ..run.records import Record
from ..run.sets import Comparison, Key, SetMetrics, is_rate
from .curves import mean_interval

RESAMPLES = 1000


class Series(NamedTuple):
    """Operating points that form one curve: one codec at one realism, by rate matched or by one setting for all."""

    codec: str
    realism: float | None
    kind: str  # "bpp" or "setting"
    rows: list[Mapping[str, Any]]  # of the summary, ascending in mean rate

    @property
    def label(self) -> str:
        return self.codec if self.realism is None else f"{self.codec}, realism {self.realism:g}"

    def points(self, name: str) -> list[tuple[float, float]]:
        """(bpp, value) of a metric wherever it was measured."""
        return [(row["bpp"], row[name]) for row in self.rows if name in row]


def summarise(
    comparison: Comparison, of_sets: Mapping[Key, SetMetrics], codecs: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each operating point: arithmetic means over its images, 95 % intervals, metrics of the set.

    The rows are over one set of images, and so is each metric: over those images at which every row has it. `fewer`
    holds the number of images behind a metric that leaves some out, such as those too small for it; `left_out` counts
    images outside the set; `unable` marks a point outside the comparison, which lacks images of the set or is off its
    rate on some; `minimised` names the metrics that the codec, its training or its refinement minimised.
    """
    rows = []
    gone = {one["image"] for one in comparison.left_out}
    having = {name: _having(name, comparison) for name in METRICS}
    for key, members in comparison.used.items():
        codec, setting, realism = key
        row: dict[str, Any] = {"codec": codec, "setting": setting, "realism": realism, "images": len(members)}
        row |= {"left_out": len(gone), "unable": key in comparison.unable}
        row["reached"] = sum(r.row["rate"] == "reached" for r in members)
        for name in ("bytes", "bpp", "encode_s", "decode_s"):
            row[name] = float(np.mean([r.row[name] for r in members]))
        row["sample_format"] = ", ".join(sorted({r.row["sample_format"] for r in members} - {""}))
        intervals, fewer = {}, {}
        for name, images in having.items():
            values = np.array([r.metrics[name] for r in members if name in r.metrics and r.place.image in images])
            if not len(values):
                continue
            row[name] = float(values.mean())
            intervals[name] = mean_interval(values, RESAMPLES)
            if len(values) < len(members):
                fewer[name] = len(values)
        row |= {**of_sets[key].metrics, "intervals": intervals, "fewer": fewer}
        rows.append({**row, "minimised": [m for m in codecs.get(codec, {}).get("minimised", ()) if m in row]})
    for row in rows:
        row |= {f"{m.name}_db": decibels(row[m.name]) for m in METRICS.values() if m.in_decibels and m.name in row}
    return rows


def _having(name: str, comparison: Comparison) -> set[str]:
    """The images on which every point of the comparison that has a metric has it."""
    points = [members for key, members in comparison.used.items() if key not in comparison.unable]
    found = [{r.place.image for r in members if name in r.metrics} for members in points]
    return set.intersection(*filter(None, found)) if any(found) else set()


def series(rows: Sequence[Mapping[str, Any]]) -> list[Series]:
    """The curves that the operating points form, in the order in which the codecs first appear. A codec has no point at
    a rate that it cannot do."""
    found: dict[tuple[str, float | None, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        if not row.get("unable"):
            kind = "bpp" if is_rate(row["setting"]) else "setting"
            found.setdefault((row["codec"], row["realism"], kind), []).append(row)
    return [Series(*key, sorted(points, key=lambda row: row["bpp"])) for key, points in found.items()]


def problems(found: Sequence[Record], codecs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """What went wrong, one entry each: codecs that are missing, images that failed, rows of two versions."""
    wrong = [{"codec": name, "image": "", "what": of["error"]} for name, of in codecs.items() if "error" in of]
    unread: set[str] = set()
    for record in found:
        error, place = record.row["error"], record.place
        if error.startswith("the image cannot be read"):
            if place.image not in unread:
                wrong.append({"codec": "", "image": place.image, "what": error})
            unread.add(place.image)
        elif error:
            wrong.append({"codec": place.codec, "image": f"{place.image} at {place.setting}", "what": error})
    versions: dict[str, set[str]] = {}
    for record in found:
        if not record.row["error"]:
            versions.setdefault(record.place.codec, set()).add(record.fingerprint["codec"])
    for codec, notes in versions.items():
        if len(notes) > 1:
            wrong.append({"codec": codec, "image": "", "what": "rows of several versions: " + "; ".join(sorted(notes))})
    return wrong
