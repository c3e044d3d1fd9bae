"""The status table: a row for each sample, a table for each shard, a tally that adds up over tables.

A table is a parquet file, written once when its shard is finished. Parquet and not JSON lines, because tables of 10^8
rows are read again: a row takes some 20 bytes instead of 200, any engine reads all tables at once by a pattern
(`.bulk/status/**/*.parquet`) and a column without the others, and the shard's tally stands in the footer, so that
totals of a whole data set need no row at all.

    sample     string   the file's path below the source, the tar member's name, or the row's number
    status     string   done | skipped | failed
    error      string   why it failed, in one line; null otherwise
    note       string   what the codec warned of, or why a sample was skipped; null mostly
    bytes_in, bytes_out, width, height  int64, null where unknown
    seconds    double   spent on the sample
    thumbnail  binary   a small JPEG of an image that failed, or of a sample that the report shows; null mostly
    decoded    binary   the same of what a shown sample decodes to
    output     string   the file below the destination, or the tar member; null where there is none
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
_KEY = b"gencomp_bulk"


class SampleRow(NamedTuple):
    """A sample's row; the columns are described above."""

    sample: str
    status: str
    error: str | None = None
    note: str | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    width: int | None = None
    height: int | None = None
    seconds: float = 0.0
    thumbnail: bytes | None = None
    decoded: bytes | None = None
    output: str | None = None


@dataclass
class SampleTally:
    """Sums over rows. bytes_in and bytes_out are of done samples. notes: of the skipped samples, how many for which
    reason; warned: of the done ones, of what, numbers left out."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    pixels: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    worker_seconds: float = 0.0
    notes: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        return self.done + self.skipped + self.failed

    def add(self, row: SampleRow) -> None:
        self.worker_seconds += row.seconds
        if row.status == FAILED:
            self.failed += 1
        elif row.status == SKIPPED:
            self.skipped += 1
            self.notes[row.note or ""] += 1
        if row.status != DONE:
            return
        self.done += 1
        self.warned.update([re.sub(r"\d[\d,.]*", "_", row.note)] if row.note else [])
        self.pixels += (row.width or 0) * (row.height or 0)
        self.bytes_in += row.bytes_in or 0
        self.bytes_out += row.bytes_out or 0

    def __add__(self, other: SampleTally) -> SampleTally:
        return SampleTally(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    def to_json(self) -> dict[str, Any]:
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> SampleTally:
        known = {name: record[name] for name in vars(cls())}  # earlier versions kept more
        return cls(**known | {name: Counter(known[name]) for name in ("notes", "warned")})


class Footer(NamedTuple):
    """What a table says of its shard. fingerprint: of the inputs as they were, to see whether they have changed; size:
    of the shard's one output file, None where there is none; owned: outputs of earlier attempts that no row names.
    """

    shard: str
    fingerprint: str
    tally: SampleTally
    size: int | None = None
    owned: tuple[str, ...] = ()


def tally_of(rows: Iterable[SampleRow]) -> SampleTally:
    tally = SampleTally()
    for row in rows:
        tally.add(row)
    return tally


def write_table(file: IO[bytes], rows: Sequence[SampleRow], footer: Footer) -> SampleTally:
    """Write the rows, and the footer with their tally, which is returned."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tally = tally_of(rows)
    record = {**footer._asdict(), "tally": tally.to_json()}
    text, integer = pa.string(), pa.int64()
    kinds = [text] * 4 + [integer] * 4 + [pa.float64(), pa.binary(), pa.binary(), text]
    schema = pa.schema(list(zip(SampleRow._fields, kinds)), {_KEY: json.dumps(record).encode()})
    columns = {name: [row[i] for row in rows] for i, name in enumerate(SampleRow._fields)}
    pq.write_table(pa.table(columns, schema=schema), file, compression="zstd")
    return tally


def read_footer(file: IO[bytes]) -> Footer:
    """ValueError where the file is no status table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file).metadata or {}
        record = json.loads(metadata[_KEY])
        owned = tuple(record.pop("owned"))
        return Footer(**{**record, "tally": SampleTally.from_json(record["tally"]), "owned": owned})
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"no status table of gencomp bulk ({type(error).__name__})") from error


def read_rows(file: IO[bytes]) -> list[SampleRow]:
    return _rows(_columns(file, SampleRow._fields))


def read_outputs(file: IO[bytes]) -> dict[str, int]:
    """The outputs that a table names, with their bytes."""
    table = _columns(file, ("output", "bytes_out"))
    pairs = zip(table["output"].to_pylist(), table["bytes_out"].to_pylist())
    return {name: size for name, size in pairs if name is not None}


def read_shown(file: IO[bytes]) -> list[SampleRow]:
    """The rows of a table that a report shows: what failed, and samples."""
    import pyarrow.compute as pc

    table = _columns(file, SampleRow._fields)
    return _rows(table.filter(pc.or_(pc.equal(table["status"], FAILED), pc.is_valid(table["decoded"]))))


def _rows(table: pa.Table) -> list[SampleRow]:
    return [SampleRow(**record) for record in table.to_pylist()]


def _columns(file: IO[bytes], names: Sequence[str]) -> pa.Table:
    """Columns of a table. `read_table` would leave a thread of its scanner with the file, and a process that ended
    meanwhile with SIGABRT (apache/arrow issues 33975 and 34314)."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, pre_buffer=False).read(list(names), use_threads=False)
