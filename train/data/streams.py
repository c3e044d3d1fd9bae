"""Streams: parquet files in chunks, for sets that are larger than the disk.

Nothing is loaded but the footers of the files, which say how many rows they hold. The chunks of all files, at most
CHUNK rows each, are put into an order drawn anew for each epoch. The samples of a batch are lanes: lane j of B takes
chunks j, j + B, j + 2 B, ... of that endless order, and its k-th row is sample k B + j of the run. So sample n is a
function of the seed, the batch and n alone, a process reads the chunks of its own lanes and no other, and a resume
finds its place by adding up numbers of rows.
"""

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import IterableDataset

from ..recipe import Recipe
from .crops import Sample, sample_of
from .sources import DataError, Photograph, decode, first_line, image_column, photograph_of

CHUNK = 64  # rows read at once: what a lane holds in memory
READERS = 16  # files opened at once for their footers


class Chunk(NamedTuple):
    """Rows first ... first + rows - 1 of a row group."""

    file: str
    group: int
    first: int
    rows: int


class Stream:
    """The chunks under a parquet file, a folder of them, an fsspec address of either, or a name on the hub."""

    def __init__(self, name: str) -> None:
        import datasets

        files = parquet_files(name)
        with ThreadPoolExecutor(READERS) as pool:
            footers = list(pool.map(_footer, files))
        self.column = image_column(name, datasets.Features.from_arrow_schema(footers[0][0]))
        self.chunks = [
            Chunk(file, group, first, min(CHUNK, rows - first))
            for file, (_, groups) in zip(files, footers)
            for group, rows in enumerate(groups)
            for first in range(0, rows, CHUNK)
        ]
        if not self.chunks:
            raise DataError(f"{name} streams no photographs")

    def lane(self, number: int, lanes: int, seed: int, skip: int = 0) -> Iterator[list[Photograph]]:
        """The rows of lane `number` from its row `skip` on, each followed by the others of its chunk, which stand in
        for it where it is unreadable."""
        passed = 0
        for place in itertools.count(number, lanes):
            epoch, within = divmod(place, len(self.chunks))
            chunk = self.chunks[_order(len(self.chunks), seed, epoch)[within]]
            passed += chunk.rows
            if passed <= skip:
                continue
            rows = read_chunk(chunk, self.column)
            rows = [rows[i] for i in np.random.default_rng((seed, place)).permutation(len(rows))]
            for index in range(max(0, skip - (passed - chunk.rows)), len(rows)):
                yield rows[index:] + rows[:index]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def parquet_files(name: str) -> list[str]:
    """Addresses of the parquet files of a stream, sorted; DataError if there are none."""
    import fsspec

    if "://" not in name and not Path(name).exists():
        return _hub_files(name)
    try:
        system, root = fsspec.core.url_to_fs(name)
        found = [root] if system.isfile(root) else sorted(system.glob(f"{root.rstrip('/')}/**/*.parquet"))
    except Exception as error:  # each file system has its own family of errors
        raise DataError(f"{name} cannot be listed: {first_line(error)}") from error
    if not found:
        raise DataError(f"no parquet files under {name}: a stream reads nothing else")
    return [system.unstrip_protocol(path) for path in found]


def _hub_files(name: str) -> list[str]:
    import datasets

    try:
        files = datasets.load_dataset_builder(name).config.data_files["train"]
    except Exception as error:  # absent, offline, no access, no such split
        hint = "no folder of this name either; it was taken for a name on the hub"
        raise DataError(f"{name} cannot be streamed: {first_line(error)} ({hint})") from error
    wrong = next((f for f in files if not f.endswith(".parquet")), None)
    if wrong:
        raise DataError(f"{name} holds {Path(wrong).name}: a stream reads parquet files alone")
    return [str(f) for f in files]


def _footer(file: str) -> tuple[Any, list[int]]:
    """(schema, rows of each row group) of a parquet file."""
    import fsspec
    import pyarrow.parquet

    try:
        with fsspec.open(file) as opened:
            parquet = pyarrow.parquet.ParquetFile(opened)
            groups = [parquet.metadata.row_group(g).num_rows for g in range(parquet.num_row_groups)]
            return parquet.schema_arrow, groups
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{file} cannot be read as parquet: {first_line(error)}") from error


def read_chunk(chunk: Chunk, column: str) -> list[Photograph]:
    """The rows of a chunk, undecoded."""
    import fsspec
    import pyarrow.parquet

    with fsspec.open(chunk.file) as opened:
        parquet = pyarrow.parquet.ParquetFile(opened)
        parts = parquet.iter_batches(batch_size=CHUNK, row_groups=[chunk.group], columns=[column])
        part = next(itertools.islice(parts, chunk.first // CHUNK, None))
    name = f"{chunk.file} group {chunk.group} row"
    return [photograph_of(cell, f"{name} {chunk.first + i}") for i, cell in enumerate(part.column(0).to_pylist())]


class StreamedBatches(IterableDataset[list[Sample]]):
    """The samples of each step, from `start` on: lanes numbers[0] % batch and following of `batch` lanes."""

    def __init__(self, stream: Stream, recipe: Recipe, steps: Iterable[list[int]], batch: int, start: int) -> None:
        self.stream, self.recipe, self.steps, self.batch, self.start = stream, recipe, steps, batch, start

    def __iter__(self) -> Iterator[list[Sample]]:
        lanes: list[Iterator[list[Photograph]]] = []
        with ThreadPoolExecutor(max(1, self.recipe.workers)) as pool:
            for numbers in self.steps:
                if not lanes:
                    seed = self.recipe.seed
                    lanes = [self.stream.lane(n % self.batch, self.batch, seed, self.start) for n in numbers]
                rows = [next(lane) for lane in lanes]
                yield list(pool.map(self._sample, numbers, rows))

    def _sample(self, number: int, rows: list[Photograph]) -> Sample:
        rng = np.random.default_rng((self.recipe.seed, number))
        return sample_of(number, self.recipe, rng, ((photograph.name, decode(photograph)) for photograph in rows))
