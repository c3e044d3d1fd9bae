"""Batches: which samples a process takes at a step, and the loader that brings them."""

import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..recipe import Recipe
from .crops import Crops, RandomInputs, Sample
from .sources import DataError, Sources
from .streams import Stream, StreamedBatches


class Batch(NamedTuple):
    """numbers int64 [B] of the samples; pixels uint8 [B, 3, crop, crop]; names of photographs that were skipped."""

    numbers: Tensor
    pixels: Tensor
    random: RandomInputs
    unreadable: list[str]


class StepSampler:
    """The sample numbers of this process, a batch per step, from step `start` to step `stop`.

    Step k takes samples k*batch ... (k+1)*batch - 1; rank r its r-th equal share of them.
    """

    def __init__(self, recipe: Recipe, start: int, stop: int, rank: int = 0, processes: int = 1) -> None:
        self.share = share_of(recipe, processes)
        self.batch, self.start, self.stop, self.rank = recipe.batch, start, stop, rank

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = step * self.batch + self.rank * self.share
            yield list(range(first, first + self.share))


def share_of(recipe: Recipe, processes: int) -> int:
    """Samples per process and step; ValueError, with settings that fit, where the batch cannot be shared evenly."""
    unit = processes * recipe.accumulate
    if recipe.batch % unit:
        parts = f" in {recipe.accumulate} micro-batches each" if recipe.accumulate > 1 else ""
        batch, rate = scaled(recipe, processes)
        raise ValueError(
            f"a batch of {recipe.batch} cannot be shared by {processes} processes{parts}: "
            f"--set batch={batch} --set learning_rate={rate:.3g}"
        )
    return recipe.batch // processes


def scaled(recipe: Recipe, processes: int) -> tuple[int, float]:
    """A batch that `processes` can share, the smallest multiple that is not below the recipe's, and its learning rate.

    Square-root rule (Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient algorithms"): the
    learning rate of adaptive optimisers grows with the root of the batch. A starting point, not a law.
    """
    unit = processes * recipe.accumulate
    batch = -(-recipe.batch // unit) * unit
    return batch, recipe.learning_rate * (batch / recipe.batch) ** 0.5


class Data(NamedTuple):
    names: list[str]
    source: Sources | Stream


def open_data(names: list[str], *, streamed: bool) -> Data:
    """DataError for what is not there. A stream is one place of parquet files, of which nothing is loaded."""
    if not streamed:
        return Data(names, Sources(names))
    if len(names) != 1:
        raise DataError("a stream is one parquet folder, address or name on the hub")
    return Data(names, Stream(names[0]))


def collate(samples: list[Sample]) -> Batch:
    drawn = [s.random for s in samples]
    noise = {stream: torch.stack([d.noise[stream] for d in drawn]) for stream in drawn[0].noise}
    quality_step, realism = torch.stack([d.quality_step for d in drawn]), torch.stack([d.realism for d in drawn])
    random = RandomInputs(quality_step, realism, noise)
    numbers = torch.tensor([s.number for s in samples])
    return Batch(numbers, torch.stack([s.pixels for s in samples]), random, [n for s in samples for n in s.unreadable])


def _let_the_run_save_first(_: int) -> None:
    """What stops a run (torchrun, Slurm) sends SIGTERM to every process of its group: a worker that died of it would
    take the run with it before its state is saved. Workers end with the run."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def batches(data: Data, recipe: Recipe, sampler: StepSampler) -> DataLoader[Batch]:
    """The batches of this process from step `sampler.start` on."""
    shared: dict[str, Any] = {"collate_fn": collate, "pin_memory": torch.cuda.is_available()}
    shared["worker_init_fn"] = _let_the_run_save_first
    if isinstance(data.source, Stream):
        streamed: Any = StreamedBatches(data.source, recipe, sampler, sampler.batch, sampler.start)
        # one reader, which decodes in `workers` threads
        return DataLoader(streamed, batch_size=None, num_workers=min(1, recipe.workers), **shared)
    crops: Any = Crops(data.source, recipe)
    ahead = 8 if recipe.workers else None
    return DataLoader(crops, batch_sampler=sampler, num_workers=recipe.workers, prefetch_factor=ahead, **shared)


def fixed_crops(data: Data, recipe: Recipe, count: int) -> list[Tensor]:
    """`count` crops uint8 [3, crop, crop] that are the same every time; of a stream, its first ones."""
    if isinstance(data.source, Stream):
        (samples,) = StreamedBatches(data.source, recipe, [list(range(count))], count, 0)
        return [sample.pixels for sample in samples]
    crops = Crops(data.source, recipe)
    return [crops[number].pixels for number in range(count)]
