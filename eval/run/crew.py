"""The workers of an evaluation: what each holds, what it does with a task, how far they are, and other processes."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from gencomp.processes import Say

from ..codecs.baseline import Baseline, BaselineError
from .photos import Photo
from .records import EvaluationOptions, Record
from .sets import Column, measure_set, set_columns
from .work import LastOriginal, Measuring, Unit, work

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


class Step(NamedTuple):
    """A call that can be sent to a process: an importable function with plain arguments. label: what it makes.
    equipped: the call takes what the worker holds."""

    label: str
    call: Callable[..., Any]
    equipped: bool = False


Run = Callable[[Sequence[Step]], list[Any]]  # what each step returned, in their order


def in_turn(steps: Sequence[Step]) -> list[Any]:
    """All steps here, one after the other."""
    return [step.call() for step in steps]


class Known(NamedTuple):
    """What a worker says of itself. codecs: their notes by name; errors: why others cannot be used; absent: metrics."""

    codecs: dict[str, dict[str, Any]]
    errors: dict[str, str]
    absent: dict[str, str]


class Equipment(NamedTuple):
    """What a worker holds. note: where it says what it is coding."""

    options: EvaluationOptions
    codecs: dict[str, Baseline]
    measuring: Measuring
    of_sets: list[Column]
    note: Path


def prepare(options: EvaluationOptions, rank: int, number: int, say: Say) -> tuple[Known, Callable[[Step], Any]]:
    """Build codecs, metrics and feature networks; what is known of them, and what does a step with them."""
    import torch

    if options.jobs:
        torch.set_num_threads(1)  # workers fill the cores by their number
    codecs, errors = build_codecs(options)
    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    measuring, absent = _measuring(options, device)
    of_sets = set_columns(options.metrics, list(measuring.extractors))
    crew = Equipment(options, codecs, measuring, of_sets, note_path(options.out, rank, number))
    notes = {
        c.name: {"note": c.note, "rate_control": c.rate_control._asdict(), "default_realism": c.default_realism,
                 "minimised": c.minimised}
        for c in codecs.values()
    }  # fmt: skip
    return Known(notes, errors, absent), lambda step: step.call(crew) if step.equipped else step.call()


def code_image(photo: Photo, name: str, keep: bool, crew: Equipment) -> None:
    """A photograph through one codec at all its targets; keep: its reconstructions stay on the disk."""
    options = crew.options
    targets = [target for target in options.targets if target.codec in (None, name)]
    unit = Unit(photo, crew.codecs[name], targets, options.realisms, keep, options.out)
    work(unit, crew.measuring, crew.note)


def measure_members(members: list[Record], crew: Equipment) -> None:
    """The metrics of the whole set at one operating point."""
    measure_set(crew.options.out, members, crew.of_sets, crew.options.patch)


def find_facts(name: str, crew: Equipment) -> dict[str, float]:
    """A codec's size and cost."""
    return crew.codecs[name].facts()


def note_path(out: Path, rank: int, number: int) -> Path:
    """Where a worker notes what it is coding."""
    return out / f".coding-{rank}-{number}.json"


def build_codecs(options: EvaluationOptions) -> tuple[dict[str, Baseline], dict[str, str]]:
    """The codecs asked for by name, and why others cannot be used."""
    from gencomp.bitstream import ModelError

    from ..codecs.build import build

    codecs: dict[str, Baseline] = {}
    errors: dict[str, str] = {}
    for name in options.codecs:
        try:
            built = build(name, options.models, options.device)
        except (BaselineError, ModelError) as error:
            errors[name] = str(error)
            continue
        codecs |= {codec.name: codec for codec in built if codec.name not in codecs}
    return codecs, errors


def _measuring(options: EvaluationOptions, device: str) -> tuple[Measuring, dict[str, str]]:
    from ..metrics.networks import features
    from ..metrics.table import Resources, asked, over_network

    ready, extractors, absent = [], {}, {}
    for metric in asked(options.metrics, "image"):
        try:
            ready.append((metric, metric.make(Resources(options.weights, device))))
        except Exception as error:
            absent[metric.name] = _why_absent(error)
    of_features = asked(options.metrics, "patches")
    for name in options.features if of_features else ():
        try:
            extractors[name] = features(name, options.weights, device)
        except Exception as error:
            absent |= {over_network(m, name).name: _why_absent(error) for m in of_features}
    return Measuring(ready, extractors, options.patch, LastOriginal()), absent


def _why_absent(error: Exception) -> str:
    from gencomp.perceptual.weights import WeightsError

    if isinstance(error, WeightsError):
        return f"not measured: {str(error).partition(':')[0]}"
    if isinstance(error, ImportError):
        return f"not measured: needs {error.name}: pip install 'gencomp[metrics]'"
    raise error


class Processes(NamedTuple):
    """This process among `total` that share the output folder; `wait` returns when every process has called it;
    `device` is the one to use."""

    rank: int
    total: int
    wait: Callable[[], None]
    device: str

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def join(device: str) -> Processes:
    """The processes that `accelerate launch` or torchrun started, each with its own GPU if there are any, or this one
    alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes(0, 1, lambda: None, device)
    import torch
    from accelerate import PartialState

    # Work is shared out beforehand, so the quickest process may wait for hours.
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=7))
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone, str(state.device))


def progress(
    items: Iterable[T], total: int, what: str, quiet: bool, label: Callable[[T], str], write: Callable[[str], None]
) -> Iterator[T]:
    """The items as they come: a bar on a terminal, a line now and then elsewhere, the last always."""
    if quiet or not total:
        yield from items
        return
    start = reported = time.monotonic()
    with tqdm(total=total, desc=what, unit="", dynamic_ncols=True, disable=not sys.stderr.isatty()) as bar:
        for done, item in enumerate(items, 1):
            bar.set_postfix_str(label(item), refresh=False)
            bar.update()
            now = time.monotonic()
            if bar.disable and (done == total or now - reported >= SECONDS_BETWEEN_LINES):
                left = tqdm.format_interval((now - start) / done * (total - done))
                write(f"{what}: {done} of {total}, {label(item)}" + f", {left} left" * (done < total))
                reported = now
            yield item
