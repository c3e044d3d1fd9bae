"""The verbs `gencomp train` and `gencomp export`. torch is imported inside them, so that --help answers at once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gencomp.verbs import WrongUsage, debugging, explain


def _pairs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not of the form key=value")
        pairs[key.strip()] = text.strip()
    return pairs


@click.command()
@click.argument("name", metavar="RECIPE")
@click.option("--data", multiple=True, metavar="FOLDER|NAME", help="Photographs; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the run.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="Optimiser steps; the recipe's by default.")
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="MODEL|RUN",
    help="Start from an exported model or another run, with a fresh optimiser.",
)
@click.option(
    "--save-every",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    metavar="N",
    help="Steps between checkpoints.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    callback=_pairs,
    metavar="KEY=VALUE",
    help="Change one value of the recipe; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, sizes and estimates, and stop.")
def train(
    name: str,
    data: tuple[str, ...],
    out: Path | None,
    steps: int | None,
    init: Path | None,
    save_every: int,
    overrides: dict[str, str],
    dry_run: bool,
) -> None:
    """Train a codec by a recipe: base (stage 1), tiny (a trial in seconds).

    The same command resumes a run that was stopped, exactly where its last checkpoint stands.

    \b
    gencomp train base --data photos/ --out runs/base
    accelerate launch -m gencomp.train base --data photos/ --out runs/base
    """
    from .recipes import RecipeError, recipe, to_json

    if steps is not None:
        overrides = {**overrides, "steps": str(steps)}
    try:
        chosen = recipe(name, overrides)
    except RecipeError as error:
        raise WrongUsage(str(error)) from error
    if dry_run:
        click.echo(to_json(chosen))
        return
    if not data:
        raise WrongUsage("name the photographs to train on: --data FOLDER")
    if out is None:
        raise WrongUsage("name the folder of the run: --out DIR")

    from .loop import Options, run

    click.echo(f"done: {run(chosen, list(data), out, init=init, options=Options(save_every=save_every))}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="MODEL", help="The model file.")
@click.option(
    "--data", multiple=True, metavar="FOLDER|NAME", help="Photographs to calibrate on; those of the run by default."
)
@click.option("--name", default="", help="The model's name; the recipe's by default.")
@click.option("--strict", is_flag=True, help="Fail where the integers change the rate by over 0.2 %.")
def export(run: Path, output: Path, data: tuple[str, ...], name: str, strict: bool) -> None:
    """Convert a training RUN to a model file that codes exactly everywhere.

    Takes the averaged weights of the newest checkpoint, converts the prior to integers, proves their bounds, runs the
    self-test, and reports by how much the rate changes. Equal runs give equal files.
    """
    from .export import RATE_WARNING
    from .export import export as convert

    done = convert(run, output, name=name, data=list(data) or None, strict=strict)
    click.echo(
        f"{output}: model {done.model.id.hex()}, {done.model.facts['parameters']:,} parameters, "
        f"rate {100 * done.rate_change:+.3f} % against the float networks"
    )
    if abs(done.rate_change) > RATE_WARNING:
        click.echo("Warning: the integers change the rate by over 0.2 %", err=True)


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
