"""Streams: what is read by whom, in which order, and after a resume."""

from pathlib import Path

import pytest
import torch

from gencomp.train.data import streams
from gencomp.train.data.batches import Batch, StepSampler, batches, fixed_crops, open_data
from gencomp.train.data.sources import SourceError
from gencomp.train.data.streams import CHUNK, Chunk, Stream
from gencomp.train.recipe import Recipe
from gencomp.train.settings import recipe

from ..conftest import parquet
from .test_crops import joined, same


@pytest.fixture(scope="module")
def table(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six parquet files, each of five rows in row groups of two, one row broken."""
    folder = tmp_path_factory.mktemp("stream")
    for index in range(6):
        parquet(photographs, folder / f"part{index}.parquet", rows_per_group=2)
    return folder


def collected(place: Path, chosen: Recipe, processes: int = 1, *, start: int = 0, stop: int = 6) -> list[Batch]:
    data = open_data([str(place)], streamed=True)
    shares = [list(batches(data, chosen, StepSampler(chosen, start, stop, r, processes))) for r in range(processes)]
    return [joined(list(step)) for step in zip(*shares)]


def test_processes_share_the_batch_of_one_and_workers_change_nothing(table: Path) -> None:
    whole = collected(table, recipe("tiny"))
    assert same(whole, collected(table, recipe("tiny"), 2))
    assert same(whole, collected(table, recipe("tiny", {"workers": "2"})))
    assert sum(len(b.unreadable) for b in whole) >= 2


def test_every_row_is_seen_once_in_an_epoch(table: Path) -> None:
    stream = Stream(str(table))
    assert sum(chunk.rows for chunk in stream.chunks) == 30
    lanes = [stream.lane(j, 3, 0) for j in range(3)]
    seen = [next(lane)[0].name for _ in range(8) for lane in lanes]  # lanes differ by a row or two at most
    assert len(set(seen)) == len(seen)


def test_a_resume_goes_on_where_the_run_stood_and_reads_nothing_before(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = collected(table, recipe("tiny"), stop=30)
    reads, read = list[Chunk](), streams.read_chunk

    def counted(chunk: Chunk, column: str) -> object:
        reads.append(chunk)
        return read(chunk, column)

    monkeypatch.setattr(streams, "read_chunk", counted)
    assert same(unbroken[28:], collected(table, recipe("tiny"), start=28, stop=30))
    assert len(reads) <= 8  # two rows of four lanes, where the run before read about sixty chunks


def test_a_process_reads_the_chunks_of_its_own_lanes_alone(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: dict[int, set[Chunk]] = {}
    read = streams.read_chunk
    for rank in range(2):

        def counted(chunk: Chunk, column: str, rank: int = rank) -> object:
            reads.setdefault(rank, set()).add(chunk)
            return read(chunk, column)

        monkeypatch.setattr(streams, "read_chunk", counted)
        data, chosen = open_data([str(table)], streamed=True), recipe("tiny")
        list(batches(data, chosen, StepSampler(chosen, 0, 4, rank, 2)))
    assert not reads[0] & reads[1]


def test_nothing_but_footers_is_read_to_open_a_stream(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the set was loaded")

    monkeypatch.setattr(streams, "read_chunk", refuse)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert len(Stream(str(table)).chunks) == 6 * 3


def test_fixed_crops_of_a_stream_are_the_same_every_time(table: Path) -> None:
    data = open_data([str(table)], streamed=True)
    once, again = (fixed_crops(data, recipe("tiny"), 5) for _ in range(2))
    assert len(once) == 5
    assert all(torch.equal(a, b) for a, b in zip(once, again))


def test_streams_come_from_any_file_system(table: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in table.glob("*.parquet"):
        memory.pipe(f"/set/{path.name}", path.read_bytes())
    here, there = Stream(str(table)), Stream("memory://set")
    assert [next(here.lane(0, 4, 0))[0].data] == [next(there.lane(0, 4, 0))[0].data]


def test_long_row_groups_are_read_in_chunks(photographs: Path, tmp_path: Path) -> None:
    path = parquet(photographs, tmp_path / "long.parquet", copies=20)
    stream = Stream(str(path))
    assert [chunk.rows for chunk in stream.chunks] == [CHUNK, 100 - CHUNK]
    assert streams.read_chunk(stream.chunks[1], stream.column)[0].name.endswith(f"row {CHUNK}")


@pytest.mark.parametrize("absent", ["folder", "absent.parquet"])
def test_streams_that_are_not_there_are_named(tmp_path: Path, absent: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=absent.split(".")[0]):
        Stream(str(tmp_path / absent))


def test_a_stream_is_one_place(table: Path) -> None:
    with pytest.raises(SourceError, match="one parquet folder"):
        open_data([str(table), str(table)], streamed=True)
