"""What the measurements say of each rung, and whether history's order holds here: sentences of known facts alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..report.curves import at_rate
from ..report.summary import Series, series
from .measure import FamilyResults, pair
from .plan import Plan
from .rungs import Rung, rung
from .training import FamilyFolder, log, seconds_spent


class Spent(NamedTuple):
    """What a rung's training took. crops: over all steps; tflop: forward and backward, as counted before the run."""

    steps: int
    crops: int
    minutes: float
    tflop: float
    trend: float | None  # relative change of the loss from the last fifth but one of the steps to the last


class Values(NamedTuple):
    """What a curve is worth: BD-rates as an evaluation has them, and its metrics at the common rate."""

    psnr_delta: Mapping[str, Any] | None
    ms_ssim_delta: Mapping[str, Any] | None
    at_rate: Mapping[str, float | None]


class Standing(NamedTuple):
    """A curve of a rung beside the anchor's."""

    label: str
    rung: Rung
    spent: Spent
    facts: Mapping[str, float]
    values: Values


class Sentence(NamedTuple):
    """One pair of rungs. verdict: "holds", "open", "reversed" or "refused"."""

    verdict: str
    text: str


def spent(folder: FamilyFolder, name: str, plan: Plan) -> Spent:
    """What the runs of a rung took, by their logs."""
    runs = plan[name]
    logs = [log(folder.run(name, number)) for number in range(1, len(runs) + 1)]
    seconds = sum(seconds_spent(lines, run.batch, folder) for lines, run in zip(logs, runs))
    steps, crops = sum(run.steps for run in runs), sum(run.steps * run.batch for run in runs)
    return Spent(steps, crops, seconds / 60, sum(run.flops for run in runs) / 1e12, trend(logs[-1]))


def trend(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """How far the mean training loss of the last fifth of a run lies from that of the fifth before, relative; None for
    a run of two stages, whose losses are of two kinds, or too short a log."""
    losses = [line["g_loss"] for line in lines if line.get("g_loss") is not None]
    fifth = len(losses) // 5
    if fifth < 2 or len({line["stage"] for line in lines}) > 1:
        return None
    before, last = sum(losses[-2 * fifth : -fifth]), sum(losses[-fifth:])
    return last / before - 1 if before > 0 else None


def standings(
    found: FamilyResults, folder: FamilyFolder, names: Sequence[str], plan: Plan, bpp: float
) -> list[Standing]:
    """A line for each curve of each rung, in the order of the names."""
    curves = series(found.results["summary"])
    took = {name: spent(folder, name, plan) for name in names}
    return [
        Standing(one.label, rung(name), took[name], found.results["codecs"].get(name, {}), values(found, one, bpp))
        for name in names
        for one in curves
        if one.codec == name
    ]


def beside(found: FamilyResults, names: Sequence[str], bpp: float) -> dict[str, Values]:
    """The values of each classical codec."""
    return {one.codec: values(found, one, bpp) for one in series(found.results["summary"]) if one.codec in names}


def values(found: FamilyResults, one: Series, bpp: float) -> Values:
    """A curve's values."""
    deltas = {entry["metric"]: entry["rate"] for entry in found.results["bd"] if entry["codec"] == one.label}
    at = {metric: at_rate(one.points(metric), bpp) for metric in found.results["metrics"]}
    return Values(deltas.get("psnr"), deltas.get("ms_ssim"), at)


def history(found: FamilyResults, lines: Sequence[Standing], minutes: float, arithmetic: bool) -> list[Sentence]:
    """A sentence for each rung that was to improve on another one, where both were measured."""
    by_name = {line.rung.name: line for line in lines}
    pairs = [(line, by_name[line.rung.after]) for line in by_name.values() if line.rung.after in by_name]
    return [_sentence(found, test, anchor, minutes, arithmetic) for test, anchor in pairs]


def _sentence(found: FamilyResults, test: Standing, anchor: Standing, minutes: float, arithmetic: bool) -> Sentence:
    name, other, promise = test.rung.name, anchor.rung.name, test.rung.promise
    metric, axis = ("texture_error", "quality") if promise == "realism" else ("psnr", "rate")
    compared = pair(found, name, other, metric)
    known = _known(test, anchor, minutes, arithmetic)
    if compared is None or "refused" in compared[axis]:
        why = "not measured" if compared is None else compared[axis]["refused"]
        return Sentence("refused", f"{name} and {other} cannot be compared here ({why}). {known}")
    delta = compared[axis]
    value, interval = delta["value"], delta.get("interval")
    better = value > 0 if promise == "realism" else value < 0
    clear = interval is not None and (interval[0] > 0) == (interval[1] > 0)
    verdict = "open" if not clear else "holds" if better else "reversed"
    if promise == "realism":
        comparison = f"{abs(value):.2f} dB {'less' if value > 0 else 'more'} texture error than {other} at equal rate"
    else:
        comparison = f"{abs(value):.1f} % {'fewer' if value < 0 else 'more'} bits than {other} at equal PSNR"
    bounds = f" (95 % interval {interval[0]:+.1f} to {interval[1]:+.1f})" if interval else ""
    if promise == "arithmetic":
        mine, theirs = _kmac(test), _kmac(anchor)
        share = f", {mine / theirs:.2f} of {other}'s {theirs:.1f}" if theirs else ""
        text = f"{name} takes {mine:.1f} kMAC per pixel both ways{share}, at {comparison}{bounds}."
        return Sentence("holds" if mine < theirs else "reversed", text)
    doubt = "" if verdict != "open" else ", and the interval has zero in it" if interval else ", without an interval"
    text = f"{name} has {comparison}{bounds}{doubt}."
    return Sentence(verdict, text if verdict == "holds" else f"{text} {known}")


def _known(test: Standing, anchor: Standing, minutes: float, arithmetic: bool) -> str:
    """What is known of a pair that does not stand as its papers have it: what each was given, and how far it came."""
    budget = f"the arithmetic of {minutes:g} minutes of balle2018" if arithmetic else f"a budget of {minutes:g} minutes"
    parts = [f"What is known: with {budget}, {_took(test)}, {_took(anchor)}"]
    trends = [(line.rung.name, line.spent.trend) for line in (test, anchor) if line.spent.trend is not None]
    if trends:
        falls = [f"that of {name} {'fell' if t < 0 else 'rose'} by {abs(100 * t):.1f} %" for name, t in trends]
        parts.append("of the training loss, from the last fifth but one of the steps to the last, " + ", ".join(falls))
    return "; ".join(parts) + "."


def _took(line: Standing) -> str:
    steps, crops, minutes, tflop, _ = line.spent
    return f"{line.rung.name} did {steps:,} steps on {crops:,} crops ({tflop:.2f} TFLOP, {minutes:.1f} min)"


def _kmac(line: Standing) -> float:
    return float(line.facts.get("encoder_kmac", 0)) + float(line.facts.get("decoder_kmac", 0))
