"""Batches: which samples a process takes at a step, and the loader that brings them."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Sampler

from ..recipes import Recipe
from .crops import Batch, Crops, Draws, Sample
from .sources import SourceError


class StepSampler(Sampler[list[int]]):
    """The sample numbers of this process, a batch a step, from step `start` to step `stop`.

    Step k takes samples k*batch ... (k+1)*batch - 1; rank r its r-th equal share of them.
    """

    def __init__(self, recipe: Recipe, start: int, stop: int, rank: int = 0, processes: int = 1) -> None:
        super().__init__()
        self.share = share_of(recipe, processes)
        self.batch, self.start, self.stop, self.rank = recipe.batch, start, stop, rank

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = step * self.batch + self.rank * self.share
            yield list(range(first, first + self.share))

    def __len__(self) -> int:
        return max(0, self.stop - self.start)


def share_of(recipe: Recipe, processes: int) -> int:
    """Samples a process and step; ValueError where the batch cannot be shared evenly."""
    if recipe.batch % (processes * recipe.accumulate):
        parts = f" in {recipe.accumulate} parts each" if recipe.accumulate > 1 else ""
        raise ValueError(f"a batch of {recipe.batch} cannot be shared by {processes} processes{parts}: set batch=N")
    return recipe.batch // processes


def collate(samples: list[Sample]) -> Batch:
    """Samples to a batch."""
    chance = Draws(*(torch.stack(values) for values in zip(*(s.draws for s in samples))))
    numbers = torch.tensor([s.number for s in samples])
    return Batch(numbers, torch.stack([s.pixels for s in samples]), chance, [n for s in samples for n in s.broken])


def batches(names: list[str], recipe: Recipe, sampler: StepSampler, *, streamed: bool = False) -> DataLoader[Batch]:
    """The batches of this process from step `sampler.start` on."""
    pinned = torch.cuda.is_available()
    if streamed:
        if len(names) != 1:
            raise SourceError("a stream is one parquet folder or one name on the hub")
        from .streams import StreamedBatches

        data = StreamedBatches(names[0], recipe, sampler)
        workers = min(1, recipe.workers)  # one reader keeps the order
        return DataLoader(data, batch_size=None, num_workers=workers, pin_memory=pinned)
    return DataLoader(
        Crops(names, recipe),  # type: ignore[arg-type]
        batch_sampler=sampler,
        num_workers=recipe.workers,
        collate_fn=collate,
        prefetch_factor=8 if recipe.workers else None,
        pin_memory=pinned,
    )
