"""What the verbs share: kinds of arguments, and errors as one line."""

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options
from gencomp.cli.group import explain

if TYPE_CHECKING:
    from .web.store import Store

TASK = click.Choice(["pairs", "dsis", "acr"])
DESIGN = click.Choice(["full", "random", "active"])
seed = click.option("--seed", type=click.IntRange(0), default=0)
study_folder = click.argument("folder", metavar="DIR", type=options.OLD_FOLDER)


class Verbs(click.Group):
    """Whatever the owner can mend comes out as one line and status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        from .plan import StudyError

        try:
            return super().invoke(ctx)
        except sqlite3.DatabaseError as error:
            raise click.ClickException(f"votes.sqlite cannot be used ({error}); restore it from a copy") from error
        except (StudyError, ImportError, OSError) as error:
            raise click.ClickException(explain(error, "study")) from error


def check_task(task: str, design: str, ties: bool) -> None:
    if task != "pairs" and (design == "active" or ties):
        raise click.UsageError("--design active and --ties are for --task pairs")


def bar(what: str, unit: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Shows on a terminal how far a walk has come."""
    from tqdm import tqdm

    return partial(tqdm, desc=what, unit=unit, leave=False, disable=None)


def own_files(folder: Path) -> list[Path]:
    """What a study's folder holds, of which no other output may take the place."""
    names = ("study.json", "consent.txt", "links.txt", "images", "votes.sqlite", "votes.sqlite-wal", "votes.sqlite-shm")
    return [folder / name for name in names]


def store_of(folder: Path, study_id: str) -> "Store":
    """The votes, until the verb ends."""
    from .web.store import Store

    store = Store(folder, study_id)
    click.get_current_context().call_on_close(store.close)
    return store
