"""One optimiser step of any procedure, on one process or many: the same result either way.

Losses are means over samples of equal weight, every process and every micro-batch holds as many samples as any other,
and random inputs depend on sample numbers alone: so gradients are those of the whole batch, however it is divided.
Nothing here waits for the device: no value is read back within a step.
"""

import contextlib

import torch
from torch import Tensor

from gencomp.networks.contract import TrainingInputs

from .data.batches import Batch
from .procedures.contract import Metrics, MicroBatch, Stage
from .recipe import learning_rate_factor

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
        with contextlib.ExitStack() as alone:
            if index < len(micro_batches) - 1:  # gradients go round the processes with the last one only
                for player in players.learners():
                    alone.enter_context(accelerator.no_sync(player.network))
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


def divided(stage: Stage, batch: Batch) -> list[MicroBatch]:
    """The batch in `accumulate` parts of equal size, on the device."""
    share = len(batch.pixels) // stage.recipe.accumulate
    return [micro_batch(stage, batch, slice(first, first + share)) for first in range(0, len(batch.pixels), share)]


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
    # where a sample's positional noise begins: rows far from any other's
    origin = torch.stack([batch.numbers[rows] * NOISE_ROWS, torch.zeros_like(batch.numbers[rows])], 1)
    realistic = moved(realistic if len(realistic) else torch.zeros(1, dtype=torch.long))
    quality_step = moved(batch.random.quality_step[rows])
    return MicroBatch(TrainingInputs(x, quality_step, moved(realism), noise, moved(origin)), realistic)
