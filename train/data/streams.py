"""Streams: photographs in order, for sets that are larger than the disk."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch.utils.data import IterableDataset

from ..recipes import Recipe
from .batches import StepSampler, collate
from .crops import TRIES, Batch, Sample, cut, draws
from .sources import Photograph, SourceError, decode, load_rows, photograph_of, picture_column

SHUFFLE_BUFFER = 1000  # pictures that a stream is shuffled over


def stream(name: str, seed: int, first: int = 0) -> Iterator[Photograph]:
    """The photographs of a parquet folder or hub name in a fixed shuffled order, over and over, from number `first`."""
    import datasets

    path = Path(name)
    files = sorted(str(p) for p in path.rglob("*.parquet")) if path.is_dir() else [name] if path.is_file() else None
    rows = load_rows("parquet" if files else name, files, streaming=True)
    column = picture_column(name, rows.features or next(iter(rows.take(1)), {}))
    rows = rows.cast_column(column, datasets.Image(decode=False)).select_columns([column])
    rows = rows.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)
    number = 0
    for epoch in itertools.count():
        rows.set_epoch(epoch)
        start = number
        for row in rows:
            if number >= first:
                yield photograph_of(row[column], f"{name} number {number}")
            number += 1
        if number == start:
            raise SourceError(f"{name} streams no photographs")


class StreamedBatches(IterableDataset[Batch]):
    """Batches of a stream: sample n is cut from the n-th photograph, read in order by every process.

    Every process reads all bytes and decodes its own share, which keeps the order independent of their number. In the
    place of a broken photograph stands the stream's first good one.
    """

    def __init__(self, name: str, recipe: Recipe, sampler: StepSampler) -> None:
        self.name, self.recipe, self.sampler = name, recipe, sampler

    def __iter__(self) -> Iterator[Batch]:
        recipe, spare = self.recipe, self._first_good()
        photographs = stream(self.name, recipe.seed, self.sampler.start * recipe.batch)
        for wanted in self.sampler:
            first = wanted[0] - self.sampler.rank * self.sampler.share
            samples = []
            for number in range(first, first + recipe.batch):
                photograph = next(photographs)
                if number in wanted:
                    pixels = decode(photograph)
                    crop = cut(
                        spare if pixels is None else pixels, recipe, np.random.default_rng((recipe.seed, number))
                    )
                    broken = [photograph.name] if pixels is None else []
                    samples.append(Sample(number, crop, draws(number, recipe), broken))
            yield collate(samples)

    def _first_good(self) -> np.ndarray:
        for _, photograph in zip(range(TRIES), stream(self.name, self.recipe.seed)):
            pixels = decode(photograph)
            if pixels is not None:
                return pixels
        raise SourceError(f"the first {TRIES} photographs of {self.name} cannot be read")
