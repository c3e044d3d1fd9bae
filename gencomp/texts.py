"""What names and figures that come from outside become in a page and in a table; in a terminal, see `files.shown`."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that Excel, LibreOffice and others compute


def script_json(data: Any) -> str:
    """JSON that may stand in a <script> element of any type: no name in it ends the element or begins a comment."""
    return json.dumps(data).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A table with a head; what is no column is left out. Text that a spreadsheet would compute gets an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_inert, columns))
    writer.writerows([_inert(row.get(column)) for column in columns] for row in rows)
    return stream.getvalue()


def csv_rows(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """The head of a table and its rows by it, as `csv_text` was given them; csv.Error for what is no table."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns = [_plain(cell) for cell in next(lines, [])]
    return columns, [dict(zip(columns, map(_plain, line))) for line in lines if line]


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip("'").startswith(_FORMULA) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell
