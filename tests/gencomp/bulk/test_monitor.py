import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gencomp.bulk.monitor import Monitor, Progress, size_text, time_text
from gencomp.bulk.plan import Shard
from gencomp.bulk.run import _follow, run_bulk
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import DONE, FAILED, SampleRow, SampleTally, tally_of
from gencomp.bulk.storage import Storage
from gencomp.bulk.workers import Broken, Event, Finished, Job, Lost, RunError, Sampled

SHARDS = [Shard(str(i), "folder", "", "", 0, 4, 4000, "") for i in range(3)]
ROW = SampleRow("a.png", DONE, None, None, 1000, 100, 10, 10, 0.5)


def test_what_a_lost_worker_had_done_is_not_counted_twice() -> None:
    progress = Progress.of(SHARDS, SampleTally())
    events: list[Event] = [Sampled("0", ROW), Sampled("1", ROW), Lost("0"), Sampled("0", ROW)]
    for event in events:
        progress.hear(event)
    assert (progress.run.done, progress.lost, progress.share) == (2, 1, pytest.approx(2 / 12))
    progress.hear(Finished("0", tally_of([ROW] * 4)))
    progress.hear(Broken("2", "no tar file"))
    assert (progress.run.done, progress.share) == (5, pytest.approx(9 / 12))


def test_the_status_file_says_where_a_run_stands(tmp_path: Path) -> None:
    earlier = tally_of([ROW, SampleRow("b", FAILED, "not an image")])
    monitor = Monitor(Progress.of(SHARDS, earlier), Storage.of(str(tmp_path)), "status.json", quiet=True)
    _follow(iter([Sampled("0", ROW), Finished("0", tally_of([ROW] * 4))]), monitor)
    record = json.loads((tmp_path / ".bulk" / "status.json").read_text())
    assert record["state"] == "finished"
    assert (record["done"], record["failed"], record["bytes_in"], record["bytes_out"]) == (5, 1, 5000, 500)
    assert (record["shards"], record["shards_finished"]) == (3, 1)


def test_the_line_has_speed_savings_failures_and_the_time_left(tmp_path: Path) -> None:
    progress = Progress.of(SHARDS, SampleTally())
    progress.hear(Finished("0", tally_of([ROW] * 3 + [SampleRow("b", FAILED)])))
    line = Monitor(progress, Storage.of(str(tmp_path)), "status.json", quiet=True).line()
    assert line.startswith("33.3%, 4 images, ")
    for part in ("images/s", "megapixels/s", "2.7 kB saved", "1 failed", "left"):
        assert part in line


def test_sizes_and_times_for_people() -> None:
    assert [size_text(n) for n in (0, 999, 1234, -5e6, 1.5e13)] == ["0 B", "999 B", "1.23 kB", "-5 MB", "15 TB"]
    assert [time_text(s) for s in (None, 0, 61, 360_000)] == ["?", "0:00:00", "0:01:01", "100:00:00"]


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
