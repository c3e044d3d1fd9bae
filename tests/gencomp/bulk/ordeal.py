"""The ordeal: a data set is coded while processes are killed with SIGKILL at random moments; nothing may be lost.

    python tests/gencomp/bulk/ordeal.py --images 5000 --kills 20 [--photos FOLDER] [--engine ray]

Makes small images in folders, tar files and parquet files, with a corrupt one, an empty one, a huge one and one of an
odd mode in each shard; codes them once undisturbed; then again and again, killing one worker or the whole command, and
repeating the command, until so many were killed. Every destination must then hold the same bytes as the first, and its
tables each input exactly once.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
from conftest import image_file, outputs, troubles, write_folder, write_parquet, write_tar  # type: ignore[import-not-found]

TINY = Path(__file__).parents[2] / "golden" / "tiny.safetensors"
MAX_PIXELS = 400_000
TROUBLES = 4  # in each shard
KINDS = (("folders", write_folder, ""), ("tars", write_tar, ".tar"), ("parquets", write_parquet, ".parquet"))


def photograph(seed: int) -> bytes:
    """Noise of 40 to 160 pixels a side."""
    width, height = map(int, np.random.default_rng(seed).integers(40, 160, 2))
    return image_file(seed, "JPEG", (width, height))


def troubled(seed: int) -> dict[str, bytes]:
    return {**troubles(), "huge.png": image_file(seed, size=(1000, 1000))}


def make_set(folder: Path, count: int, per_shard: int, photos: Path | None) -> int:
    """A third in folders, a third in tar files, a third in parquet files; returns the number of inputs."""
    names = sorted(path for path in photos.rglob("*") if path.is_file())[:300] if photos else []
    files = [(f"{number:05d}.jpg", photograph(number)) for number in range(count)]
    files += [(f"photo{number:03d}{path.suffix}", path.read_bytes()) for number, path in enumerate(names)]
    random.Random(0).shuffle(files)
    shards = [files[i : i + per_shard] for i in range(0, len(files), per_shard)]
    inputs = 0
    for number, shard in enumerate(shards):
        held = {**dict(shard), **troubled(number)}
        inputs += len(held)
        kind, write, suffix = KINDS[number % 3]
        write(folder / kind / f"{number:05d}{suffix}", held)
    return inputs


def command(source: Path, destination: Path, options: argparse.Namespace) -> list[str]:
    more = ["--jobs", "2", "--quiet", "--model", options.model, "--max-pixels", str(MAX_PIXELS)]
    more += ["--per-shard", str(options.per_shard + TROUBLES), "--engine", options.engine]
    return [sys.executable, "-m", "gencomp", "bulk", str(source), str(destination), *more]


def check_tables(folder: Path, inputs: int) -> None:
    """Each input stands once in the tables, and no attempt has left anything."""
    tables = sorted(folder.rglob(".bulk/status/**/*.parquet"))
    samples = [(str(table), row["sample"]) for table in tables for row in pq.read_table(table).to_pylist()]
    assert len(samples) == len(set(samples)) == inputs, (len(samples), len(set(samples)), inputs)
    failed = sum(row["status"] == "failed" for table in tables for row in pq.read_table(table).to_pylist())
    assert failed == sum(TROUBLES - ("tars" in table.parts) for table in tables), (failed, len(tables))
    assert not list(folder.rglob("*.part"))


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that code: spawned by multiprocessing, or Ray's actors."""
    children = psutil.Process(process.pid).children(recursive=True)
    marks = ("spawn_main", "ShardActor", "ray::Map")
    return [child for child in children if any(mark in " ".join(child.cmdline()) for mark in marks)]


def disturb(process: subprocess.Popen[str], chance: random.Random, options: argparse.Namespace) -> str | None:
    """Wait for a random moment, then kill the command or one of its workers; what was killed, None if it had ended."""
    deadline = time.monotonic() + options.after + chance.uniform(0, options.within)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return None
        time.sleep(0.02)
    try:
        workers = [one for one in workers_of(process) if time.time() - one.create_time() > options.after]
        if options.engine == "local" and (chance.random() < 0.5 or not workers):
            process.kill()
            return "command"
        chance.choice(workers).kill()
        return "worker"
    except (psutil.Error, IndexError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--per-shard", type=int, default=100)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--model", default=str(TINY))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--after", type=float, default=4, help="seconds in which a worker starts and is spared")
    parser.add_argument("--within", type=float, default=10, help="seconds within which something is killed")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="ordeal-") as scratch:
        folder = Path(scratch)
        inputs = make_set(folder / "in", options.images, options.per_shard, options.photos)
        kinds = sorted(path.name for path in (folder / "in").iterdir())
        start = time.monotonic()
        for kind in kinds:
            done = subprocess.run(command(folder / "in" / kind, folder / "calm" / kind, options), check=False)
            assert done.returncode == 1, done
        print(f"undisturbed: {inputs} inputs in {time.monotonic() - start:.0f} s", flush=True)
        check_tables(folder / "calm", inputs)
        calm = outputs(folder / "calm")
        killed: list[str] = []
        rounds = 0
        while len(killed) < options.kills:
            rounds += 1
            for kind in kinds:
                source, destination = folder / "in" / kind, folder / "disturbed" / kind
                code = None
                while code != 1:  # which says that the broken images failed
                    process = subprocess.Popen(command(source, destination, options), text=True)
                    while process.poll() is None and len(killed) < options.kills:
                        what = disturb(process, chance, options)
                        killed += [what] if what else []
                    code = process.wait()
                    assert code in (1, -signal.SIGKILL), code
            check_tables(folder / "disturbed", inputs)
            assert outputs(folder / "disturbed") == calm
            shutil.rmtree(folder / "disturbed")
            print(f"round {rounds}: {len(killed)} killed, {len(calm)} files of the same bytes", flush=True)
        counts = {what: killed.count(what) for what in sorted(set(killed))}
        print(f"passed: {counts} in {rounds} rounds, {time.monotonic() - start:.0f} s in all, pid {os.getpid()}")


if __name__ == "__main__":
    main()
