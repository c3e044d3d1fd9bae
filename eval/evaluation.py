"""An evaluation from its options to its report, by one process or many."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from gencomp.files import write_atomically
from gencomp.perceptual import WeightsError

from .codecs import ours as learned
from .codecs.baseline import Peer, PeerError
from .metrics import measures, networks
from .report import results
from .report.results import Context
from .run import records as cells
from .run import sets
from .run.photos import Photo
from .run.processes import Processes
from .run.records import Target
from .run.work import Measuring, Unit, work


class Options(NamedTuple):
    """What a run was asked for."""

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


class Codecs(NamedTuple):
    """The codecs of a run: those that can be used, and by name why others cannot."""

    peers: list[Peer]
    errors: dict[str, str]


def evaluate(options: Options, photos: list[Photo], processes: Processes, quiet: bool) -> dict[str, Any] | None:
    """Do the work that is missing in the output folder and write its results; None on all processes but the first."""
    out = options.out
    codecs = build_codecs(options, processes.device)
    if not codecs.peers:
        reasons = "; ".join(f"{name}: {why}" for name, why in codecs.errors.items())
        raise PeerError(f"none of the codecs can be used: {reasons}")
    _check_targets(options.targets, [peer.name for peer in codecs.peers])
    out.mkdir(parents=True, exist_ok=True)
    device = _meter_device(processes.device)
    extractors, absent_features = _extractors(options, device)
    meters, absent = measures.meters(options.metrics, options.weights, device)
    measuring = Measuring(meters, extractors, options.patch)
    units = [Unit(photo, peer, _targets(options, peer), options.realisms) for photo in photos for peer in codecs.peers]
    # Codecs differ in speed: they shift from picture to picture, so that no process gets one codec for all.
    shift = [sum(divmod(k, len(codecs.peers))) % processes.total for k in range(len(units))]
    mine = [unit for unit, rank in zip(units, shift) if rank == processes.rank]
    silent = quiet or not processes.is_first
    for unit in _progress(mine, "pictures", silent, lambda u: f"{u.photo.name} {u.peer.name}"):
        work(unit, out, measuring)
    processes.wait()
    groups = list(sets.groups(cells.load_all(out)).values())
    for members in _progress(processes.share(groups), "sets", silent, lambda m: m[0].place.codec):
        sets.measure_set(out, members, options.metrics, list(extractors), options.patch)
    processes.wait()
    if not processes.is_first:
        return None
    facts = codec_facts(out, codecs, photos, options)
    context = Context(results.command_line(), list(options.sources), facts, absent | absent_features,
                      options.anchor, options.window, options.patch, processes.total)  # fmt: skip
    return finish(out, context)


def finish(out: Path, context: Context) -> dict[str, Any]:
    """Collect what the folder holds and write the results, the plots and the report."""
    from .report import page as report
    from .report import plots, summary

    collected = results.collect(out, context)
    results.write(out, collected)
    names = [m for m in collected["metrics"] if not m.startswith("band_energy_")]
    plots.write_plots(out, collected["summary"], summary.series(collected["summary"]), names,
                      collected["photos"]["dataset"])  # fmt: skip
    report.write(out, collected)
    return collected


def write_figure(prefix: Path, collected: dict[str, Any]) -> None:
    """The summary and its overview as PREFIX.csv, .md, .png and .svg, for a README."""
    from .report import plots, published, summary

    prefix.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(prefix.with_name(prefix.name + ".csv"), results.summary_csv(collected).encode())
    write_atomically(prefix.with_name(prefix.name + ".md"), results.summary_md(collected).encode())
    dataset = collected["photos"]["dataset"]
    reference = [p for p in published.curves() if p.dataset == dataset and p.label in published.PROMINENT]
    rows = collected["summary"]
    plots.overview(rows, summary.series(rows), list(collected["metrics"]), reference, prefix)


def build_codecs(options: Options, device: str) -> Codecs:
    """The codecs asked for, built once in this process."""
    from gencomp.bitstream import ModelError

    peers: list[Peer] = []
    errors: dict[str, str] = {}
    for name in options.codecs:
        try:
            built = learned.build(name, options.models, device)
        except (PeerError, ModelError) as error:
            errors[name] = str(error)
            continue
        peers += [peer for peer in built if peer.name not in {p.name for p in peers}]
    return Codecs(peers, errors)


def _check_targets(targets: tuple[Target, ...], names: list[str]) -> None:
    """Raise PeerError where a setting is for a codec that is not there, or a codec is left without anything to do."""
    strangers = [target.codec for target in targets if target.codec not in (None, *names)]
    if strangers:
        raise PeerError(f"--quality {strangers[0]}:...: no codec of this run has that name ({', '.join(names)})")
    idle = [name for name in names if not any(target.codec in (None, name) for target in targets)]
    if idle:
        raise PeerError(f"{idle[0]} has neither a --bpp nor a --quality: add one, or leave the codec out")


def _targets(options: Options, peer: Peer) -> list[Target]:
    return [target for target in options.targets if target.codec in (None, peer.name)]


def _extractors(options: Options, device: str) -> tuple[dict[str, networks.Extract], dict[str, str]]:
    """The feature networks that FID and KID need, and why some are missing."""
    ready: dict[str, networks.Extract] = {}
    absent: dict[str, str] = {}
    wanted = [m for m in ("fid", "kid") if m in options.metrics]
    for name in options.features if wanted else ():
        try:
            ready[name] = networks.features(name, options.weights, device)
        except WeightsError as error:
            absent |= {sets.column(m, name): f"not measured: {measures.reason(error)}" for m in wanted}
        except ImportError as error:
            why = f"not measured: needs {error.name}: pip install 'gencomp[metrics]'"
            absent |= {sets.column(m, name): why for m in wanted}
    return ready, absent


def _meter_device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def codec_facts(out: Path, codecs: Codecs, photos: list[Photo], options: Options) -> dict[str, dict[str, Any]]:
    """What is known of each codec of this run and of earlier ones: version, knob, cost and memory, or its error."""
    path = out / "codecs.json"
    try:
        known: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        known = {}
    known = {name: facts for name, facts in known.items() if "error" not in facts}
    for peer in codecs.peers:
        if known.get(peer.name, {}).get("note") != peer.note:
            knob = peer.knob._asdict()
            known[peer.name] = {"note": peer.note, "knob": knob, **peer.facts(), **_memory(peer, photos, options)}
    known |= {name: {"error": error} for name, error in codecs.errors.items()}
    write_atomically(path, json.dumps(known, indent=1).encode())
    return known


def _memory(peer: Peer, photos: list[Photo], options: Options) -> dict[str, float]:
    """Peak resident memory [MB] of a fresh process that codes and decodes the first picture that can be read."""
    cell = next((c for c in cells.load_all(options.out) if c.place.codec == peer.name and not c.row["error"]), None)
    if cell is None:
        return {}
    models = [part for model in options.models for part in ("--model", model)]
    command = [sys.executable, "-m", "gencomp.eval.run.memory", peer.name, str(options.out / cell.row["original"]),
               str(cell.row["knob"]), *models]  # fmt: skip
    if not peer.name.startswith("gencomp") and peer.name not in learned.BUILT_IN:
        return {}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except subprocess.TimeoutExpired:
        return {}
    return json.loads(done.stdout) if done.returncode == 0 else {}


def _progress(items: list[Any], what: str, silent: bool, label: Callable[[Any], str]) -> Any:
    """The items, with a bar that names the current one."""
    bar = tqdm(items, desc=what, disable=True if silent else None, unit="")
    for item in bar:
        bar.set_postfix_str(label(item), refresh=True)
        yield item
