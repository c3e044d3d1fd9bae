"""Speed of one GAN step, beside HiFiC's arithmetic at the same batch: `python -m gencomp.train.throughput`.

The recipe `gan` and the recipe `hific-lo` (whose networks, those of the paper, are the ones of the public PyTorch port)
each take a few steps of stage 2 in a process of their own, on the same made-up images. Without LPIPS on both sides.
"""

import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

import click
import torch
from accelerate import Accelerator

from gencomp.processes import python

from .data.batches import Batch, collate
from .data.crops import Sample, random_inputs
from .devices import own_device, peak_memory_gib, precision_of
from .plan import loads, measured_flops
from .recipe import Recipe
from .resume import build_stage
from .settings import recipe
from .steps import train_step


def made_up_batch(chosen: Recipe, count: int) -> Batch:
    """Noise in the shape of a batch: arithmetic does not ask what it is."""
    pixels = torch.randint(0, 256, (count, 3, chosen.crop, chosen.crop), dtype=torch.uint8)
    return collate([Sample(n, pixels[n], random_inputs(n, chosen), []) for n in range(count)])


def measure(name: str, values: dict[str, str], steps: int) -> dict[str, Any]:
    """Images per second, peak memory and utilisation of one recipe's stage 2 here."""
    chosen = recipe(name, values | ({"realism.losses.lpips_alex": "0"} if name != "gan" else {}))
    chosen = dataclasses.replace(chosen, precision=precision_of(chosen.precision, own_device()))
    accelerator = Accelerator(mixed_precision=chosen.precision)
    device, stage = accelerator.device, build_stage(chosen, accelerator, 1)
    batch, times = made_up_batch(chosen, chosen.batch), []
    for _ in range(steps + 1):
        began = time.monotonic()
        train_step(stage, batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.monotonic() - began)
    seconds = min(times[1:])  # other work on the machine only ever adds
    flops, peak = loads(chosen)[-1].flops, measured_flops(device, chosen.precision, 2.0)
    facts = {"recipe": name, "device": str(device), "threads": torch.get_num_threads(), "batch": chosen.batch}
    facts |= {"crop": chosen.crop, "precision": chosen.precision, "seconds_per_step": seconds}
    facts |= {"images_per_second": chosen.batch / seconds, "peak_memory_gib": peak_memory_gib(device)}
    return facts | {
        "tflop_per_step": flops / 1e12,
        "tflops_of_a_convolution": peak / 1e12,
        "utilisation": flops / seconds / peak,
    }


@click.command(help=__doc__)
@click.option("--batch", default="4")
@click.option("--crop", default="128")
@click.option("--precision", default="auto")
@click.option("--compile", default="false")
@click.option("--steps", default=5)
@click.option("--only", type=click.Choice(["gan", "hific-lo"]), help="Measure one recipe in this process.")
def main(steps: int, only: str | None, **values: str) -> None:
    """Both recipes, one JSON line each, then the ratio of their speeds."""
    if only:
        print(json.dumps(measure(only, values, steps)))
        return
    speeds = []
    for name in ("gan", "hific-lo"):
        command = python("-m", "gencomp.train.throughput", *sys.argv[1:], "--only", name)
        line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        print(line, flush=True)
        speeds.append(json.loads(line)["images_per_second"])
    print(json.dumps({"gan_over_hific": speeds[0] / speeds[1]}))


if __name__ == "__main__":
    main()
