"""Training crops, each a pure function of the seed and its number.

Sample n of a run, its photograph, scale, place, flip, noise, quality and realism, is the same whatever the number of
processes and workers, which makes runs repeatable and resumable: nothing but the step number has to be saved. Quality
(and so lambda) and realism are drawn for each sample, finer than for each batch.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gencomp.bitstream import STEPS

from ..network import latent_channels
from ..recipes import Recipe
from .sources import AREA_CAP, SourceError, Sources, decode, odds

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
