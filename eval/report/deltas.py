"""Bjontegaard deltas of every curve against the anchor's: on means over images, and image by image."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics.table import Metric, goodness, measured
from ..run.records import Record
from ..run.sets import Key
from ..run.steps import Run, Step, in_turn
from .bootstrap import mean_interval, resample
from .curves import Curve, CurveError, Delta, bd_quality, bd_rate, curve
from .summary import Series, series

RESAMPLES = 400
Window = tuple[float, float] | None
Table = tuple[NDArray[np.float64], NDArray[np.float64]]  # rates and values, (points, images)
Measure = Callable[[Curve, Curve], Delta]


def deltas(
    rows: Sequence[Mapping[str, Any]], used: Mapping[Key, Sequence[Record]], anchor: str, window: Window = None,
    run: Run = in_turn,
) -> list[dict[str, Any]]:  # fmt: skip
    """One entry for each curve and metric of which higher or lower is better.

    Curves are means over the images that every point of both has. Intervals and p resample them, the same ones for
    both codecs; metrics of a whole set have none. A comparison that cannot be made says why under `refused`.
    """
    by_key = {(r["codec"], r["setting"], r["realism"]): r for r in rows}
    curves = series(rows)
    entries: list[dict[str, Any]] = []
    steps = []
    for one in curves:
        against = next((c for c in curves if c.codec == anchor and c.kind == one.kind), None)
        against = against or next((c for c in curves if c.codec == anchor), None)
        if against is None or against == one:
            continue
        for name, metric in measured(rows).items():
            if metric.direction == "one" or not all(name in by_key[k] for k in (*one.keys, *against.keys)):
                continue
            minimised = name in by_key[one.keys[0]]["minimised"]
            entries.append({"anchor": against.label, "codec": one.label, "kind": one.kind, "metric": name,
                            "minimised": minimised})  # fmt: skip
            tables, images = _tables(name, (against, one), by_key, used)
            steps.append(Step(f"delta of {one.label}", partial(_delta, name, tables, images, window)))
    return [entry | delta for entry, delta in zip(entries, run(steps))]


def _tables(
    name: str, pair: tuple[Series, Series], by_key: Mapping[Key, Mapping[str, Any]],
    used: Mapping[Key, Sequence[Record]],
) -> tuple[list[Table], list[str]]:  # fmt: skip
    """Rates and values of two curves over the images that every point of both has, and the names of these.

    A metric of a whole set is a table of one column, the set's mean rate and its value, of no image.
    """
    points = [[{r.place.image: r for r in used[k] if name in r.metrics} for k in one.keys] for one in pair]
    if not any(point for one in points for point in one):
        return [
            (np.array([[by_key[k]["bpp"]] for k in one.keys]), np.array([[by_key[k][name]] for k in one.keys]))
            for one in pair
        ], []
    shared = sorted(set.intersection(*(set(point) for one in points for point in one)))
    return [
        (
            np.array([[point[image].row["bpp"] for image in shared] for point in one]),
            np.array([[point[image].metrics[name] for image in shared] for point in one]),
        )
        for one in points
    ], shared


def _delta(name: str, tables: list[Table], images: list[str], window: Window) -> dict[str, Any]:
    """One comparison by a metric's name: BD-rate [%] and BD-quality [its unit, or dB], each with its overlap."""
    metric = measured([{name: 0}])[name]
    count = tables[0][0].shape[1]
    result: dict[str, Any] = {"images": count, "window": window}
    for label, measure in (("rate", bd_rate), ("quality", bd_quality)):
        try:
            whole = _on_means(metric, tables, np.arange(count), measure, window)
        except CurveError as error:
            result[label] = {"refused": str(error)}
            continue
        of_resample = _bound(metric, tables, measure, window)
        resampled = resample(of_resample, count if images else 1, RESAMPLES)
        result[label] = whole._asdict() | (resampled._asdict() if resampled else {"interval": None, "p": None})
    result["per_image"] = _per_image(metric, tables, images, window)
    return result


def _bound(metric: Metric, tables: list[Table], measure: Measure, window: Window) -> Callable[[Any], float]:
    return lambda index: _on_means(metric, tables, index, measure, window).value


def _on_means(metric: Metric, tables: list[Table], index: NDArray[np.intp], measure: Measure, window: Window) -> Delta:
    """The delta of the curves of means over some images."""
    if not len(index):
        raise CurveError("no image in common")
    return measure(*(_curve(metric, r[:, index].mean(1), v[:, index].mean(1), window) for r, v in tables))


def _curve(metric: Metric, rates: NDArray[np.float64], values: NDArray[np.float64], window: Window) -> Curve:
    return curve(rates, np.array([goodness(metric, float(value)) for value in values]), window)


def _per_image(metric: Metric, tables: list[Table], images: list[str], window: Window) -> dict[str, Any]:
    """BD-rate [%] of each image's own curves: their mean with its interval, the median, how many need fewer bits."""
    values: dict[str, float] = {}
    for k, image in enumerate(images):
        try:
            values[image] = bd_rate(*(_curve(metric, r[:, k], v[:, k], window) for r, v in tables)).value
        except CurveError:
            continue
    if not values:
        return {"images": 0, "refused": len(images)}
    array = np.array(list(values.values()))
    return {
        "images": len(values), "refused": len(images) - len(values), "mean": float(array.mean()),
        "median": float(np.median(array)), "interval": mean_interval(array), "fewer_bits": int((array < 0).sum()),
        "values": values,
    }  # fmt: skip
