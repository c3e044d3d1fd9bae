"""Processes: real ones that are killed, and the rules for those that die again and again."""

import functools
import importlib
import os
import signal
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from gencomp.bulk import ray_engine, workers
from gencomp.bulk.plan import Shard, find_shards
from gencomp.bulk.ray_engine import ShardActor
from gencomp.bulk.run import local_engine, run_bulk
from gencomp.bulk.settings import Settings
from gencomp.bulk.storage import BULK, Storage
from gencomp.bulk.workers import (
    DEATHS,
    Broken,
    Event,
    Finished,
    Job,
    Lost,
    RunError,
    _Run,
    run_workers,
)
from gencomp.processes import Died, Told

TINY = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")
SHARD = Shard("s", "tar", "s.tar", "s.tar", 0, 0, 1, "")


class Pool:
    """Workers of whom nobody is there: what they would say is told."""

    killed: ClassVar[list[int]] = []

    def kill(self, number: int) -> None:
        self.killed.append(number)


@pytest.fixture
def run() -> _Run:
    pool: Any = Pool()
    return _Run(pool, deque(), 60.0)


def die(run: _Run, sample: str | None) -> list[Event]:
    attempt = run.waiting.popleft() if run.waiting else (SHARD, {})
    begun = list(run.heard(Told(0, attempt, sample))) if sample else []
    return begun + list(run.heard(Died(0, attempt, "SIGKILL")))


def test_the_shard_of_a_dead_worker_is_done_again(run: _Run) -> None:
    assert (die(run, "a.png"), list(run.waiting)) == ([Lost("s")], [(SHARD, {})])


def test_a_sample_in_which_several_workers_died_is_not_tried_again(run: _Run) -> None:
    for _ in range(DEATHS):
        die(run, "a.png")
    die(run, "b.png")
    (attempt,) = run.waiting
    assert attempt[1].keys() == {"a.png"}
    assert "SIGKILL" in attempt[1]["a.png"]


def test_a_shard_in_which_workers_die_between_samples_is_given_up(run: _Run) -> None:
    events = [event for _ in range(DEATHS) for event in die(run, None)]
    assert [type(event) for event in events] == [Lost, Lost, Broken]
    assert not run.waiting


def test_workers_that_die_before_they_begin_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(Storage.of(str(tmp_path)), Storage.of(str(tmp_path / "out")), Settings(model=TINY), False)
    monkeypatch.setattr(workers, "_prepare", os._exit)
    with pytest.raises(RunError):
        list(run_workers(job, [SHARD], 1, 60.0))


def job_of(source: Path, destination: Path, **settings: Any) -> tuple[Job, list[Shard]]:
    asked = Settings(model=TINY, device="cpu", per_shard=3, **settings)
    found = find_shards(str(source), asked)
    return Job(found.place, Storage.of(str(destination)), asked, False), found.shards


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tmp_path: Path, sets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sets.write_folder(tmp_path / "in", {f"{i}.png": sets.image_file(i, size=(80, 70)) for i in range(6)})
    job, shards = job_of(source, tmp_path / "out")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    tasks = importlib.import_module("worker_tasks")
    monkeypatch.setattr(workers, "_prepare", functools.partial(tasks.prepare_to_die_once, str(tmp_path / "mark")))
    events = list(run_workers(job, shards, 1, 60.0))
    assert events.count(Lost("00000")) == 1
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
    with pytest.raises(RunError, match=r"^.*/out: [^\n]*$"):
        list(run_workers(job, shards, 1, 60.0))


def kill_one_actor(killed: list[int]) -> None:
    """Kill the first actor that is seen, a moment after it was seen."""
    while not killed:
        time.sleep(0.05)
        for child in psutil.Process().children(recursive=True):
            try:
                if "MapWorker" in " ".join(child.cmdline()):
                    time.sleep(1)
                    os.kill(child.pid, signal.SIGKILL)
                    killed.append(child.pid)
                    return
            except (psutil.Error, ProcessLookupError):
                continue


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_outputs_and_loses_nothing_with_an_actor(tmp_path: Path, sets: Any) -> None:
    pytest.importorskip("ray")
    for number in range(6):
        sets.write_tar(tmp_path / "in" / f"{number}.tar", {**sets.some_images(20), **sets.troubles()})
    settings = Settings(model=TINY, device="cpu", max_pixels=10_000)
    killed: list[int] = []
    threading.Thread(target=kill_one_actor, args=(killed,), daemon=True).start()
    there = run_bulk(str(tmp_path / "in"), str(tmp_path / "ray"), settings, engine=ray_engine.ray_engine(2))
    here = run_bulk(str(tmp_path / "in"), str(tmp_path / "here"), settings, engine=local_engine(1))
    assert killed
    assert (there.tally.done, there.tally.failed, there.broken) == (here.tally.done, here.tally.failed, {})
    assert sets.outputs(tmp_path / "ray") == sets.outputs(tmp_path / "here")


def test_a_shard_of_which_actors_have_died_is_given_a_process_of_its_own(
    tmp_path: Path, sets: Any, fake_codec: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = sets.write_tar(tmp_path / "in" / "a.tar", sets.some_images(2))
    settings, out = Settings(), Storage.of(str(tmp_path / "out"))
    found = find_shards(str(source), settings)
    actor = ShardActor(Job(found.place, out, settings, False))
    apart: list[str] = []

    def run_workers(job: Job, shards: list[Shard], jobs: int, timeout: float) -> list[Event]:
        apart.append(shards[0].name)
        return [Broken("a", "its process died 3 times")]

    monkeypatch.setattr(ray_engine, "run_workers", run_workers)
    out.publish(str(DEATHS).encode(), f"{BULK}/attempts/a")
    row = found.shards[0]._asdict()
    assert (actor(row)["error"], apart) == ("its process died 3 times", ["a"])
    out.publish(str(DEATHS - 1).encode(), f"{BULK}/attempts/a")
    assert (actor(row)["error"], apart) == ("", ["a"])
    assert not out.exists(f"{BULK}/attempts/a")
    assert set(sets.tar_members((tmp_path / "out" / "a.tar").read_bytes())) >= {"000.gnc", "001.gnc"}
