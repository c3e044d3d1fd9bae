"""What a worker of an evaluation holds, and what it does with a task: an image, a set, a codec's facts."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gencomp.processes import Say, python

from ..codecs.baseline import Baseline, BaselineError
from .photos import Photo
from .records import Record, Target
from .sets import SetMeasuring
from .steps import Step


class Order(NamedTuple):
    """What all workers of a run are told. Everything in it can be sent to a process."""

    out: Path
    codecs: tuple[str, ...]
    models: tuple[str, ...]
    targets: tuple[Target, ...]
    realisms: tuple[float, ...]
    metrics: tuple[str, ...]
    features: tuple[str, ...]
    weights: Path | None
    patch: int
    device: str
    threads: int
    rank: int


class Known(NamedTuple):
    """What a worker says of itself. codecs: their notes by name; errors: why others cannot be used; absent: metrics."""

    codecs: dict[str, dict[str, Any]]
    errors: dict[str, str]
    absent: dict[str, str]


class CodeImage(NamedTuple):
    """A photograph through one codec at all its targets; keep: its reconstructions stay on the disk."""

    photo: Photo
    codec: str
    keep: bool

    @property
    def label(self) -> str:
        return f"{self.photo.name} {self.codec}"


class MeasureSet(NamedTuple):
    """The metrics of the whole set at one operating point."""

    members: list[Record]

    @property
    def label(self) -> str:
        return f"set {self.members[0].place.codec} {self.members[0].place.setting}"


class FindFacts(NamedTuple):
    """A codec's size, cost and memory, the last by coding `record` once more in a process of its own."""

    codec: str
    record: Record

    @property
    def label(self) -> str:
        return f"facts of {self.codec}"


Task = CodeImage | MeasureSet | FindFacts | Step


def prepare(order: Order, number: int, say: Say) -> tuple[Known, Callable[[Task], Any]]:
    """Build codecs, metrics and feature networks; what is known of them, and what does a task with them."""
    import torch

    from .work import LastOriginal, Measuring, Unit, work

    if order.threads:
        torch.set_num_threads(order.threads)
    codecs, errors = build_codecs(order)
    device = order.device if order.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    metrics, absent = _metrics(order, device)
    extractors, absent_features = _extractors(order, device)
    measuring = Measuring(metrics, extractors, order.patch, LastOriginal())
    of_sets = SetMeasuring(order.metrics, list(extractors), order.patch)
    note = note_path(order, number)

    def do(task: Task) -> Any:
        if isinstance(task, CodeImage):
            codec = codecs[task.codec]
            targets = [t for t in order.targets if t.codec in (None, codec.name)]
            return work(Unit(task.photo, codec, targets, order.realisms, task.keep), order.out, measuring, note)
        if isinstance(task, MeasureSet):
            from .sets import measure_set

            return measure_set(order.out, task.members, of_sets, codecs.get(task.members[0].place.codec))
        if isinstance(task, Step):
            return task.call()
        return codecs[task.codec].facts() | _memory(codecs[task.codec], task.record, order)

    notes = {c.name: {"note": c.note, "rate_control": c.rate_control._asdict(), "default_realism": c.default_realism,
                      "minimised": c.minimised} for c in codecs.values()}  # fmt: skip
    return Known(notes, errors, absent | absent_features), do


def note_path(order: Order, number: int) -> Path:
    """Where a worker notes what it is coding."""
    return order.out / f".coding-{order.rank}-{number}.json"


def build_codecs(order: Order) -> tuple[dict[str, Baseline], dict[str, str]]:
    """The codecs asked for by name, and why others cannot be used."""
    from gencomp.bitstream import ModelError

    from ..codecs.build import build

    codecs: dict[str, Baseline] = {}
    errors: dict[str, str] = {}
    for name in order.codecs:
        try:
            built = build(name, order.models, order.device)
        except (BaselineError, ModelError) as error:
            errors[name] = str(error)
            continue
        codecs |= {codec.name: codec for codec in built if codec.name not in codecs}
    return codecs, errors


def _metrics(order: Order, device: str) -> tuple[list[Any], dict[str, str]]:
    """The metrics of single images with their functions, and by name why others are not measured."""
    from ..metrics.table import Resources, asked

    ready, absent = [], {}
    for metric in asked(order.metrics, "image"):
        try:
            ready.append((metric, metric.make(Resources(order.weights, device))))
        except Exception as error:
            absent[metric.name] = _why_absent(error)
    return ready, absent


def _extractors(order: Order, device: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The feature networks that metrics of sets need, and why some are missing."""
    from ..metrics.networks import features
    from ..metrics.table import asked, over_network

    wanted = asked(order.metrics, "patches", "wholes")
    ready: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name in order.features if wanted else ():
        try:
            ready[name] = features(name, order.weights, device)
        except Exception as error:
            absent |= {over_network(m, name).name: _why_absent(error) for m in wanted if not m.part_of}
    return ready, absent


def _why_absent(error: Exception) -> str:
    """Which file or package is wanted; raises what is neither."""
    from gencomp.perceptual import WeightsError

    if isinstance(error, WeightsError):
        return f"not measured: {str(error).partition(':')[0]}"
    if isinstance(error, ImportError):
        return f"not measured: needs {error.name}: pip install 'gencomp[metrics]'"
    raise error


def _memory(codec: Baseline, record: Record, order: Order) -> dict[str, float]:
    """Peak resident memory [MB] of a fresh process that codes and decodes one image; nothing for users' adapters."""
    from ..codecs.build import alone

    found = alone(codec.name, order.codecs, order.models)
    if found is None:
        return {}
    name, models = found
    of_models = [part for model in models for part in ("--model", model)]
    original, setting = str((order.out / record.row["original"]).resolve()), str(record.row["rate_control"])
    command = python("-m", "gencomp.eval.run.memory", name, original, setting, *of_models)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        return {}
    return json.loads(done.stdout) if done.returncode == 0 else {}
