"""What the measurements say of each rung, and whether history's order holds here: sentences of known facts alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .measure import Measured, at_rate, pair
from .plan import Plan
from .rungs import Rung, rung
from .training import Place, log, seconds_spent


class Spent(NamedTuple):
    """What a rung's training took. crops: over all steps; tflop: forward and backward, as counted before the run."""

    steps: int
    crops: int
    minutes: float
    tflop: float
    trend: float | None  # relative change of the loss from the last fifth but one of the steps to the last


class Standing(NamedTuple):
    """A curve of a rung beside the anchor's, and its values at the common rate."""

    label: str
    rung: Rung
    spent: Spent
    facts: Mapping[str, float]
    psnr_delta: Mapping[str, Any] | None  # BD-rates as an evaluation has them
    ms_ssim_delta: Mapping[str, Any] | None
    at_rate: Mapping[str, float | None]


class Beside(NamedTuple):
    """A classical codec on the same scales."""

    label: str
    psnr_delta: Mapping[str, Any] | None
    ms_ssim_delta: Mapping[str, Any] | None
    at_rate: Mapping[str, float | None]


class Sentence(NamedTuple):
    """One pair of rungs. verdict: "holds", "open", "reversed" or "refused"."""

    verdict: str
    text: str


def spent(place: Place, name: str, plan: Plan) -> Spent:
    """What the runs of a rung took, by their logs."""
    runs = plan[name]
    logs = [log(place.run(name, number)) for number in range(1, len(runs) + 1)]
    seconds = sum(seconds_spent(lines, run.batch, place) for lines, run in zip(logs, runs))
    return Spent(
        sum(run.steps for run in runs), sum(run.steps * run.batch for run in runs), seconds / 60,
        sum(run.flops for run in runs) / 1e12, trend(logs[-1]),
    )  # fmt: skip


def trend(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """How far the mean training loss of the last fifth of a run lies from that of the fifth before, relative; None for
    a run of two stages, whose losses are of two kinds, or too short a log."""
    losses = [line["g_loss"] for line in lines if line.get("g_loss") is not None]
    fifth = len(losses) // 5
    if fifth < 2 or len({line["stage"] for line in lines}) > 1:
        return None
    before, last = sum(losses[-2 * fifth : -fifth]), sum(losses[-fifth:])
    return last / before - 1 if before > 0 else None


def standings(found: Measured, place: Place, names: Sequence[str], plan: Plan, bpp: float) -> list[Standing]:
    """A line for each curve of each rung, in the order of the names."""
    lines = []
    for name in names:
        rows = [row for row in found.results["summary"] if row["codec"] == name and not row.get("unable")]
        took = spent(place, name, plan)
        for realism in dict.fromkeys(row["realism"] for row in rows):
            label = name if realism is None else f"{name}, realism {realism:g}"
            curve = [row for row in rows if row["realism"] == realism]
            deltas = {one["metric"]: one["rate"] for one in found.results["bd"] if one["codec"] == label}
            values = {metric: at_rate(curve, metric, bpp) for metric in found.results["metrics"]}
            lines.append(
                Standing(label, rung(name), took, found.results["codecs"].get(name, {}), deltas.get("psnr"),
                         deltas.get("ms_ssim"), values)
            )  # fmt: skip
    return lines


def beside(found: Measured, names: Sequence[str], bpp: float) -> list[Beside]:
    """A line for each classical codec."""
    lines = []
    for name in names:
        curve = [row for row in found.results["summary"] if row["codec"] == name and not row.get("unable")]
        deltas = {one["metric"]: one["rate"] for one in found.results["bd"] if one["codec"] == name}
        values = {metric: at_rate(curve, metric, bpp) for metric in found.results["metrics"]}
        lines.append(Beside(name, deltas.get("psnr"), deltas.get("ms_ssim"), values))
    return lines


def history(found: Measured, lines: Sequence[Standing], minutes: float, arithmetic: bool) -> list[Sentence]:
    """A sentence for each rung that was to improve on another one, where both were measured."""
    by_name = {line.rung.name: line for line in lines}
    pairs = [(line, by_name[line.rung.after]) for line in by_name.values() if line.rung.after in by_name]
    return [_sentence(found, test, anchor, minutes, arithmetic) for test, anchor in pairs]


def _sentence(found: Measured, test: Standing, anchor: Standing, minutes: float, arithmetic: bool) -> Sentence:
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
        said = f"{abs(value):.2f} dB {'less' if value > 0 else 'more'} texture error than {other} at equal rate"
    else:
        said = f"{abs(value):.1f} % {'fewer' if value < 0 else 'more'} bits than {other} at equal PSNR"
    bounds = f" (95 % interval {interval[0]:+.1f} to {interval[1]:+.1f})" if interval else ""
    if promise == "arithmetic":
        return Sentence(
            "holds" if _cheaper(test, anchor) else "reversed", f"{_arithmetic(test, anchor)}, at {said}{bounds}."
        )
    doubt = "" if verdict != "open" else ", and the interval has zero in it" if interval else ", without an interval"
    text = f"{name} has {said}{bounds}{doubt}."
    return Sentence(verdict, text if verdict == "holds" else f"{text} {known}")


def _known(test: Standing, anchor: Standing, minutes: float, arithmetic: bool) -> str:
    """What is known of a pair that does not stand as its papers have it: what each was given, and how far it came."""
    budget = f"the arithmetic of {minutes:g} minutes of balle2018" if arithmetic else f"a budget of {minutes:g} minutes"
    parts = [f"What is known: with {budget}, {_took(test)}, {_took(anchor)}"]
    falls = [
        f"that of {line.rung.name} {'fell' if line.spent.trend < 0 else 'rose'} by {abs(100 * line.spent.trend):.1f} %"
        for line in (test, anchor)
        if line.spent.trend is not None
    ]
    if falls:
        parts.append("of the training loss, from the last fifth but one of the steps to the last, " + ", ".join(falls))
    return "; ".join(parts) + "."


def _took(line: Standing) -> str:
    one = line.spent
    cost = f"{one.tflop:.2f} TFLOP, {one.minutes:.1f} min"
    return f"{line.rung.name} did {one.steps:,} steps on {one.crops:,} crops ({cost})"


def _cheaper(test: Standing, anchor: Standing) -> bool:
    return _kmac(test) < _kmac(anchor)


def _kmac(line: Standing) -> float:
    return float(line.facts.get("encoder_kmac", 0)) + float(line.facts.get("decoder_kmac", 0))


def _arithmetic(test: Standing, anchor: Standing) -> str:
    mine, theirs = _kmac(test), _kmac(anchor)
    share = f", {mine / theirs:.2f} of {anchor.rung.name}'s {theirs:.1f}" if theirs else ""
    return f"{test.rung.name} takes {mine:.1f} kMAC per pixel both ways{share}"
