"""What is done with each sample of a shard, whatever the shard is: one row, and an output or none."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from gencomp.bulk.status import DONE, FAILED, SKIPPED, Row
from gencomp.bulk.tar import Read
from gencomp.bulk.thumbnail import thumbnail
from gencomp.bulk.transform import Transform, is_coded
from gencomp.cli.group import explain

THUMBNAILS = 20  # per shard
_MAX_TEXT = 300


class UnreadableError(Exception):
    """One sample's file cannot be read; the others can."""


class Watch:
    """What a caller wants to hear of a shard on its way; this one does not listen."""

    def begin(self, sample: str) -> None:
        """Work on a sample begins."""

    def end(self, row: Row) -> None:
        """A sample is done, skipped or failed."""


class Recorder:
    """before: rows of an earlier attempt, whose failed samples alone are repeated; poison: samples not to be tried,
    with the error to report. `rows` grows by one with every call of `code`.
    """

    def __init__(self, transform: Transform, before: Sequence[Row], poison: Mapping[str, str], watch: Watch) -> None:
        self.transform = transform
        self.rows: list[Row] = []
        self._before = {row.sample: row for row in before}
        self._poison = poison
        self._watch = watch
        self._thumbnails = 0

    def code(self, name: str, read: Read, read_kept: Read) -> bytes | None:
        """The sample's output, or None where there is none to write: it failed, is null, or nothing is written."""
        sample = printable(name)
        old = self._before.get(sample)
        if old is not None and old.status != FAILED:
            kept = read_kept()
            if kept is not None or self.transform.settings.direction == "verify":
                self.rows.append(old)
                return kept
        self._watch.begin(sample)
        row, output = self._attempt(sample, read)
        self.rows.append(row)
        self._watch.end(row)
        return output

    def _attempt(self, sample: str, read: Read) -> tuple[Row, bytes | None]:
        if sample in self._poison:
            return Row(sample, FAILED, self._poison[sample]), None
        try:
            data = read()
        except UnreadableError as error:
            return Row(sample, FAILED, one_line(str(error))), None
        if data is None:
            return Row(sample, SKIPPED, note="no image"), None
        if self.transform.settings.direction == "code" and is_coded(data):
            return Row(sample, SKIPPED, note="a .gnc file already", bytes_in=len(data), bytes_out=len(data)), data
        start = time.perf_counter()
        try:
            output = self.transform(data)
        except Exception as error:  # whatever a decoder raises for broken bytes: this sample failed, the rest go on
            return self._failed(sample, data, explain(error), time.perf_counter() - start), None
        seconds = time.perf_counter() - start
        size = None if output.data is None else len(output.data)
        note = output.note and one_line(output.note)
        row = Row(sample, DONE, None, note, len(data), size, output.width, output.height, seconds)
        return row, output.data

    def _failed(self, sample: str, data: bytes, error: str, seconds: float) -> Row:
        small = thumbnail(data) if self._thumbnails < THUMBNAILS else None
        self._thumbnails += small is not None
        return Row(sample, FAILED, one_line(error), bytes_in=len(data), seconds=seconds, thumbnail=small)


def printable(name: str) -> str:
    """A name for tables and terminals: no control characters, valid UTF-8."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
