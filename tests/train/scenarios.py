"""Runs on several processes and runs that are killed: a program of its own, since it forks before any thread starts.

    python tests/train/scenarios.py equal|kill PHOTOGRAPHS FOLDER PROCESSES [KILLS]

`equal`: one process against PROCESSES of them, the same batch, both stages. `kill`: a run killed with SIGKILL at seeded
moments, all its processes at once, against an unbroken one. Prints one JSON object.
"""

import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import gencomp.train.loop
from gencomp.train.checkpoint import checkpoints, load_checkpoint
from gencomp.train.loop import RunOptions
from gencomp.train.recipe import Recipe
from gencomp.train.settings import recipe

TWO_STAGES = {"steps": "24", "realism.begin": "12", "ema": "0.9"}


def start(processes: int, task: Callable[[], object]) -> list[int]:
    """Fork `processes` children that make up one run on gloo; their ids."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if child:
            children.append(child)
            continue
        os.environ["ACCELERATE_USE_CPU"] = "true"
        if processes > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        status = 1
        try:
            torch.set_num_threads(1)
            task()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return children


def finish(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def differences(a: Path, b: Path) -> dict[str, object]:
    """How far the last checkpoints and logs of two runs lie apart."""
    first, second = (load_checkpoint(checkpoints(run)[-1]) for run in (a, b))
    assert first.tensors.keys() == second.tensors.keys()
    furthest = {k: float((v.double() - second.tensors[k].double()).abs().max()) for k, v in first.tensors.items()}
    logs = [curve(run) for run in (a, b)]
    lines = [abs(x - y) / max(1e-3, abs(x)) for s in logs[0] for x, y in zip(logs[0][s], logs[1][s])]
    return {
        "steps": [first.step, second.step],
        "identical": all(torch.equal(v, second.tensors[k]) for k, v in first.tensors.items()),
        "largest_difference": max(furthest.values()),
        "where": max(furthest, key=lambda k: furthest[k]),
        "logs_identical": logs[0] == logs[1],
        "largest_relative_log_difference": max(lines),
        "lines": len(logs[0]),
    }


def curve(run: Path) -> dict[int, list[float]]:
    """Losses of the log by step; of a step that was logged twice, the last line."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    keys = ("bpp", "psnr", "g_loss", "d_loss", "adversarial", "d_real", "feature_matching", "teacher")
    return {li["step"]: [li.get(k) or 0.0 for k in keys] for li in lines if "g_loss" in li}


def training(
    chosen: Recipe, photographs: str, out: Path, save_every: int = 100, log_every: int = 1
) -> Callable[[], object]:
    kept = RunOptions(save_every=save_every, log_every=log_every)
    return lambda: gencomp.train.loop.run(chosen, [photographs], out, options=kept)


def equal(photographs: str, folder: Path, processes: int) -> dict[str, object]:
    """One process against several, and against one that accumulates."""
    chosen = recipe("tiny", TWO_STAGES)
    one, many, parts = folder / "one", folder / "many", folder / "parts"
    statuses = finish(start(1, training(chosen, photographs, one)))
    statuses += finish(start(processes, training(chosen, photographs, many)))
    accumulating = recipe("tiny", {**TWO_STAGES, "accumulate": "2"})
    statuses += finish(start(1, training(accumulating, photographs, parts)))
    return {"statuses": statuses, "processes": differences(one, many), "accumulated": differences(one, parts)}


def moments(kills: int, steps: int) -> list[int]:
    """The numbers of steps, rising and well below the last, after which a run is killed: the same every time."""
    return sorted(random.Random(0).sample(range(2, steps - 20, 4), kills))


def reached(out: Path) -> int:
    """The step of the newest checkpoint, by its name; 0 without one."""
    saved = checkpoints(out)
    return int(saved[-1].stem.removeprefix("step-")) if saved else 0


def interrupted(children: list[int], out: Path, step: int) -> int:
    """Kill all processes of a run at once, some way after its checkpoint of `step`, or the next one after a resume, has
    come; the step that the run had reached."""
    wanted, waited = max(step, reached(out) + 2), 0.0
    while reached(out) < wanted and waited < 120:
        time.sleep(0.01)
        waited += 0.01
    time.sleep(random.Random(step).uniform(0.0, 0.1))  # between two checkpoints, or in the middle of one
    for child in children:
        os.kill(child, signal.SIGKILL)
    if -signal.SIGKILL not in finish(children):
        raise RuntimeError(f"the run ended at step {reached(out)} before it could be killed")
    return reached(out)


def kill(photographs: str, folder: Path, processes: int, kills: int) -> dict[str, object]:
    """A run that is killed `kills` times, at steps spread over it, against an unbroken one."""
    chosen = recipe("tiny", {**TWO_STAGES, "steps": "60", "realism.begin": "30"})
    out = folder / "killed"
    statuses = finish(start(processes, training(chosen, photographs, folder / "unbroken", save_every=2, log_every=4)))
    task = training(chosen, photographs, out, save_every=2, log_every=4)
    seen = [interrupted(start(processes, task), out, number) for number in moments(kills, chosen.steps)]
    statuses += finish(start(processes, task))
    resumed = sum("resumed_from" in line for line in (folder / "killed" / "log.jsonl").read_text().splitlines())
    told = {"statuses": statuses, "killed_after": seen, "resumed": resumed}
    return told | differences(folder / "unbroken", folder / "killed")


if __name__ == "__main__":
    what, photographs, folder, processes = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    play = equal if what == "equal" else partial(kill, kills=int(sys.argv[5]))
    print(json.dumps(play(photographs, folder, processes)))
