"""The status table: a row for each sample, a table for each shard, a tally that adds up over tables.

A table is a parquet file, written once when its shard is finished. Parquet and not JSON lines, because tables of 10^8
rows are read again: a row takes some 20 bytes instead of 200, any engine reads all tables at once by a pattern
(`.bulk/status/**/*.parquet`) and a column without the others, and the shard's tally stands in the footer, so that
totals and histograms of a whole data set need no row at all.

    sample     string   the file's path below the source, the tar member's name, or the row's number
    status     string   done | skipped | failed
    error      string   why it failed, in one line; null otherwise
    note       string   what the codec warned of; null mostly
    bytes_in, bytes_out, width, height  int64, null where unknown
    seconds    double   spent on the sample
    thumbnail  binary   a small JPEG of an image that failed, for the first few of a shard, where one can be had
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
BINS_PER_OCTAVE = 2
_KEY = b"gencomp_bulk"


class Row(NamedTuple):
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


@dataclass
class Tally:
    """Sums over rows. bpp and seconds: counts by bin, see `bin_of`; bytes_in and bytes_out are of done samples."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    pixels: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    worker_seconds: float = 0.0
    bpp: Counter[int] = field(default_factory=Counter)
    seconds: Counter[int] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        return self.done + self.skipped + self.failed

    def add(self, row: Row) -> None:
        self.worker_seconds += row.seconds
        if row.status == FAILED:
            self.failed += 1
        elif row.status == SKIPPED:
            self.skipped += 1
        else:
            self._add_done(row)

    def _add_done(self, row: Row) -> None:
        pixels = (row.width or 0) * (row.height or 0)
        self.done += 1
        self.pixels += pixels
        self.bytes_in += row.bytes_in or 0
        self.bytes_out += row.bytes_out or 0
        self.seconds[bin_of(row.seconds)] += 1
        small = [size for size in (row.bytes_in, row.bytes_out) if size is not None]
        if pixels and small:
            self.bpp[bin_of(8 * min(small) / pixels)] += 1  # the coded side is the smaller one

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    def to_json(self) -> dict[str, Any]:
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Tally:
        histograms = {name: Counter({int(k): n for k, n in record[name].items()}) for name in ("bpp", "seconds")}
        return cls(**{**record, **histograms})


class Footer(NamedTuple):
    """What a table says of its shard. fingerprint: of the source as it was, to see whether it has changed."""

    shard: str
    fingerprint: str
    tally: Tally


def tally_of(rows: Iterable[Row]) -> Tally:
    tally = Tally()
    for row in rows:
        tally.add(row)
    return tally


def bin_of(value: float) -> int:
    """The bin of a histogram on a logarithmic axis: bin b holds 2^(b/2) to 2^((b+1)/2)."""
    return math.floor(BINS_PER_OCTAVE * math.log2(max(value, 1e-9)))


def write_table(file: IO[bytes], rows: Sequence[Row], shard: str, fingerprint: str) -> Tally:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tally = tally_of(rows)
    footer = {"shard": shard, "fingerprint": fingerprint, "tally": tally.to_json()}
    schema = _schema().with_metadata({_KEY: json.dumps(footer).encode()})
    columns = {name: [row[i] for row in rows] for i, name in enumerate(Row._fields)}
    pq.write_table(pa.table(columns, schema=schema), file, compression="zstd")
    return tally


def read_footer(file: IO[bytes]) -> Footer:
    """ValueError where the file is no status table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file).metadata or {}
        record = json.loads(metadata[_KEY])
        return Footer(record["shard"], record["fingerprint"], Tally.from_json(record["tally"]))
    except (KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise ValueError(f"no status table of gencomp bulk ({type(error).__name__})") from error


def read_rows(file: IO[bytes]) -> list[Row]:
    import pyarrow.parquet as pq

    return [Row(**record) for record in pq.read_table(file).select(list(Row._fields)).to_pylist()]


def read_failures(file: IO[bytes]) -> list[Row]:
    """The failed rows of a table alone."""
    import pyarrow.parquet as pq

    table = pq.read_table(file, filters=[("status", "=", FAILED)])
    return [Row(**record) for record in table.select(list(Row._fields)).to_pylist()]


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, integer = pa.string(), pa.int64()
    kinds = [text, text, text, text, integer, integer, integer, integer, pa.float64(), pa.binary()]
    return pa.schema(list(zip(Row._fields, kinds)))
