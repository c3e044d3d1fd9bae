"""An evaluation from its options to its report, by one process or many."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gencomp.cli.batch import echo
from gencomp.files import write_atomically
from gencomp.outputs import protecting
from gencomp.processes import Died, Returned, Workers
from gencomp.results import LIST, claim, rewriting

from .codecs.baseline import BaselineError
from .report import results
from .run import crew, records, sets
from .run.crew import Known, Processes, Step
from .run.photos import Photo
from .run.records import EvaluationOptions, Record
from .run.sets import comparable

READ = ("index.html", "results.json", "results.csv", "codecs.json", "tables", "plots")
"""What people read in the folder of a run; `KEPT` is what a later run goes on from."""
KEPT = ("records", "files", "originals", "reconstructions", "features", "sets")
Facts = dict[str, dict[str, Any]]
WORKER_BYTES = 2_000_000_000  # a worker with torch and a model, on images of some megapixels


def evaluate(options: EvaluationOptions, photos: list[Photo], quiet: bool) -> dict[str, Any] | None:
    """Do the work that is missing in the output folder and write its results; None on all processes but the first."""
    from .report import page, plots

    out, processes = options.out, crew.join(options.device)
    options = replace(options, device=processes.device)
    made = not out.exists()
    inputs = [*(photo.source for photo in photos), *options.sources, *options.codecs, *options.models]
    claim(out, "eval", [*READ, *KEPT], inputs, options.overwrite)
    try:
        with Workers(partial(crew.prepare, options, processes.rank), options.jobs) as workers:
            known: Known = workers.greeting
            _check(options, known)

            def run(what: str, steps: Sequence[Step]) -> list[Any]:
                return _run(workers, steps, what, out, processes, quiet or not processes.is_first)

            images = [
                Step(f"{photo.name} {name}", partial(crew.code_image, photo, name, k < options.keep), equipped=True)
                for k, photo in enumerate(photos)
                for name in known.codecs
            ]
            # Codecs differ in speed: they shift from image to image, so that no process gets one codec for all.
            shift = [sum(divmod(k, len(known.codecs))) % processes.total for k in range(len(images))]
            run("images", [step for step, rank in zip(images, shift) if rank == processes.rank])
            processes.wait()
            found = records.load_all(out, {photo.name for photo in photos})
            old, fresh = _facts(out, known, found)
            of_sets = [
                Step(f"set {key[0]} {key[1]}", partial(crew.measure_members, members), equipped=True)
                for key, members in comparable(sets.groups(found)).used.items()
            ]
            mine = [*(fresh.values() if processes.is_first else ()), *of_sets[processes.rank :: processes.total]]
            done = run("sets and facts", mine)
            processes.wait()
            if not processes.is_first:
                return None
            facts = _all_facts(known, old, dict(zip(fresh, done)))
            with rewriting(out, READ):
                records.write_json(out / "codecs.json", facts)
                report = partial(run, "report")
                collected = results.collect(options, found, facts, known.absent, processes.total, report)
                results.write(out, collected)
                plots.write_plots(out, collected, report)
                write_atomically(out / "index.html", page.page(collected).encode())
                return collected
    except BaselineError:
        if made and [path.name for path in out.iterdir()] == [LIST]:
            (out / LIST).unlink()
            out.rmdir()
        raise


def check_figure(prefix: Path | None, inputs: Sequence[str | Path], overwrite: bool) -> None:
    """Raise Refused, before any work, where a file of a figure may not be written."""
    if prefix is not None:
        names = [f"{look}{suffix}" for look in ("", "-dark") for suffix in (".svg", ".pdf", ".png")]
        for name in (".csv", ".md", *names):
            protecting(inputs, overwrite).check(prefix.with_name(prefix.name + name), below=prefix.parent)


def write_figure(prefix: Path, collected: dict[str, Any]) -> None:
    """The summary and its overview as PREFIX.csv, .md and images for light and dark pages, for a README."""
    from .report import plots, tables

    prefix.parent.mkdir(parents=True, exist_ok=True)
    for suffix, text in (("csv", tables.means_csv(collected)), ("md", tables.markdown(tables.means_table(collected)))):
        write_atomically(prefix.with_name(f"{prefix.name}.{suffix}"), text.encode())
    for look, path in plots.looks(prefix):
        plots.overview(collected, path, look)


def _check(options: EvaluationOptions, known: Known) -> None:
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


def _run(workers: Workers, steps: Sequence[Step], what: str, out: Path, processes: Processes, quiet: bool) -> list[Any]:
    """What each step returned, in their order; None of one whose codec took its worker down: the rest goes on."""
    results = dict[int, Any]()
    events = (event for event in workers.run(steps) if isinstance(event, Died | Returned))
    for event in crew.progress(events, len(steps), what, quiet, lambda e: e.task.label, partial(echo, err=True)):
        if isinstance(event, Died):
            where = records.keep_noted(out, crew.note_path(out, processes.rank, event.worker), event.fault)
            if where is None:
                raise RuntimeError(f"a worker process ended ({event.fault}) at {event.task.label}, outside the codecs")
            echo(f"Problem: {where}: {records.CRASHED} ({event.fault}); going on without it.", err=True)
        else:
            results[id(event.task)] = event.result
    return [results.get(id(step)) for step in steps]


def _facts(out: Path, known: Known, found: list[Record]) -> tuple[Facts, dict[str, Step]]:
    """What earlier runs knew of the codecs, and steps that find it for those of this run that are new or changed."""
    try:
        old: Facts = json.loads((out / "codecs.json").read_text("utf-8"))
    except (OSError, ValueError):
        old = {}
    steps = {}
    for record in found:
        name = record.place.codec
        new = name in known.codecs and old.get(name, {}).get("note") != known.codecs[name]["note"]
        if new and not record.row["error"] and name not in steps:
            steps[name] = Step(f"facts of {name}", partial(crew.find_facts, name), equipped=True)
    return old, steps


def _all_facts(known: Known, old: Facts, found: Facts) -> Facts:
    """Version, rate control, cost and memory of every codec of this run, then of those of earlier runs, then errors."""
    facts = {}
    for name, of in known.codecs.items():
        same = old[name] if old.get(name, {}).get("note") == of["note"] else {}
        facts[name] = same | of | (found.get(name) or {})
    earlier = {name: of for name, of in old.items() if "error" not in of and name not in facts}
    return facts | earlier | {name: {"error": error} for name, error in known.errors.items()}
