import io
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bulk.status import (
    DONE,
    FAILED,
    SKIPPED,
    Footer,
    SampleRow,
    SampleTally,
    read_footer,
    read_rows,
    read_shown,
    tally_of,
    write_table,
)

ROWS = st.lists(
    st.builds(
        SampleRow,
        sample=st.text(st.characters(codec="utf-8"), max_size=5),
        status=st.sampled_from([DONE, SKIPPED, FAILED]),
        bytes_in=st.integers(0, 10**9),
        bytes_out=st.none() | st.integers(0, 10**9),
        width=st.integers(1, 10**4),
        height=st.integers(1, 10**4),
        seconds=st.integers(0, 100).map(float),
        decoded=st.none(),
        note=st.none() | st.just("a link"),
    ),
    max_size=8,
)


def write(file: Any, rows: list[SampleRow], shard: str, fingerprint: str) -> SampleTally:
    return write_table(file, rows, Footer(shard, fingerprint, SampleTally(), 5, ("old",)))


@given(ROWS, ROWS)
def test_tallies_add_up_as_their_rows_do(first: list[SampleRow], second: list[SampleRow]) -> None:
    assert tally_of(first) + tally_of(second) == tally_of(first + second)
    assert tally_of(first).samples == len(first)


@settings(deadline=None)  # the first reads what pyarrow imports late
@given(ROWS)
def test_a_table_gives_back_its_rows_and_its_tally(rows: list[SampleRow]) -> None:
    file = io.BytesIO()
    tally = write(file, rows, "a/00000", "7 bytes")
    assert read_rows(io.BytesIO(file.getvalue())) == rows
    assert read_footer(io.BytesIO(file.getvalue())) == ("a/00000", "7 bytes", tally, 5, ("old",))
    assert read_shown(io.BytesIO(file.getvalue())) == [row for row in rows if row.status == FAILED]


def test_other_parquet_files_are_no_status_tables() -> None:
    for data in (b"", b"PAR1 and then nothing"):
        with pytest.raises(ValueError, match="no status table"):
            read_footer(io.BytesIO(data))


def test_all_tables_are_read_at_once_by_their_folder(tmp_path: Path) -> None:
    for number in range(3):
        with (tmp_path / f"{number}.parquet").open("wb") as file:
            write(file, [SampleRow(f"{number}/{i}", FAILED if i else DONE) for i in range(4)], str(number), "")
    table = pyarrow.dataset.dataset(tmp_path).to_table(columns=["sample", "status"])
    assert table.num_rows == 12
    assert table.column("status").to_pylist().count(FAILED) == 9
