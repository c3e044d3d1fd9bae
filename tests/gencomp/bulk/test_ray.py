"""The same outputs from a Ray cluster in which an actor is killed; only where the extra `ray` is installed."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gencomp.bulk import ray_engine
from gencomp.bulk.plan import Shard, find_shards
from gencomp.bulk.ray_engine import ShardActor
from gencomp.bulk.run import local_engine, run_bulk
from gencomp.bulk.settings import Settings
from gencomp.bulk.storage import BULK, Storage
from gencomp.bulk.workers import DEATHS, Broken, Event, Job

TINY = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")


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
    thread = threading.Thread(target=kill_one_actor, args=(killed,), daemon=True)
    thread.start()
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
    assert actor(row)["error"] == "its process died 3 times"
    assert apart == ["a"]
    out.publish(str(DEATHS - 1).encode(), f"{BULK}/attempts/a")
    assert actor(row)["error"] == ""
    assert apart == ["a"]
    assert not out.exists(f"{BULK}/attempts/a")
    assert set(sets.tar_members((tmp_path / "out" / "a.tar").read_bytes())) >= {"000.gnc", "001.gnc"}
