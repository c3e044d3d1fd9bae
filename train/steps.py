"""One optimiser step of any procedure, on one process or many: the same result either way.

Losses are means over samples of equal weight, every process and every micro-batch holds as many samples as any other,
and random inputs depend on sample numbers alone: so gradients are those of the whole batch, however it is divided.
Nothing here waits for the device: no value is read back within a step.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from gencomp.networks.contract import TrainingInputs

from .data.batches import Batch
from .procedures.contract import Metrics, MicroBatch, Stage
from .schedule import learning_rate_factor

NOISE_ROWS = 1024  # rows of positional noise set apart for each sample


def train_step(stage: Stage, batch: Batch) -> Metrics:
    """One step on this process's share of the batch; metrics are means over its samples, still on the device.

    The loss of a micro-batch is the procedure's, one number whose gradients are those of every player that learns.
    """
    players, accelerator, recipe = stage.players, stage.accelerator, stage.recipe
    factor = learning_rate_factor(recipe, stage.step)
    for player in players.learners():
        player.begin(factor)
    micro_batches, collected = divided(stage, batch), list[Metrics]()
    for index, micro in enumerate(micro_batches):
        with synchronised(stage, last=index == len(micro_batches) - 1):
            loss, metrics = stage.procedure.loss(stage, micro)
            accelerator.backward(loss / len(micro_batches))
        collected.append(metrics)
    for player in players.learners():
        player.update(accelerator)
    if players.ema is not None:
        done = stage.step - stage.begin + 1
        players.ema.follow(players.codec.module, min(recipe.ema, (1 + done) / (10 + done)))
    stage.step += 1
    return {name: torch.stack([m[name] for m in collected]).mean() for name in collected[0]}


@contextlib.contextmanager
def synchronised(stage: Stage, *, last: bool) -> Iterator[None]:
    """Gradients go round the processes with the last micro-batch only."""
    with contextlib.ExitStack() as stack:
        for player in stage.players.learners():
            if not last:
                stack.enter_context(stage.accelerator.no_sync(player.network))
        yield


def divided(stage: Stage, batch: Batch) -> list[MicroBatch]:
    """The batch in `accumulate` parts of equal size, on the device."""
    count = stage.recipe.accumulate
    share = len(batch.pixels) // count
    if share * count != len(batch.pixels):
        raise ValueError(f"{len(batch.pixels)} samples per process cannot be divided into {count} micro-batches")
    return [micro_batch(stage, batch, slice(k * share, (k + 1) * share)) for k in range(count)]


def micro_batch(stage: Stage, batch: Batch, rows: slice) -> MicroBatch:
    """Rows of a batch, moved to the device: images in 0..1 and random inputs, the realism as the procedure has it."""

    def moved(value: Tensor) -> Tensor:
        return value.to(stage.device, non_blocking=True)

    realism = stage.procedure.realism(batch.random.realism[rows])
    realistic = realism.nonzero().flatten()  # still on the CPU
    x = moved(batch.pixels[rows]).float() / 255
    if stage.recipe.channels_last:
        x = x.to(memory_format=torch.channels_last)
    noise = {stream: moved(values[rows]) for stream, values in batch.random.noise.items()}
    quality_step, origin = moved(batch.random.quality_step[rows]), moved(noise_origin(batch.numbers[rows]))
    realistic = moved(realistic if len(realistic) else torch.zeros(1, dtype=torch.long))
    return MicroBatch(TrainingInputs(x, quality_step, moved(realism), noise, origin), realistic)


def noise_origin(numbers: Tensor) -> Tensor:
    """Where a sample's positional noise begins: int64 [B] -> [B, 2] rows and columns, far from any other's."""
    return torch.stack([numbers * NOISE_ROWS, torch.zeros_like(numbers)], 1)
