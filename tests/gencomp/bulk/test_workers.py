"""Processes: real ones that are killed, and the rules for those that die again and again."""

from __future__ import annotations

import os
import signal
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gencomp.bulk.events import Broken, Event, Finished, Lost, Sampled, Stopped
from gencomp.bulk.plan import Shard, find_shards
from gencomp.bulk.settings import Settings
from gencomp.bulk.storage import Place
from gencomp.bulk.workers import DEATHS, DEATHS_AT_START, Job, _Crew, _Worker, run_workers

TINY = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")
SHARD = Shard("s", "tar", "s.tar", "s.tar", 0, 0, 1, "")


class Crew(_Crew):
    """Hires nobody."""

    def hire(self, index: int) -> None:
        pass


def die(crew: _Crew, sample: str | None, shard: Shard | None = SHARD) -> list[Event]:
    process: Any = SimpleNamespace(join=lambda: None, kill=lambda: None, exitcode=-9)
    pipe: Any = SimpleNamespace(close=lambda: None)
    worker = _Worker(0, process, pipe, shard, sample)
    crew.workers.append(worker)
    if shard in crew.waiting:
        crew.waiting.remove(shard)  # type: ignore[arg-type]
    return list(crew._died(worker))


@pytest.fixture
def crew() -> Crew:
    job: Any = None
    return Crew(job, deque(), 60.0)


def test_the_shard_of_a_dead_worker_is_done_again(crew: Crew) -> None:
    assert die(crew, "a.png") == [Lost("s")]
    assert list(crew.waiting) == [SHARD]
    assert crew.poison == {}


def test_a_sample_in_which_several_workers_died_is_not_tried_again(crew: Crew) -> None:
    for _ in range(DEATHS):
        die(crew, "a.png")
    die(crew, "b.png")
    assert crew.poison.keys() == {"s"}
    assert crew.poison["s"].keys() == {"a.png"}
    assert list(crew.waiting) == [SHARD]


def test_a_shard_in_which_workers_die_between_samples_is_given_up(crew: Crew) -> None:
    events = [event for _ in range(DEATHS) for event in die(crew, None)]
    assert [type(event) for event in events] == [Lost, Lost, Broken]
    assert not crew.waiting


def test_workers_that_die_before_they_begin_stop_the_run(crew: Crew) -> None:
    events = [event for _ in range(DEATHS_AT_START) for event in die(crew, None, None)]
    assert [type(event) for event in events] == [Stopped]


def job_of(source: Path, destination: Path, **settings: Any) -> tuple[Job, list[Shard]]:
    asked = Settings(model=TINY, device="cpu", per_shard=3, **settings)
    found = find_shards(str(source), asked)
    return Job(found.place, Place.of(str(destination)), asked, False), found.shards


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_the_last_process_leaves_none(tmp_path: Path, sets: Any, bring: Any) -> None:
    source = sets.write_folder(tmp_path / "in", {f"{i}.png": sets.image_file(i, size=(80, 70)) for i in range(6)})
    job, shards = job_of(source, tmp_path / "out")
    events: list[Event] = []
    children: set[int] = set()
    for event in run_workers(job, shards, 1, 60.0):
        children |= {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
        if isinstance(event, Sampled) and not any(isinstance(one, Sampled) for one in events):
            os.kill(max(children), signal.SIGKILL)
        events.append(event)
    assert Lost("0" * 5) in events
    assert sorted(one.shard for one in events if isinstance(one, Finished)) == ["00000", "00001"]
    assert set(sets.outputs(tmp_path / "out")) == {f"{i}.gnc" for i in range(6)}


@pytest.mark.slow
def test_a_sample_that_takes_too_long_has_failed_and_the_others_have_not(tmp_path: Path, sets: Any) -> None:
    huge = sets.image_file(0, size=(4500, 4000))
    source = sets.write_folder(tmp_path / "in", {"a.png": sets.image_file(1), "huge.png": huge})
    job, shards = job_of(source, tmp_path / "out")
    events = list(run_workers(job, shards, 1, 0.2))
    (tally,) = [event.tally for event in events if isinstance(event, Finished)]
    assert tally.failed >= 1


def test_a_destination_that_cannot_be_written_stops_the_run_in_one_line(tmp_path: Path, sets: Any) -> None:
    source = sets.write_folder(tmp_path / "in", sets.some_images(1))
    (tmp_path / "out").write_text("a file")
    job, shards = job_of(source, tmp_path / "out")
    (stopped,) = [event for event in run_workers(job, shards, 1, 60.0) if isinstance(event, Stopped)]
    assert stopped.error.count("\n") == 0
    assert "out" in stopped.error
