import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencomp.bulk.monitor import Monitor, Progress
from gencomp.bulk.plan import Shard, find_shards
from gencomp.bulk.report import merge, write_report
from gencomp.bulk.run import _follow, forecast, run_bulk
from gencomp.bulk.settings import Settings, claim
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
from gencomp.bulk.storage import Storage
from gencomp.bulk.transform import Transform
from gencomp.bulk.workers import Broken, Event, Finished, Job, Lost, RunError, Sampled


def test_the_report_has_totals_failures_with_thumbnails_and_samples_that_enlarge(
    tmp_path: Path, sets: Any, bring: Any, browser: Any
) -> None:
    files = {**sets.some_images(5), **sets.troubles(), "<script>.png": b""}
    source = sets.write_tar(tmp_path / "in" / "00000.tar", files)
    destination, shards = Storage.of(str(tmp_path / "out")), find_shards(str(source), Settings()).shards
    claim(destination, Storage.of(str(tmp_path / "in")), Settings())
    bring(source, tmp_path / "out")
    merged = merge(destination, shards)
    tally = merged.tally
    assert (merged.finished, merged.unfinished, tally.done, tally.failed, tally.skipped) == (1, 0, 5, 4, 1)
    assert SampleTally.from_json({**tally.to_json(), "bpp": {"3": 1}}) == tally  # a table of an earlier version
    path = write_report(destination, merged, {"00001": "a damaged tar file"}, ["2 files: a <set>, no label of <ours>"])
    page = Path(path).read_text()
    assert "a &lt;set&gt;" in page
    assert "<script>" not in page
    assert "a damaged tar file" in page
    for part in ("no label of &lt;ours&gt;", "a label or depth image", "quality</th><td>45.0", "decoder", "model"):
        assert part in page
    assert "4 (40.000%)" in page
    assert len(re.findall("data:image/jpeg", page)) == 2 + 2 * 5
    assert "http" not in page
    for width in (390, 1400):
        opened = browser.new_page(viewport={"width": width, "height": 800})
        opened.goto(Path(path).as_uri())
        sample = opened.locator(".pair img").first
        before = sample.bounding_box()["width"]
        sample.click()
        assert sample.bounding_box()["width"] > 1.5 * before
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        opened.close()


def test_shards_without_a_table_are_counted_as_not_finished(tmp_path: Path, sets: Any, bring: Any) -> None:
    for name in ("a", "b"):
        sets.write_tar(tmp_path / "in" / f"{name}.tar", sets.some_images(1))
    bring(tmp_path / "in" / "a.tar", tmp_path / "out")
    merged = merge(Storage.of(str(tmp_path / "out")), find_shards(str(tmp_path / "in"), Settings()).shards)
    assert (merged.finished, merged.unfinished) == (1, 1)


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_a_forecast_comes_near_what_is_seen(tmp_path: Path, sets: Any, bring: Any, fake_codec: Any, kind: str) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    for number in range(3):
        write(tmp_path / "in" / (f"{number}.{kind}" if kind != "folder" else str(number)), sets.some_images(60))
    settings = Settings()
    found = find_shards(str(tmp_path / "in"), settings)
    tried: list[None] = []
    seen = forecast(found, Transform(settings, fake_codec), lambda: tried.append(None), count=30)
    tally = bring(tmp_path / "in", tmp_path / "out")
    assert len(tried) == seen.sampled == 30
    assert seen.images == pytest.approx(tally.done, rel=0.15 if kind == "tar" else 1e-9)
    assert seen.bytes_out == pytest.approx(tally.bytes_out, rel=0.15)
    assert not (tmp_path / "in" / ".bulk").exists()


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
    assert (table.num_rows, table.column("status").to_pylist().count(FAILED)) == (12, 9)


SHARDS = [Shard(str(i), "folder", "", "", 0, 4, 4000, "") for i in range(3)]
WEIGHTS = {shard.name: shard.weight for shard in SHARDS}
ROW = SampleRow("a.png", DONE, None, None, 1000, 100, 10, 10, 0.5)


def test_what_a_lost_worker_had_done_is_not_counted_twice() -> None:
    progress = Progress(WEIGHTS, SampleTally())
    events: list[Event] = [Sampled("0", ROW), Sampled("1", ROW), Lost("0"), Sampled("0", ROW)]
    for event in events:
        progress.hear(event)
    assert (progress.run.done, progress.lost, progress.share) == (2, 1, pytest.approx(2 / 12))
    progress.hear(Finished("0", tally_of([ROW] * 4)))
    progress.hear(Broken("2", "no tar file"))
    assert (progress.run.done, progress.share) == (5, pytest.approx(9 / 12))


def test_the_status_file_says_where_a_run_stands(tmp_path: Path) -> None:
    earlier = tally_of([ROW, SampleRow("b", FAILED, "not an image")])
    monitor = Monitor(Progress(WEIGHTS, earlier), Storage.of(str(tmp_path)), "status.json", quiet=True)
    _follow(iter([Sampled("0", ROW), Finished("0", tally_of([ROW] * 4))]), monitor)
    record = json.loads((tmp_path / ".bulk" / "status.json").read_text())
    assert record["state"] == "finished"
    assert (record["done"], record["failed"], record["bytes_in"], record["bytes_out"]) == (5, 1, 5000, 500)
    assert (record["shards"], record["shards_finished"]) == (3, 1)


def test_the_line_has_speed_savings_failures_and_the_time_left(tmp_path: Path) -> None:
    progress = Progress(WEIGHTS, SampleTally())
    progress.hear(Finished("0", tally_of([ROW] * 3 + [SampleRow("b", FAILED)])))
    line = Monitor(progress, Storage.of(str(tmp_path)), "status.json", quiet=True).line()
    assert line.startswith("33.3%, 4 images, ")
    for part in ("images/s", "megapixels/s", "2.7 kB saved", "1 failed", "left"):
        assert part in line


def test_a_run_that_stops_says_why_and_leaves_no_part_of_its_own_shards(tmp_path: Path, sets: Any) -> None:
    source = sets.write_tar(tmp_path / "in" / "a.tar", sets.some_images(1))
    parts = tmp_path / "out" / ".bulk" / "parts"

    def engine(job: Job, shards: Sequence[Shard]) -> Iterator[Event]:
        parts.mkdir(parents=True, exist_ok=True)
        for name in ("a.0123.part", "b.0123.part"):
            (parts / name).write_bytes(b"half")
        yield None
        raise RunError("out: No space left on device")

    with pytest.raises(RunError, match="No space left"):
        run_bulk(str(source), str(tmp_path / "out"), Settings(), engine=engine)
    assert [path.name for path in parts.iterdir()] == ["b.0123.part"]  # that of another machine
    status = json.loads((parts.parent / "status.json").read_text())
    assert (status["state"], status["error"]) == ("stopped", "out: No space left on device")
