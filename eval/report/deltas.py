"""Bjontegaard deltas between curves, on means over images and image by image, and what they say in a sentence."""

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
FEWEST = 6  # images behind a sentence: were five all of one mind, a sign test would still give p = 2 / 2^5 > 0.05
Window = tuple[float, float] | None
Table = tuple[NDArray[np.float64], NDArray[np.float64]]  # rates and values, (points, images)
Measure = Callable[[Curve, Curve], Delta]


def deltas(
    rows: Sequence[Mapping[str, Any]], used: Mapping[Key, Sequence[Record]], anchor: str, window: Window = None,
    run: Run = in_turn,
) -> list[dict[str, Any]]:  # fmt: skip
    """One entry for each curve and metric of which higher or lower is better, against the anchor's curve."""
    curves = series(rows)
    anchors = [c for c in curves if c.codec == anchor]
    pairs = [(next((c for c in anchors if c.kind == one.kind), anchors[0]), one) for one in curves if anchors]
    pairs = [(against, one) for against, one in pairs if against != one]
    return compare(pairs, rows, used, [*measured(rows)], window, run)


def answers(
    rows: Sequence[Mapping[str, Any]], used: Mapping[Key, Sequence[Record]], codecs: Mapping[str, Mapping[str, Any]],
    anchor: str, names: Sequence[str], window: Window = None, run: Run = in_turn,
) -> list[dict[str, Any]]:  # fmt: skip
    """An entry with a sentence under `text` for each rival of the first gencomp, or else of the anchor, and metric.

    The codec stands at its default realism, or at the highest there is; rivals are all curves of other codecs, also
    such as have no point in the comparison.
    """
    curves = series([{**r, "unable": False} for r in rows])
    ours = [c for c in curves if c.codec.startswith("gencomp")] or [c for c in curves if c.codec == anchor]
    if not ours:
        return []
    ours = [c for c in ours if c.codec == ours[0].codec]
    default = codecs.get(ours[0].codec, {}).get("default_realism")
    one = max(ours, key=lambda c: (c.realism == default, c.realism or 0, c.kind == "bpp"))
    rivals = [c for c in curves if c.codec != one.codec]
    same = {(c.codec, c.realism) for c in rivals if c.kind == one.kind}
    rivals = [c for c in rivals if c.kind == one.kind or (c.codec, c.realism) not in same]
    compared = {c[:3]: c for c in series(rows)}
    pairs = [(compared[c[:3]], compared[one[:3]]) for c in rivals if {c[:3], one[:3]} <= compared.keys()]
    found = [entry | {"text": sentence(entry)} for entry in compare(pairs, rows, used, names, window, run)]
    silent = [c.label for c in rivals if c.label not in {entry["anchor"] for entry in found}]
    why = "too few to say (no measure or no rate is there for all images)."
    return found + [{"codec": one.label, "anchor": c, "text": f"{one.label} against {c}: {why}"} for c in silent]


def sentence(one: Mapping[str, Any]) -> str:
    """Who needs fewer bits, by how much, and how sure that is; or that there is too little to say it."""
    codec, rival, delta, images = one["codec"], one["anchor"], one["rate"], one["images"]
    metric = measured([{one["metric"]: 0}])[one["metric"]]
    rates = " and ".join(dict.fromkeys(map(str, one["points"])))
    of = f"{images} image{'s' if images != 1 else ''}" if images else "the whole set"
    basis = f"{of}, {rates} rate{'s' if rates != '1' else ''}"
    equal = f"at equal {metric.label}{', which it was made to minimise,' if one['minimised'] else ''}"
    if "refused" in delta or delta["interval"] is None or images < FEWEST:
        why = f"{delta['refused']}; " if "refused" in delta else ""
        return f"{codec} against {rival} {equal}: too few to say ({why}{basis})."
    low, high = delta["interval"]
    bounds = f"95 % interval {low:+.1f} to {high:+.1f} %; {basis}"
    if low <= 0 <= high:
        return f"{codec} and {rival} cannot be told apart {equal}: {delta['value']:+.1f} % bits ({bounds})."
    much = f"{abs(delta['value']):.1f} % {'fewer' if high < 0 else 'more'} bits"
    return f"{codec} needs {much} than {rival} {equal} ({bounds})."


def compare(
    pairs: Sequence[tuple[Series, Series]], rows: Sequence[Mapping[str, Any]], used: Mapping[Key, Sequence[Record]],
    names: Sequence[str], window: Window, run: Run,
) -> list[dict[str, Any]]:  # fmt: skip
    """One entry for each pair (anchor, test) of curves and each metric that both have at all points.

    Curves are means over the images that every point of both has. Intervals and p resample them, the same ones for
    both codecs; metrics of a whole set have none. A comparison that cannot be made says why under `refused`.
    """
    by_key = {(r["codec"], r["setting"], r["realism"]): r for r in rows}
    metrics = measured(rows)
    entries: list[dict[str, Any]] = []
    steps = []
    for against, one in pairs:
        for name in names:
            lacking = not all(name in by_key[k] for k in (*one.keys, *against.keys))
            if lacking or metrics[name].direction == "one":
                continue
            minimised = name in by_key[one.keys[0]]["minimised"]
            entries.append({"anchor": against.label, "codec": one.label, "kind": one.kind, "metric": name,
                            "minimised": minimised, "points": [len(one.keys), len(against.keys)]})  # fmt: skip
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
