"""Training crops, each a pure function of the seed and its number.

Sample n of a run, its photograph, scale, place, flip, noise, quality and realism, is the same whatever the number of
processes and workers, which makes runs repeatable and resumable: nothing but the step number has to be saved. Quality
(and so lambda) and realism are drawn for each sample, finer than for each batch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from gencomp.bitstream import STEPS

from .network import latent_channels
from .recipes import Recipe
from .sources import AREA_CAP, SourceError, Sources, decode, odds, stream

CACHE_BYTES = 3 << 30  # decoded photographs kept by a worker
TRIES = 20  # photographs drawn for one sample before the data is called broken


class Draws(NamedTuple):
    """What chance decides for each sample.

    step int [B] quality; realism [B] in 0..1; noise_y [B, M, h, w] and noise_z [B, Z, h', w'] in -1/2..1/2.
    """

    step: Tensor
    realism: Tensor
    noise_y: Tensor
    noise_z: Tensor


class Batch(NamedTuple):
    """numbers int64 [B] of the samples; pixels uint8 [B, 3, crop, crop]; names of pictures that were skipped."""

    numbers: Tensor
    pixels: Tensor
    draws: Draws
    broken: list[str]


class Sample(NamedTuple):
    """One sample of a `Batch`."""

    number: int
    pixels: Tensor
    draws: Draws
    broken: list[str]


def cut(pixels: np.ndarray, recipe: Recipe, draw: np.random.Generator) -> Tensor:
    """A random crop of a photograph uint8 [H, W, 3], scaled and perhaps flipped: uint8 [3, crop, crop].

    Scaling down first hides the JPEG artefacts of the source, as HiFiC's training does (Mentzer et al. 2020).
    """
    height, width = pixels.shape[:2]
    shrink = min(1.0, (AREA_CAP / (height * width)) ** 0.5)  # a large photograph is first brought to the cap
    scale = shrink * draw.uniform(recipe.scale_min, recipe.scale_max)
    scale = max(scale, recipe.crop / min(height, width))
    side = min(height, width, round(recipe.crop / scale))
    top, left = (int(draw.integers(0, size - side + 1)) for size in (height, width))
    window = Image.fromarray(pixels[top : top + side, left : left + side])
    window = window.resize((recipe.crop, recipe.crop), Image.Resampling.LANCZOS)
    crop = np.asarray(window)[:, :: 1 if draw.random() < 0.5 else -1]
    return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))


def draws(number: int, recipe: Recipe) -> Draws:
    """Quality step, realism and quantisation noise of a sample, from (seed, number) alone; no batch dimension.

    Half of the realisms lie at the ends 0 and 1, the rest evenly between: the ends are what users ask for. So are the
    middle qualities, of which `focus` makes more.
    """
    side, (channels, hyper_channels) = recipe.crop // 16, latent_channels(recipe.model)
    generator = torch.Generator().manual_seed((recipe.seed * 1_000_003 + number) * 2 + 1)
    step = torch.randint(0, STEPS + 1, (), generator=generator)
    noise_y = torch.rand(channels, side, side, generator=generator) - 0.5
    z_side = -(-side // 4)
    noise_z = torch.rand(hyper_channels, z_side, z_side, generator=generator) - 0.5
    realism = (2 * torch.rand((), generator=generator) - 0.5).clamp(0, 1)
    if torch.rand((), generator=generator) < recipe.focus:
        step = STEPS // 4 + step // 2
    if recipe.rate.bpp:  # one rate and no knob, as in HiFiC
        step, realism = torch.full_like(step, STEPS // 2), torch.ones_like(realism)
    return Draws(step, realism, noise_y, noise_z)


class Crops(Dataset[Sample]):
    """Random crops of photographs, drawn in proportion to their area."""

    def __init__(self, names: list[str], recipe: Recipe) -> None:
        self.source = Sources(names)
        self.odds = odds(self.source)
        self.recipe = recipe
        self.cache: dict[int, np.ndarray | None] = {}
        self.cached = 0

    def photograph(self, index: int) -> np.ndarray | None:
        """uint8 [H, W, 3], from memory after the first time; None for a broken one."""
        if index in self.cache:
            return self.cache[index]
        pixels = decode(self.source[index])
        size = pixels.nbytes if pixels is not None else 0
        if self.cached + size <= CACHE_BYTES:
            self.cache[index], self.cached = pixels, self.cached + size
        return pixels

    def __getitem__(self, number: int) -> Sample:
        """A broken photograph is named and another drawn in its stead; SourceError after many in a row."""
        draw, broken = np.random.default_rng((self.recipe.seed, number)), list[str]()
        for _ in range(TRIES):
            index = int(draw.choice(len(self.source), p=self.odds))
            pixels = self.photograph(index)
            if pixels is not None:
                return Sample(number, cut(pixels, self.recipe, draw), draws(number, self.recipe), broken)
            broken.append(self.source[index].name)
        raise SourceError(f"{TRIES} photographs in a row cannot be read, the last of them {broken[-1]}")


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
