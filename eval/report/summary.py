"""From cells to conclusions: means with intervals, curves, Bjontegaard deltas, problems."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..metrics.table import METRICS, Metric, goodness, measured
from ..run import sets
from ..run.records import Cell
from .curves import (
    Curve,
    CurveError,
    Delta,
    Interval,
    bd_quality,
    bd_rate,
    bootstrap,
    curve,
    decibels,
)

Key = tuple[str, str, float | None]  # codec, setting, realism
RESAMPLES, DELTA_RESAMPLES = 1000, 400


class Series(NamedTuple):
    """Operating points that form one curve: one codec at one realism, by rate matched or by one setting for all."""

    codec: str
    realism: float | None
    kind: str  # "bpp" or "setting"
    keys: list[Key]  # ascending in mean rate

    @property
    def label(self) -> str:
        return self.codec if self.realism is None else f"{self.codec}, realism {self.realism:g}"


def summarise(out: Path, groups: dict[Key, list[Cell]], patch: int) -> list[dict[str, Any]]:
    """A row for each operating point: arithmetic means over its pictures, 95 % intervals, measures of the set.

    `fewer` holds the number of pictures behind a figure that leaves some out, such as those too small for the measure;
    `lacks` is how many pictures stand in other rows and not in this one, which then does not compare with them.
    """
    rows = []
    images = {cell.place.image for members in groups.values() for cell in members}
    for (codec, setting, realism), members in groups.items():
        row: dict[str, Any] = {"codec": codec, "setting": setting, "realism": realism, "pictures": len(members)}
        row["lacks"] = len(images) - len(members)
        row["reached"] = sum(bool(c.row["reached"]) for c in members)
        for name in ("bytes", "bpp", "encode_s", "decode_s"):
            row[name] = float(np.mean([c.row[name] for c in members]))
        intervals, fewer = {}, {}
        for name in sorted({m for c in members for m in c.metrics}, key=list(METRICS).index):
            values = np.array([c.metrics[name] for c in members if name in c.metrics])
            row[name] = float(values.mean())
            intervals[name] = _mean_interval(values)
            if len(values) < len(members):
                fewer[name] = len(values)
        if "ms_ssim" in row:
            row["ms_ssim_db"] = decibels(row["ms_ssim"])
        whole = sets.load_set(out, members, patch)
        if "swd" in whole.measures and whole.details.get("swd_pictures", len(members)) < len(members):
            fewer["swd"] = whole.details["swd_pictures"]
        rows.append({**row, **whole.measures, "intervals": intervals, "fewer": fewer, "details": whole.details})
    return rows


def _mean_interval(values: NDArray[np.float64]) -> Interval | None:
    """95 % percentile bootstrap interval of a mean over pictures."""
    if len(values) < 2:
        return None
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
    return Interval(float(low), float(high))


def series(rows: Sequence[dict[str, Any]]) -> list[Series]:
    """The curves that the operating points form, in the order in which the codecs first appear."""
    found: dict[tuple[str, float | None, str], list[dict[str, Any]]] = {}
    for row in rows:
        kind = "bpp" if row["setting"].endswith(" bpp") else "setting"
        found.setdefault((row["codec"], row["realism"], kind), []).append(row)
    return [
        Series(*key, [(r["codec"], r["setting"], r["realism"]) for r in sorted(points, key=lambda r: r["bpp"])])
        for key, points in found.items()
    ]


def deltas(
    rows: Sequence[dict[str, Any]],
    groups: dict[Key, list[Cell]],
    anchor: str,
    window: tuple[float, float] | None = None,
) -> list[dict[str, Any]]:
    """Bjontegaard deltas of every curve against the anchor codec's, for every measure of which more or less is better.

    Curves are means over the pictures that every point of both has. Intervals resample them, the same ones for both
    codecs; measures of a whole set have none. A comparison that cannot be made says why under `refused`.
    """
    by_key = {(r["codec"], r["setting"], r["realism"]): r for r in rows}
    curves = series(rows)
    results = []
    for one in curves:
        against = next((c for c in curves if c.codec == anchor and c.kind == one.kind), None)
        against = against or next((c for c in curves if c.codec == anchor), None)
        if against is None or against == one:
            continue
        for name, metric in measured(rows).items():
            if metric.better == "one" or not all(name in by_key[k] for k in (*one.keys, *against.keys)):
                continue
            result = {"anchor": against.label, "codec": one.label, "kind": one.kind, "metric": name}
            tables = _tables(name, (against, one), by_key, groups)
            results.append(result | _delta(metric, tables, window))
    return results


Table = tuple[NDArray[np.float64], NDArray[np.float64]]  # rates and values, (points, pictures)


def _tables(
    name: str, pair: tuple[Series, Series], by_key: dict[Key, dict[str, Any]], groups: dict[Key, list[Cell]]
) -> list[Table]:
    """Rates and values of two curves over the pictures that every point of both has.

    A measure of a whole set is a table of one column: the set's mean rate and its value.
    """
    points = [[{c.place.image: c for c in groups[k] if name in c.metrics} for k in one.keys] for one in pair]
    if not any(point for one in points for point in one):
        return [
            (np.array([[by_key[k]["bpp"]] for k in one.keys]), np.array([[by_key[k][name]] for k in one.keys]))
            for one in pair
        ]
    shared = sorted(set.intersection(*(set(point) for one in points for point in one)))
    return [
        (
            np.array([[point[image].row["bpp"] for image in shared] for point in one]),
            np.array([[point[image].metrics[name] for image in shared] for point in one]),
        )
        for one in points
    ]


def _delta(metric: Metric, tables: list[Table], window: tuple[float, float] | None) -> dict[str, Any]:
    """One comparison: BD-rate [%] and BD-quality [the measure's unit, dB for MS-SSIM], each with its overlap."""
    pictures = tables[0][0].shape[1]
    result: dict[str, Any] = {"pictures": pictures, "window": window}
    for label, measure in (("rate", bd_rate), ("quality", bd_quality)):

        def delta(index: NDArray[np.intp], measure: Callable[[Curve, Curve], Delta] = measure) -> Delta:
            if not len(index):
                raise CurveError("no picture in common")
            curves = []
            for rates, values in tables:
                qualities = [goodness(metric, float(value)) for value in values[:, index].mean(1)]
                curves.append(curve(rates[:, index].mean(1), np.array(qualities), window))
            return measure(*curves)

        try:
            whole = delta(np.arange(pictures))
        except CurveError as error:
            result[label] = {"refused": str(error)}
            continue
        interval = bootstrap(lambda index, d=delta: d(index).value, pictures, DELTA_RESAMPLES)
        result[label] = {**whole._asdict(), "interval": interval}
    return result


def problems(cells: Sequence[Cell], codecs: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """What went wrong, one entry each: codecs that are missing, pictures that failed, rows of two versions."""
    found = [{"codec": name, "image": "", "what": facts["error"]} for name, facts in codecs.items() if "error" in facts]
    unread: set[str] = set()
    for cell in cells:
        error, place = cell.row["error"], cell.place
        if error.startswith("the picture cannot be read"):
            if place.image not in unread:
                found.append({"codec": "", "image": place.image, "what": error})
            unread.add(place.image)
        elif error:
            found.append({"codec": place.codec, "image": f"{place.image} at {place.setting}", "what": error})
    versions: dict[str, set[str]] = {}
    for cell in cells:
        if not cell.row["error"]:
            versions.setdefault(cell.place.codec, set()).add(cell.made_of["peer"])
    for codec, notes in versions.items():
        if len(notes) > 1:
            found.append({"codec": codec, "image": "", "what": "rows of several versions: " + "; ".join(sorted(notes))})
    return found
