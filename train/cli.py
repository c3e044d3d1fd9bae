"""The verb `gencomp train`. torch is imported inside it, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gencomp.cli import options as shared
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage, debugging, explain, open_streams
from gencomp.processes import guarded

from .cli_export import export
from .cli_int8 import int8

if TYPE_CHECKING:
    from .recipe import Recipe

__all__ = ["export", "int8", "main", "train"]

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


@click.command(help=Path(__file__).with_name("recipes.txt").read_text("utf-8"))
@click.argument("name", metavar="RECIPE")
@click.option(
    "--data",
    multiple=True,
    metavar=_DATA,
    help="Photographs: a folder of images or parquet files, a parquet file, or a data set on the hub. Repeatable.",
)
@click.option("--out", type=_FOLDER, metavar="DIR", help="Folder of the run: checkpoints, log.jsonl, samples.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps; the recipe's by default.")
@click.option(
    "--init", metavar="MODEL|RUN", help="Start from a model (a file, or gencomp-base) or a run, with fresh optimisers."
)
@click.option(
    "--set", "overrides", multiple=True, callback=_pairs, metavar="KEY=VALUE", help="Change one value. Repeatable."
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, sizes and estimates, and stop.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --dry-run: estimates for N processes.",
)
@click.option(
    "--save-minutes",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    metavar="M",
    help="Minutes between checkpoints; 0: by steps alone.",
)
@_every("--save-every", 0, "Steps between checkpoints; 0: by time alone.")
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
    save_minutes: float,
    save_every: int,
    keep: int,
    log_every: int,
    sample_every: int,
    validate_every: int,
    validate: tuple[str, ...],
    tracker: tuple[str, ...],
    weights: Path | None,
    stream: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    from .settings import RecipeError, recipe

    overrides = {**({} if steps is None else {"steps": str(steps)}), **overrides}
    try:
        chosen = recipe(name, overrides)
    except RecipeError as error:
        raise WrongUsage(str(error)) from error
    if dry_run:
        if init is not None:
            from .resume import followed

            chosen = followed(chosen, init)
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
    if not log_every:
        raise WrongUsage("--log-every must be at least 1")

    from .loop import Options, Stopped, run

    options = Options(
        save_every=save_every,
        save_minutes=save_minutes,
        keep=keep,
        log_every=log_every,
        sample_every=sample_every,
        validate_every=validate_every,
        validate_on=validate,
        trackers=_trackers(tracker),
        weights=str(weights) if weights else None,
        stream=stream,
        overwrite=overwrite,
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
    import json

    import torch

    from .plan import describe, estimate
    from .recipe import to_dict, to_json

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if as_json:
        _say(json.dumps({"recipe": to_dict(chosen), "stages": estimate(chosen, processes, device)}))
        return
    _say(to_json(chosen))
    _say(describe(chosen, processes, device))


def main() -> int:
    """`python -m gencomp.train`: the verb `train` alone, errors in one line."""
    open_streams()
    try:
        with guarded():
            train.main(prog_name="gencomp train", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        echo("Interrupted", err=True)
        return 130
    except Exception as error:
        if debugging():
            raise
        echo(f"Error: {explain(error)}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
