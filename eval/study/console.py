"""What the verbs share: kinds of arguments, and errors as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from gencomp.files import shown

FOLDER = click.Path(file_okay=False, path_type=Path)
STUDY = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def own_files(folder: Path) -> list[Path]:
    """What a study's folder holds, of which no other output may take the place."""
    names = ("study.json", "consent.txt", "links.txt", "images", "votes.sqlite", "votes.sqlite-wal", "votes.sqlite-shm")
    return [folder / name for name in names]


@contextmanager
def one_line() -> Iterator[None]:
    """Whatever the owner can mend comes out as one line and status 1."""
    import sqlite3

    from .plan import StudyError

    try:
        yield
    except StudyError as error:
        raise click.ClickException(shown(str(error))) from error
    except sqlite3.DatabaseError as error:
        raise click.ClickException(f"votes.sqlite cannot be used ({error}); restore it from a copy") from error
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed: pip install 'gencomp[study]'") from error
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        raise click.ClickException(shown(text)) from error
