"""An evaluation from its options to its report, by one process or many."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gencomp import machine
from gencomp.cli.batch import echo
from gencomp.files import write_atomically
from gencomp.outputs import protecting
from gencomp.processes import Died, Returned, Workers
from gencomp.results import LIST, claim, rewriting

from .codecs.baseline import BaselineError
from .report import results
from .report.results import Context
from .run import notes, records, sets
from .run.comparable import comparable
from .run.crew import CodeImage, FindFacts, Known, MeasureSet, Order, Task, note_path, prepare
from .run.photos import Photo
from .run.processes import Processes
from .run.progress import shown
from .run.records import Target
from .run.steps import Run, Step, in_turn

READ = ("index.html", "results.json", "results.csv", "codecs.json", "tables", "plots")
"""What people read in the folder of a run; `KEPT` is what a later run goes on from."""
KEPT = ("records", "files", "originals", "reconstructions", "features", "sets")
WORKER_BYTES = 2_000_000_000  # a worker with torch and a model, on images of some megapixels


class Options(NamedTuple):
    """What a run was asked for.

    jobs: worker processes, 0 for none; keep: of how many images reconstructions stay; overwrite: whether files in `out`
    that are not the program's may go; left_out: what the folders of photographs hold besides, in words.
    """

    sources: tuple[str, ...]
    out: Path
    codecs: tuple[str, ...]
    targets: tuple[Target, ...]
    realisms: tuple[float, ...]
    metrics: tuple[str, ...]
    features: tuple[str, ...]
    models: tuple[str, ...]
    weights: Path | None
    patch: int
    anchor: str
    window: tuple[float, float] | None
    jobs: int
    keep: int
    overwrite: bool = False
    left_out: str = ""


def evaluate(options: Options, photos: list[Photo], processes: Processes, quiet: bool) -> dict[str, Any] | None:
    """Do the work that is missing in the output folder and write its results; None on all processes but the first."""
    out = options.out
    made = not out.exists()
    inputs = [*(photo.source for photo in photos), *options.sources, *options.codecs, *options.models]
    claim(out, "eval", [*READ, *KEPT], inputs, options.overwrite)
    order = _order(options, processes)
    try:
        with Workers(partial(prepare, order), options.jobs) as workers:
            known: Known = workers.greeting
            _check(options, known)
            silent = quiet or not processes.is_first
            tasks: list[Task] = [
                CodeImage(photo, codec, k < options.keep) for k, photo in enumerate(photos) for codec in known.codecs
            ]
            # Codecs differ in speed: they shift from image to image, so that no process gets one codec for all.
            shift = [sum(divmod(k, len(known.codecs))) % processes.total for k in range(len(tasks))]
            _run(workers, [t for t, rank in zip(tasks, shift) if rank == processes.rank], "images", order, silent)
            processes.wait()
            names = {photo.name for photo in photos}
            found = [r for r in records.load_all(out) if r.place.image in names]
            of_sets: list[Task] = [MeasureSet(members) for members in comparable(sets.groups(found)).used.values()]
            facts = _Facts(order, known, found)
            of_codecs = facts.tasks if processes.is_first else []
            done = _run(workers, [*of_codecs, *processes.share(of_sets)], "sets and facts", order, silent)
            processes.wait()
            if not processes.is_first:
                return None
            with rewriting(out, READ):
                context = Context(results.command_line(), list(options.sources), facts.completed(done), known.absent,
                                  options.anchor, options.window, options.patch, processes.total, max(1, options.jobs),
                                  names, options.left_out)  # fmt: skip
                return finish(out, context, partial(_steps, workers, order, silent))
    except BaselineError:
        if made and [path.name for path in out.iterdir()] == [LIST]:
            (out / LIST).unlink()
            out.rmdir()
        raise


def default_jobs(processes: int = 1) -> int:
    """Worker processes for this machine: its cores, as far as its memory allows, shared by `processes`."""
    return max(1, machine.processes_that_fit(WORKER_BYTES) // processes)


def finish(out: Path, context: Context, run: Run = in_turn) -> dict[str, Any]:
    """Collect what the folder holds and write the results, the tables, the plots and the report."""
    from .report import page, plots, summary

    collected = results.collect(out, context, run)
    results.write(out, collected)
    names = plots.plotted(collected["metrics"])
    plots.write_plots(out, collected["summary"], summary.series(collected["summary"]), names,
                      collected["photos"]["dataset"], run)  # fmt: skip
    page.write(out, collected)
    return collected


def figure_files(prefix: Path) -> list[Path]:
    """What `write_figure` writes."""
    names = [f"{prefix.name}{suffix}" for suffix in (".csv", ".md")]
    names += [f"{prefix.name}{look}{suffix}" for look in ("", "-dark") for suffix in (".svg", ".pdf", ".png")]
    return [prefix.with_name(name) for name in names]


def check_figure(prefix: Path | None, inputs: Sequence[str | Path], overwrite: bool) -> None:
    """Raise Refused, before any work, where a file of a figure may not be written."""
    for path in figure_files(prefix) if prefix is not None else ():
        protecting(inputs, overwrite).check(path, below=path.parent)


def write_figure(prefix: Path, collected: dict[str, Any]) -> None:
    """The summary and its overview as PREFIX.csv, .md and images for light and dark pages, for a README."""
    from .report import plots, published, summary, tables

    prefix.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("csv", tables.means_csv(collected)), ("md", tables.means_md(collected))):
        write_atomically(prefix.with_name(f"{prefix.name}.{suffix}"), text.encode())
    dataset = collected["photos"]["dataset"]
    reference = [p for p in published.curves() if p.dataset == dataset and p.label in published.PROMINENT]
    rows = collected["summary"]
    for look in plots.LOOKS:
        path = prefix if look == "light" else prefix.with_name(f"{prefix.name}-{look}")
        plots.overview(rows, summary.series(rows), list(collected["metrics"]), reference, path, look)


def _order(options: Options, processes: Processes) -> Order:
    threads = 1 if options.jobs else 0  # workers fill the cores by their number
    return Order(options.out, options.codecs, options.models, options.targets, options.realisms, options.metrics,
                 options.features, options.weights, options.patch, processes.device, threads,
                 processes.rank)  # fmt: skip


def _check(options: Options, known: Known) -> None:
    """Raise BaselineError where no codec is there, a setting is for none, or one is left without anything to do."""
    names = list(known.codecs)
    if not names:
        reasons = "; ".join(f"{name}: {why}" for name, why in known.errors.items())
        raise BaselineError(f"none of the codecs can be used: {reasons}")
    strangers = [target.codec for target in options.targets if target.codec not in (None, *names)]
    if strangers:
        raise BaselineError(f"--quality {strangers[0]}:...: no codec of this run has that name ({', '.join(names)})")
    idle = [name for name in names if not any(target.codec in (None, name) for target in options.targets)]
    if idle:
        raise BaselineError(f"{idle[0]} has neither a --bpp nor a --quality: add one, or leave the codec out")


def _run(workers: Workers, tasks: Sequence[Task], what: str, order: Order, quiet: bool) -> list[tuple[Task, Any]]:
    """All tasks done, with what each came to. A worker that a codec took down leaves a result, and the rest goes on."""
    done = []
    events = (event for event in workers.run(tasks) if isinstance(event, Died | Returned))
    for event in shown(events, len(tasks), what, quiet, lambda event: event.task.label, partial(echo, err=True)):
        if isinstance(event, Died):
            where = notes.keep(order.out, note_path(order, event.worker), event.fault)
            if where is None:
                raise RuntimeError(f"a worker process ended ({event.fault}) at {event.task.label}, outside the codecs")
            echo(f"Problem: {where}: {notes.CRASHED} ({event.fault}); going on without it.", err=True)
        done.append((event.task, event.result if isinstance(event, Returned) else None))
    return done


def _steps(workers: Workers, order: Order, quiet: bool, steps: Sequence[Step]) -> list[Any]:
    """The steps of a report by the workers, in their order."""
    place = {id(step): k for k, step in enumerate(steps)}
    done = sorted(_run(workers, steps, "report", order, quiet), key=lambda pair: place[id(pair[0])])
    return [result for _, result in done]


class _Facts:
    """What is known of each codec, this run's and earlier ones': version, rate control, cost, memory, or its error."""

    def __init__(self, order: Order, known: Known, found: list[records.Record]) -> None:
        self._path, self._known = order.out / "codecs.json", known
        try:
            facts: dict[str, dict[str, Any]] = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            facts = {}
        self._facts = {name: of for name, of in facts.items() if "error" not in of}
        self._fresh = [name for name, of in known.codecs.items() if self._facts.get(name, {}).get("note") != of["note"]]
        good = {r.place.codec: r for r in reversed(found) if not r.row["error"]}
        self.tasks: list[Task] = [FindFacts(name, good[name]) for name in self._fresh if name in good]

    def completed(self, done: Sequence[tuple[Task, Any]]) -> dict[str, dict[str, Any]]:
        """All of it, kept for later runs, with what the tasks came to."""
        known, facts = self._known, self._facts
        more = {task.codec: result for task, result in done if isinstance(task, FindFacts)}
        facts |= {name: facts.get(name, {}) | of for name, of in known.codecs.items() if name not in self._fresh}
        facts |= {name: known.codecs[name] | (more.get(name) or {}) for name in self._fresh}
        order_of_run = {name: facts[name] for name in known.codecs}
        facts = order_of_run | facts | {name: {"error": error} for name, error in known.errors.items()}
        write_atomically(self._path, json.dumps(facts, indent=1).encode())
        return facts
