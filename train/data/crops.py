"""Training crops, each a pure function of the seed and its number.

Sample n of a run, its photograph, scale, place, flip, noise, quality and realism, is the same whatever the number of
processes and workers, which makes runs repeatable and resumable: nothing but the step number has to be saved. Quality
(and so lambda) and realism are drawn for each sample, finer than for each batch.
"""

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gencomp.bitstream import STEPS

from ..recipe import Recipe
from .graphics import rendered
from .sources import AREA_CAP, DataError, Decoded, Sources, decode, odds

CACHE_BYTES = 2 << 30  # decoded photographs kept by a training process, over all its workers
TRIES = 20  # photographs drawn for one sample before the data is called broken


class RandomInputs(NamedTuple):
    """What is drawn for each sample, with a batch dimension [B] in front once collated.

    quality_step int []; realism [] in 0..1; noise in -1/2..1/2 by stream, of the shapes that the network names.
    """

    quality_step: Tensor
    realism: Tensor
    noise: dict[str, Tensor]


class Sample(NamedTuple):
    """pixels uint8 [3, crop, crop]; unreadable: names of photographs that were skipped."""

    number: int
    pixels: Tensor
    random: RandomInputs
    unreadable: list[str]


def cut(photograph: Decoded, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """A random crop of a photograph, perhaps flipped: uint8 [3, crop, crop].

    A lossy file is scaled down first, which hides its artefacts, as HiFiC's training does (Mentzer et al. 2020); a
    lossless one is cut at full scale, where fine detail is learnt. Small photographs are enlarged to the crop.
    """
    height, width = photograph.pixels.shape[:2]
    shrink = min(1.0, (AREA_CAP / (height * width)) ** 0.5)  # a large photograph is first brought to the cap
    drawn = rng.uniform(recipe.scale_min, recipe.scale_max)
    scale = max(shrink * (1.0 if photograph.lossless else drawn), recipe.crop / min(height, width))
    side = min(height, width, round(recipe.crop / scale))
    top, left = (int(rng.integers(0, size - side + 1)) for size in (height, width))
    window = Image.fromarray(photograph.pixels[top : top + side, left : left + side])
    if side != recipe.crop:
        window = window.resize((recipe.crop, recipe.crop), Image.Resampling.LANCZOS)
    return channels_first(np.asarray(window)[:, :: 1 if rng.random() < 0.5 else -1])


def channels_first(pixels: np.ndarray) -> Tensor:
    """uint8 [H, W, 3] -> [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def random_inputs(number: int, recipe: Recipe) -> RandomInputs:
    """Those of a sample, from (seed, number) alone; no batch dimension.

    Two fifths of the realisms are 0 and two fifths 1, since users ask for the ends; the rest lies between. Users
    ask for middle qualities, too: `mid_quality_fraction` of the samples is drawn from these alone.
    """
    generator = torch.Generator().manual_seed((recipe.seed * 1_000_003 + number) * 2 + 1)
    quality_step = torch.randint(0, STEPS + 1, (), generator=generator)
    shapes = recipe.model.noise_shapes(recipe.crop)
    noise = {stream: torch.rand(shape, generator=generator) - 0.5 for stream, shape in shapes.items()}
    realism = ((torch.rand((), generator=generator) - 0.4) / 0.2).clamp(0, 1)
    if torch.rand((), generator=generator) < recipe.mid_quality_fraction:
        quality_step = STEPS // 4 + quality_step // 2
    if recipe.rate.bpp:  # one rate and no realism to choose, as in HiFiC
        quality_step, realism = torch.full_like(quality_step, STEPS // 2), torch.ones_like(realism)
    return RandomInputs(quality_step, realism, noise)


def sample_of(
    number: int, recipe: Recipe, rng: np.random.Generator, drawn: Iterable[tuple[str, Decoded | None]]
) -> Sample:
    """Sample `number`, rendered or cut from the first of the photographs drawn for it, by name, that can be read.

    One that cannot be read is named, and the next stands in for it; DataError after many in a row.
    """
    unreadable = list[str]()
    if np.random.default_rng((recipe.seed, number, 1)).random() < recipe.graphics:
        pixels = channels_first(rendered(np.random.default_rng((recipe.seed, number, 2)), recipe.crop))
        return Sample(number, pixels, random_inputs(number, recipe), unreadable)
    for name, photograph in itertools.islice(drawn, TRIES):
        if photograph is not None:
            return Sample(number, cut(photograph, recipe, rng), random_inputs(number, recipe), unreadable)
        unreadable.append(name)
    raise DataError(f"{len(unreadable)} photographs in a row cannot be read, the last of them {unreadable[-1]}")


class Cache:
    """The photographs decoded last, at most so many bytes of them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self.kept: OrderedDict[int, Decoded] = OrderedDict()

    def get(self, index: int) -> Decoded | None:
        if index in self.kept:
            self.kept.move_to_end(index)
        return self.kept.get(index)

    def put(self, index: int, photograph: Decoded) -> None:
        """Keep a photograph; those that were not asked for the longest go."""
        self.kept[index] = photograph
        self.used += photograph.pixels.nbytes
        while self.used > self.limit:
            self.used -= self.kept.popitem(last=False)[1].pixels.nbytes


class Crops(Dataset[Sample]):
    """Random crops of photographs, drawn in proportion to their area."""

    def __init__(self, source: Sources, recipe: Recipe) -> None:
        self.source, self.recipe = source, recipe
        self.odds = odds(source)
        self.cache = Cache(CACHE_BYTES // max(1, recipe.workers))
        self.unreadable: set[int] = set()

    def photograph(self, index: int) -> Decoded | None:
        if index in self.unreadable:
            return None
        found = self.cache.get(index) or decode(self.source[index])
        if found is None:
            self.unreadable.add(index)
        elif self.cache.get(index) is None:
            self.cache.put(index, found)
        return found

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng((self.recipe.seed, number))
        return sample_of(number, self.recipe, rng, self._drawn(rng))

    def _drawn(self, rng: np.random.Generator) -> Iterator[tuple[str, Decoded | None]]:
        while True:
            index = int(rng.choice(len(self.source), p=self.odds))
            yield self.source.name(index), self.photograph(index)
