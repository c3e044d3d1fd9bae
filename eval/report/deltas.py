"""Bjontegaard deltas between curves, on means over images and image by image, and what they say in a sentence."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics.table import goodness, measured, metric_of
from ..run.crew import Run, Step, in_turn
from ..run.records import Record
from ..run.sets import Key, key_of
from .curves import Curve, CurveError, Delta, bd_quality, bd_rate, curve, mean_interval, resample
from .summary import Series, series

RESAMPLES = 400
FEWEST = 6  # images behind a sentence: were five all of one mind, a sign test would still give p = 2 / 2^5 > 0.05
Window = tuple[float, float] | None
RatesAndValues = tuple[NDArray[np.float64], NDArray[np.float64]]  # rates and values, (points, images)
Measure = Callable[[Curve, Curve], Delta]
Rows = Sequence[Mapping[str, Any]]
Facts = Mapping[str, Mapping[str, Any]]
Used = Mapping[Key, Sequence[Record]]


def deltas(rows: Rows, used: Used, anchor: str, window: Window = None, run: Run = in_turn) -> list[dict[str, Any]]:
    """One entry for each curve and metric of which higher or lower is better, against the anchor's curve."""
    curves = series(rows)
    anchors = [c for c in curves if c.codec == anchor]
    pairs = [(next((c for c in anchors if c.kind == one.kind), anchors[0]), one) for one in curves if anchors]
    pairs = [(against, one) for against, one in pairs if against is not one]
    return compare(pairs, used, [*measured(rows)], window, run)


def answers(
    rows: Rows, used: Used, codecs: Facts, anchor: str, names: Sequence[str], window: Window = None, run: Run = in_turn
) -> list[dict[str, Any]]:
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
    found = [entry | {"text": sentence(entry)} for entry in compare(pairs, used, names, window, run)]
    silent = [c.label for c in rivals if c.label not in {entry["anchor"] for entry in found}]
    why = "too few to say (no measure or no rate is there for all images)."
    return found + [{"codec": one.label, "anchor": c, "text": f"{one.label} against {c}: {why}"} for c in silent]


def sentence(one: Mapping[str, Any]) -> str:
    """Who needs fewer bits, by how much, and how sure that is; or that there is too little to say it."""
    codec, rival, delta, images = one["codec"], one["anchor"], one["rate"], one["images"]
    metric = metric_of(one["metric"])
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
    pairs: Sequence[tuple[Series, Series]], used: Used, names: Sequence[str], window: Window, run: Run
) -> list[dict[str, Any]]:
    """One entry for each pair (anchor, test) of curves and each metric that both have at all points.

    Curves are means over the images that every point of both has. Intervals and p resample them, the same ones for
    both codecs; metrics of a whole set have none. A comparison that cannot be made says why under `refused`.
    """
    entries: list[dict[str, Any]] = []
    steps = []
    for against, one in pairs:
        for name in names:
            if not all(name in row for row in (*one.rows, *against.rows)):
                continue
            entries.append({"anchor": against.label, "codec": one.label, "kind": one.kind, "metric": name,
                            "minimised": name in one.rows[0]["minimised"],
                            "points": [len(one.rows), len(against.rows)]})  # fmt: skip
            tables, images = _tables(name, (against, one), used)
            steps.append(Step(f"delta of {one.label}", partial(_delta, name, tables, images, window)))
    return [entry | delta for entry, delta in zip(entries, run(steps))]


def _tables(name: str, pair: tuple[Series, Series], used: Used) -> tuple[list[RatesAndValues], list[str]]:
    """Rates and values of two curves over the images that every point of both has, and the names of these. A metric of
    a whole set is a table of one column, the set's mean rate and its value, of no image."""
    points = [[{r.place.image: r for r in used[key_of(row)] if name in r.metrics} for row in one.rows] for one in pair]
    if not any(point for one in points for point in one):
        return [(np.array([[r["bpp"]] for r in one.rows]), np.array([[r[name]] for r in one.rows])) for one in pair], []
    shared = sorted(set.intersection(*(set(point) for one in points for point in one)))
    rates = [np.array([[point[image].row["bpp"] for image in shared] for point in one]) for one in points]
    values = [np.array([[point[image].metrics[name] for image in shared] for point in one]) for one in points]
    return list(zip(rates, values)), shared


def _delta(name: str, tables: list[RatesAndValues], images: list[str], window: Window) -> dict[str, Any]:
    """One comparison: BD-rate [%] and BD-quality [the metric's unit, or dB] on means, each with its overlap, and the
    BD-rates of each image's own curves: their mean with its interval, the median, how many need fewer bits."""
    metric, count = metric_of(name), tables[0][0].shape[1]

    def on_means(measure: Measure, index: Any) -> Delta:
        if not len(index):
            raise CurveError("no image in common")
        means = [(rates[:, index].mean(1), values[:, index].mean(1)) for rates, values in tables]
        return measure(*(curve(r, np.array([goodness(metric, float(x)) for x in v]), window) for r, v in means))

    result: dict[str, Any] = {"images": count, "window": window}
    for label, measure in (("rate", bd_rate), ("quality", bd_quality)):
        try:
            whole = on_means(measure, np.arange(count))
        except CurveError as error:
            result[label] = {"refused": str(error)}
            continue
        value = partial(lambda measure, index: on_means(measure, index).value, measure)
        resampled = resample(value, count if images else 1, RESAMPLES)
        result[label] = whole._asdict() | (resampled._asdict() if resampled else {"interval": None, "p": None})
    single: dict[str, float] = {}
    for k, image in enumerate(images):
        with suppress(CurveError):
            single[image] = on_means(bd_rate, [k]).value
    result["per_image"] = {"images": len(single), "refused": len(images) - len(single)}
    if single:
        array = np.array(list(single.values()))
        result["per_image"] |= {"mean": float(array.mean()), "median": float(np.median(array)), "values": single}
        result["per_image"] |= {"interval": mean_interval(array), "fewer_bits": int((array < 0).sum())}
    return result
