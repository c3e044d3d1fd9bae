"""What is done with each sample of a shard, whatever the shard is: one row, and an output or none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from gencomp.bulk.status import DONE, FAILED, SKIPPED, Row
from gencomp.bulk.transform import SHOWN_SIDE, Transform, is_coded, thumbnail
from gencomp.cli.group import explain
from gencomp.files import shown

THUMBNAILS = 20  # of failures per shard
_MAX_TEXT = 300
_MAX_SHOWN = 4_000_000  # pixels of a sample for the report, which is decoded once more

Read = Callable[[], bytes | None]
"""Reads when asked to: a sample, or its output from an earlier attempt; None where there is none."""


class UnreadableError(Exception):
    """One sample's file cannot be read; the others can."""


class Watch:
    """What a caller wants to hear of a shard on its way; this one does not listen."""

    def begin(self, sample: str) -> None:
        """Work on a sample begins."""

    def end(self, row: Row) -> None:
        """A sample is done, skipped or failed."""


class Recorder:
    """before: rows of an earlier attempt at the same inputs, whose failed samples alone are repeated; poison: samples
    not to be tried, with the error to report; shown: how many samples are kept for the report. `rows` grows by one with
    every call of `code`, `keep`, `leave` and `fail`.
    """

    def __init__(
        self, transform: Transform, before: Sequence[Row], poison: Mapping[str, str], watch: Watch, samples: int = 0
    ) -> None:
        self.transform = transform
        self.rows: list[Row] = []
        self._before = before
        self._poison = poison
        self._watch = watch
        self._thumbnails, self._samples = 0, samples

    @property
    def has_old(self) -> bool:
        return bool(self._before)

    def old(self, name: str) -> Row | None:
        """The row of the next sample in the earlier attempt, unless it failed there."""
        row = self._before[len(self.rows)] if len(self.rows) < len(self._before) else None
        return row if row is not None and row.sample == shown(name) and row.status != FAILED else None

    def keep(self, row: Row) -> None:
        self.rows.append(row)

    def leave(self, name: str, note: str, size: int | None = None, output: str | None = None) -> None:
        """A sample that is not touched."""
        self._add(Row(shown(name), SKIPPED, note=note, bytes_in=size, bytes_out=size, output=output))

    def fail(self, name: str, error: str) -> None:
        self._add(Row(shown(name), FAILED, one_line(error)))

    def code(self, name: str, read: Read, read_kept: Read, output: str | None = None) -> bytes | None:
        """The sample's output, or None where there is none to write: it failed, is null, or nothing is written.

        output: what the output is called, for the row.
        """
        old = self.old(name)
        if old is not None:
            kept = read_kept()
            if kept is not None or self.transform.settings.direction == "verify":
                self.rows.append(old)
                return kept
        self._watch.begin(shown(name))
        row, data = self._attempt(shown(name), read)
        self._add(row._replace(output=None if data is None or output is None else output))
        return data

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        self._watch.end(row)

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
        if self._samples and output.data is not None and output.width * output.height <= _MAX_SHOWN:
            with contextlib.suppress(Exception):  # the output stands, and this is for looking at alone
                decoded = thumbnail(self.transform.seen(output.data), SHOWN_SIDE)
                self._samples -= 1
                row = row._replace(thumbnail=thumbnail(data, SHOWN_SIDE), decoded=decoded)
        return row, output.data

    def _failed(self, sample: str, data: bytes, error: str, seconds: float) -> Row:
        small = thumbnail(data) if self._thumbnails < THUMBNAILS else None
        self._thumbnails += small is not None
        return Row(sample, FAILED, one_line(error), bytes_in=len(data), seconds=seconds, thumbnail=small)


def one_line(text: str) -> str:
    text = shown(" ".join(text.split()))
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
