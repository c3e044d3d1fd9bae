"""The verbs `gencomp train`, `export` and `int8`. torch is imported inside them, so that --help answers at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options as shared
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage
from gencomp.files import shown
from gencomp.outputs import protecting

if TYPE_CHECKING:
    from .recipe import Recipe

_PATH = click.Path(path_type=Path)
photographs = partial(click.option, multiple=True, metavar="FOLDER|NAME")
_COUNT = click.IntRange(min=0)


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not of the form key=value")
        pairs[key.strip()] = text.strip()
    return pairs


def _every(
    name: str, default: int, what: str, kind: click.ParamType = _COUNT, unit: str = "N"
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, type=kind, default=default, show_default=True, metavar=unit, help=what)


@click.command(help=Path(__file__).with_name("recipes.txt").read_text("utf-8"))
@click.argument("name", metavar="RECIPE")
@photographs(
    "--data",
    help="Photographs: a folder of images or parquet files, a parquet file, or a data set on the hub. Repeatable.",
)
@click.option("--out", type=_PATH, metavar="DIR", help="Folder of the run: checkpoints, log.jsonl, samples.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps; the recipe's by default.")
@click.option(
    "--init", metavar="MODEL|RUN", help="Start from a model (a file, or gencomp-base) or a run, with fresh optimisers."
)
@click.option(
    "--set", "overrides", multiple=True, callback=_pairs, metavar="KEY=VALUE", help="Change one value. Repeatable."
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, sizes and estimates, and stop.")
@click.option("--processes", type=click.IntRange(min=1), metavar="N", help="With --dry-run: estimates for N processes.")
@_every("--save-minutes", 10, "Minutes between checkpoints; 0: by steps alone.", click.FloatRange(min=0), "M")
@_every("--save-every", 0, "Steps between checkpoints; 0: by time alone.")
@_every("--keep", 2, "Checkpoints kept.", click.IntRange(min=1))
@_every("--log-every", 50, "Steps between lines of the log.")
@_every("--sample-every", 5000, "Steps between sample grids (original, realism 0, realism 1); 0: none.")
@_every("--validate-every", 5000, "Steps between validations on real files; 0: none.")
@photographs("--validate", "validate_on", help="Photographs to validate on; crops of --data by default.")
@click.option(
    "--tracker", multiple=True, metavar="NAME", help="Trackers of Accelerate, or none.  [default: tensorboard]"
)
@click.option(
    "--weights", type=click.Path(), metavar="DIR", help="Folder of feature networks' weights; then TORCH_HOME."
)
@click.option("--stream", is_flag=True, help="Read --data (parquet files) in chunks, for sets larger than the disk.")
@shared.overwrite
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: one JSON object.")
def train(
    name: str,
    data: tuple[str, ...],
    out: Path | None,
    steps: int | None,
    init: str | None,
    overrides: dict[str, str],
    dry_run: bool,
    processes: int | None,
    as_json: bool,
    tracker: tuple[str, ...],
    **kept: Any,
) -> None:
    from .settings import RecipeError, recipe

    overrides = {**({} if steps is None else {"steps": str(steps)}), **overrides}
    try:
        chosen = recipe(name, overrides)
    except RecipeError as error:
        raise WrongUsage(str(error)) from error
    if dry_run:
        if init is not None:
            from .resume import followed, model_file, starting_point

            chosen = followed(chosen, starting_point(model_file(init)))
        _describe(chosen, processes or int(os.environ.get("WORLD_SIZE", "1")), as_json)
        return
    if as_json:
        raise WrongUsage("--json goes with --dry-run; a run writes log.jsonl")
    if processes is not None:
        raise WrongUsage("--processes goes with --dry-run; a launcher starts processes (accelerate launch, torchrun)")
    if not data:
        raise WrongUsage("name the photographs to train on: --data FOLDER")
    if out is None:
        raise WrongUsage("name the folder of the run: --out DIR")
    if not kept["log_every"]:
        raise WrongUsage("--log-every must be at least 1")

    from .loop import RunOptions, Stopped, run

    options = RunOptions(trackers=_trackers(tracker), **kept)
    try:
        _say(f"done: {run(chosen, list(data), out, init=init, options=options)}")
    except Stopped as stopped:
        _say(str(stopped))


def _say(text: str) -> None:
    """One line, from the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        echo(text)


def _trackers(named: tuple[str, ...]) -> tuple[str, ...]:
    """What was asked for; by default TensorBoard where it is installed."""
    if named:
        return () if named == ("none",) else named
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        echo("Note: without TensorBoard (pip install 'gencomp[watch]') the run is written to log.jsonl alone", err=True)
        return ()
    return ("tensorboard",)


def _describe(chosen: Recipe, processes: int, as_json: bool) -> None:
    import torch

    from .plan import describe, estimate
    from .recipe import to_dict, to_json

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if as_json:
        _say(json.dumps({"recipe": to_dict(chosen), "stages": estimate(chosen, processes, device)}))
        return
    _say(to_json(chosen))
    _say(describe(chosen, processes, device))


@click.command()
@click.argument("run", type=_PATH, required=False)
@click.option("-o", "--output", type=_PATH, metavar="MODEL", help="The model file that RUN becomes.")
@click.option("--onnx", type=_PATH, metavar="DIR", help="Write the model as ONNX files with a README for others.")
@click.option("--model", metavar="NAME|FILE", help="Without RUN: the model for --onnx.  [default: the embedded one]")
@shared.overwrite
@photographs("--data", help="To calibrate on; the run's own photographs by default.")
@click.option("--name", default="", help="The model's name; the recipe's by default.")
@click.option("--integers", type=_PATH, metavar="MODEL", help="Keep the integers, and so the files, of this model.")
@click.option("--strict", is_flag=True, help="Fail where the integers change the rate by over 0.2 %.")
@click.option(
    "--realism-scale",
    type=click.FloatRange(0, 2, min_open=True),
    default=1.0,
    show_default=True,
    metavar="R",
    help="The realism of training that becomes realism 1; a lower one costs less distortion.",
)
@click.option(
    "--average",
    type=(_PATH, click.FloatRange(0, 1)),
    metavar="MODEL SHARE",
    help="Average the weights with those of a model of the same network, such as the run began with.",
)
@click.option(
    "--graphs/--no-graphs",
    default=True,
    show_default=True,
    help="Write the transforms as ONNX graphs, too, for decoding without PyTorch.",
)
@click.option("--push-to-hub", metavar="USER/NAME", help="Upload the model, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def export(
    run: Path | None,
    output: Path | None,
    onnx: Path | None,
    model: str | None,
    overwrite: bool,
    data: tuple[str, ...],
    push_to_hub: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Convert a training RUN to a model file that codes exactly everywhere, or a model to ONNX files.

    RUN is the folder of a run, whose newest checkpoint counts, or one checkpoint. The averaged weights are taken, the
    prior is converted to integers with tables fitted to what is coded, their bounds are proved, the self-test is run,
    and the change of the rate is reported. A run that began with a model and left what decides bits alone keeps that
    model's integers: old files stay readable. Equal runs give equal files.

    \b
    gencomp export runs/base -o base.safetensors
    gencomp export --onnx base-onnx/ --model base.safetensors
    """
    if (run is None) != (output is None) or (run is None and onnx is None):
        raise WrongUsage("give RUN and -o MODEL, or --onnx DIR, or all three")
    if run is not None and model is not None:
        raise WrongUsage("--model goes with --onnx alone: with RUN, its own model is written")
    if onnx is not None:
        from .onnx_folder import check_folder, export_onnx

        check_folder(onnx, overwrite)
    if run is None or output is None:
        assert onnx is not None
        from gencomp.codec import model_path
        from gencomp.model import load_model

        source = load_model(model_path(model))
        export_onnx(source, onnx, overwrite)
        record = {"path": str(onnx), "name": source.name, "model": source.id.hex()}
        echo(json.dumps(record) if as_json else f"{shown(onnx)}: {source.name}, model {source.id.hex()}, as ONNX")
        return
    from . import export as exporting

    protecting([*exporting.inputs_of(run), how["integers"], (how["average"] or [None])[0], *data], overwrite).check(
        output
    )
    done = exporting.export(run, output, data=list(data) or None, replace=output.exists(), **how)
    facts = done.model.facts
    if as_json:
        record = {"path": str(output), "name": done.model.name, "model": done.model.id.hex(), **facts}
        echo(json.dumps(record | {"bytes": output.stat().st_size, "rate_change": done.rate_change}))
    else:
        echo(
            f"{shown(output)}: model {done.model.id.hex()}, {facts['parameters']:,} parameters, "
            f"rate {100 * done.rate_change:+.3f} % against the float networks"
        )
    if done.rate_change > exporting.RATE_WARNING:
        echo("Warning: the integers raise the rate by over 0.2 %", err=True)
    if onnx is not None:
        export_onnx(done.model, onnx, overwrite)
    if push_to_hub:
        echo(exporting.push_to_hub(done.model, output, push_to_hub))


@click.command()
@click.argument("model", metavar="MODEL")
@photographs("--data", required=True, help="Photographs to calibrate on: a few dozen that look like yours. Repeatable.")
@click.option("-o", "--output", required=True, type=_PATH, metavar="FILE", help="The model file.")
@shared.overwrite
@click.option("--name", default="", help="The model's name; MODEL's and -int8 by default.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def int8(model: str, data: tuple[str, ...], output: Path, overwrite: bool, name: str, as_json: bool) -> None:
    """Let the decoder of MODEL compute in eight bits, on ONNX Runtime.

    MODEL is a file or gencomp-base. The bottlenecks of the synthesis get weights of eight bits, and ranges of
    activations that are measured on photographs; nothing is trained. The encoder and the integers stay, and so do all
    files: the model id is MODEL's. PyTorch decodes with the same weights in float32, about a grey level apart.

    \b
    gencomp int8 gencomp-base --data photos/ -o int8.safetensors
    gencomp decompress photo.gnc --model int8.safetensors

    A decoder that was trained for eight bits loses less: see "Eight bits" in train/README.md.
    """
    from .export import quantise
    from .resume import model_file

    source = model_file(model)
    protecting([source, *data], overwrite).check(output)
    done = quantise(source, output, list(data), name, replace=output.exists())
    if as_json:
        record = {"path": str(output), "name": done.name, "model": done.id.hex(), "layers": len(done.int8)}
        echo(json.dumps(record | {"bytes": output.stat().st_size, "bytes_before": source.stat().st_size}))
    else:
        echo(f"{shown(output)}: model {done.id.hex()}, {len(done.int8)} layers in eight bits")
