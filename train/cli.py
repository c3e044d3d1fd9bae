"""The verbs `gencomp train` and `gencomp export`. torch is imported inside them, so that --help answers at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gencomp.cli.group import WrongUsage, debugging, explain

if TYPE_CHECKING:
    from .recipes import Recipe

_FOLDER = click.Path(path_type=Path)
_DATA = "FOLDER|NAME"


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not of the form key=value")
        pairs[key.strip()] = text.strip()
    return pairs


def _every(name: str, default: int, what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, type=click.IntRange(min=0), default=default, show_default=True, metavar="N", help=what)


@click.command()
@click.argument("name", metavar="RECIPE")
@click.option(
    "--data",
    multiple=True,
    metavar=_DATA,
    help="Photographs: a folder of pictures or parquet files, a parquet file, or a data set on the hub. Repeatable.",
)
@click.option("--out", type=_FOLDER, metavar="DIR", help="Folder of the run: checkpoints, log.jsonl, samples.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps; the recipe's by default.")
@click.option("--init", type=_FOLDER, metavar="MODEL|RUN", help="Start from a model or a run, with fresh optimisers.")
@click.option(
    "--set", "overrides", multiple=True, callback=_pairs, metavar="KEY=VALUE", help="Change one value. Repeatable."
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, sizes and estimates, and stop.")
@_every("--save-every", 500, "Steps between checkpoints.")
@click.option("--keep", type=click.IntRange(min=1), default=2, show_default=True, metavar="N", help="Checkpoints kept.")
@_every("--log-every", 50, "Steps between lines of the log.")
@_every("--sample-every", 5000, "Steps between sample grids (original, realism 0, realism 1); 0: none.")
@_every("--validate-every", 5000, "Steps between validations on real files; 0: none.")
@click.option(
    "--validate", multiple=True, metavar=_DATA, help="Photographs to validate on; crops of --data by default."
)
@click.option(
    "--tracker", multiple=True, metavar="NAME", help="Trackers of Accelerate, or none.  [default: tensorboard]"
)
@click.option("--weights", type=_FOLDER, metavar="DIR", help="Folder of feature networks' weights; then TORCH_HOME.")
@click.option("--stream", is_flag=True, help="Read --data (one hub name or parquet folder) in order, for large sets.")
def train(
    name: str,
    data: tuple[str, ...],
    out: Path | None,
    steps: int | None,
    init: Path | None,
    overrides: dict[str, str],
    dry_run: bool,
    save_every: int,
    keep: int,
    log_every: int,
    sample_every: int,
    validate_every: int,
    validate: tuple[str, ...],
    tracker: tuple[str, ...],
    weights: Path | None,
    stream: bool,
) -> None:
    """Train a codec by a RECIPE.

    \b
    base       rate and distortion, every rate in one model (stage 1)
    gan        realism: goes on from a base model, leaves its files as they are
    illm       gan with a non-binary discriminator (MS-ILLM)
    projected  gan with a discriminator on a frozen timm network
    hific-lo, hific-mi, hific-hi   the paper's networks, losses and schedule
    tiny       both stages in seconds, to try things out

    The same command resumes a run that was stopped or killed, exactly where its last checkpoint stands.

    \b
    gencomp train base --data photos/ --out runs/base
    gencomp export runs/base -o base.safetensors
    gencomp train gan --data photos/ --init base.safetensors --out runs/gan
    accelerate launch -m gencomp.train base --data photos/ --out runs/base
    """
    from .recipes import RecipeError, recipe

    if steps is not None:
        overrides = {**overrides, "steps": str(steps)}
    try:
        chosen = recipe(name, overrides)
    except RecipeError as error:
        raise WrongUsage(str(error)) from error
    if dry_run:
        _describe(chosen)
        return
    if not data:
        raise WrongUsage("name the photographs to train on: --data FOLDER")
    if out is None:
        raise WrongUsage("name the folder of the run: --out DIR")
    if not save_every or not log_every:
        raise WrongUsage("--save-every and --log-every must be at least 1")

    from .loop import Options, Stopped, run

    options = Options(
        save_every=save_every,
        keep=keep,
        log_every=log_every,
        sample_every=sample_every,
        validate_every=validate_every,
        validate_on=validate,
        trackers=_trackers(tracker),
        weights=str(weights) if weights else None,
        stream=stream,
    )
    try:
        last = run(chosen, list(data), out, init=init, options=options)
    except Stopped as stopped:
        _say(str(stopped))
        return
    _say(f"done: {last}")


def _say(text: str) -> None:
    """One line, from the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(text)


def _trackers(named: tuple[str, ...]) -> tuple[str, ...]:
    """What was asked for; by default TensorBoard where it is installed."""
    if named:
        return () if named == ("none",) else named
    from importlib.util import find_spec

    if find_spec("tensorboard") is None:
        click.echo(
            "Note: without TensorBoard (pip install 'gencomp[watch]') the run is written to log.jsonl alone", err=True
        )
        return ()
    return ("tensorboard",)


def _describe(chosen: Recipe) -> None:
    import torch

    from .data.batches import share_of
    from .plan import describe
    from .recipes import to_json

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    share_of(chosen, processes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _say(to_json(chosen))
    _say(describe(chosen, processes, device))


@click.command()
@click.argument("run", type=_FOLDER)
@click.option("-o", "--output", required=True, type=_FOLDER, metavar="MODEL", help="The model file.")
@click.option("--data", multiple=True, metavar=_DATA, help="Photographs to calibrate on; the run's own by default.")
@click.option("--name", default="", help="The model's name; the recipe's by default.")
@click.option("--integers", type=_FOLDER, metavar="MODEL", help="Keep the integers, and so the files, of this model.")
@click.option("--strict", is_flag=True, help="Fail where the integers change the rate by over 0.2 %.")
@click.option(
    "--strongest",
    type=click.FloatRange(0, 2, min_open=True),
    default=1.0,
    show_default=True,
    metavar="R",
    help="The realism of training that becomes realism 1: less of it costs less distortion.",
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
    run: Path,
    output: Path,
    data: tuple[str, ...],
    name: str,
    integers: Path | None,
    strict: bool,
    strongest: float,
    graphs: bool,
    push_to_hub: str | None,
    as_json: bool,
) -> None:
    """Convert a training RUN to a model file that codes exactly everywhere.

    RUN is the folder of a run, whose newest checkpoint counts, or one checkpoint. The averaged weights are taken, the
    prior is converted to integers, their bounds are proved, the self-test is run, and the change of the rate is
    reported. A run that began with a model and left what decides bits alone keeps that model's integers: old files stay
    readable. Equal runs give equal files.
    """
    from .export import RATE_WARNING
    from .export import export as convert

    done = convert(
        run,
        output,
        name=name,
        data=list(data) or None,
        integers_of=integers,
        strict=strict,
        strongest=strongest,
        graphs=graphs,
    )
    facts = done.model.facts
    if as_json:
        record = {"path": str(output), "name": done.model.name, "model": done.model.id.hex(), **facts}
        click.echo(json.dumps(record | {"bytes": output.stat().st_size, "rate_change": done.rate_change}))
    else:
        click.echo(
            f"{output}: model {done.model.id.hex()}, {facts['parameters']:,} parameters, "
            f"rate {100 * done.rate_change:+.3f} % against the float networks"
        )
    if abs(done.rate_change) > RATE_WARNING:
        click.echo("Warning: the integers change the rate by over 0.2 %", err=True)
    if push_to_hub:
        from .hub import push_to_hub as push

        click.echo(push(done.model, output, push_to_hub))


def main() -> int:
    """`python -m gencomp.train`: the verb `train` alone, errors in one line."""
    try:
        train.main(prog_name="gencomp train", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted", err=True)
        return 130
    except Exception as error:
        if debugging():
            raise
        click.echo(f"Error: {explain(error)}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
