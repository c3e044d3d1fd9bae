"""A codec whose native code takes its process down: which image it was, noted beforehand.

Before a codec is called, the records that would say of its failure are written beside the results, and removed when it
has returned. A process that ends by a fault in between leaves them behind; whoever waited for it makes results of them.
Such a result stands until the codec or the image changes.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gencomp.files import write_atomically

from . import records
from .records import Record

CRASHED = "crashed the program"


@contextmanager
def noted(note: Path, failures: Sequence[Record]) -> Iterator[None]:
    """Keep on disk, for as long as the work inside lasts, which records have failed if the process does not survive."""
    write_atomically(note, json.dumps([record._asdict() for record in failures]).encode())
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def keep(out: Path, note: Path, fault: str) -> str | None:
    """Save the records that a dead process has noted; which codec and image they are of, or None without any."""
    try:
        failures = [Record(**record) for record in json.loads(note.read_text("utf-8"))]
        note.unlink()
    except (OSError, ValueError, TypeError):
        return None
    for record in failures:
        records.save(out, record._replace(row=record.row | {"error": f"{CRASHED} ({fault})"}))
    return f"{failures[0].place.codec}, {failures[0].place.image} at {failures[0].place.setting}"
