"""Training crops, each a pure function of the seed and its number.

Sample n of a run, its photograph, scale, place, flip, noise and lambda, is the same whatever the number of processes
and workers, which makes runs repeatable and resumable: nothing but the step number has to be saved.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gencomp.hific import HificConfig
from gencomp.image import read_picture
from gencomp.model import ModelConfig

from .recipes import Recipe

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".avif"}
CACHE_BYTES = 3 << 30  # decoded photographs kept by a worker
AREA_CAP = 2_000_000  # pixels beyond which a photograph is not drawn more often


class Crop(NamedTuple):
    """number: the sample's place in the run; pixels uint8 [3, crop, crop]."""

    number: int
    pixels: Tensor


def find_photographs(folders: list[Path]) -> list[Path]:
    """All pictures under the folders, sorted by path; FileNotFoundError where there is none."""
    found = [p for f in folders for p in sorted(f.rglob("*")) if p.suffix.lower() in SUFFIXES]
    if not found:
        raise FileNotFoundError(f"no photographs under {', '.join(map(str, folders))}")
    return found


def _areas(paths: list[Path]) -> np.ndarray:
    areas = np.zeros(len(paths))
    for i, path in enumerate(paths):
        try:
            with Image.open(path) as picture:
                areas[i] = min(AREA_CAP, picture.width * picture.height)
        except (OSError, UnidentifiedImageError):
            areas[i] = 0
    return areas


class Crops(Dataset[Crop]):
    """Random crops of photographs, drawn in proportion to their area."""

    def __init__(self, folders: list[Path], recipe: Recipe) -> None:
        self.paths = find_photographs(folders)
        areas = _areas(self.paths)
        self.odds = areas / areas.sum()
        self.recipe = recipe
        self.cache: dict[int, np.ndarray] = {}
        self.cached = 0

    def photograph(self, index: int) -> np.ndarray:
        """uint8 [H, W, 3], from memory after the first time."""
        if index in self.cache:
            return self.cache[index]
        pixels = np.asarray(read_picture(io.BytesIO(self.paths[index].read_bytes())))
        if self.cached + pixels.nbytes <= CACHE_BYTES:
            self.cache[index], self.cached = pixels, self.cached + pixels.nbytes
        return pixels

    def __getitem__(self, number: int) -> Crop:
        """Scaling down first hides the JPEG artefacts of the source, as HiFiC's training does (Mentzer et al. 2020)."""
        recipe, draw = self.recipe, np.random.default_rng((self.recipe.seed, number))
        pixels = self.photograph(int(draw.choice(len(self.paths), p=self.odds)))
        height, width = pixels.shape[:2]
        shrink = min(1.0, (AREA_CAP / (height * width)) ** 0.5)  # a large photograph is first brought to the cap
        scale = shrink * draw.uniform(recipe.scale_min, recipe.scale_max)
        scale = max(scale, recipe.crop / min(height, width))
        side = min(height, width, round(recipe.crop / scale))
        top, left = (int(draw.integers(0, size - side + 1)) for size in (height, width))
        window = Image.fromarray(pixels[top : top + side, left : left + side])
        window = window.resize((recipe.crop, recipe.crop), Image.Resampling.LANCZOS)
        crop = np.asarray(window)[:, :: 1 if draw.random() < 0.5 else -1]
        return Crop(number, torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))))


class StepSampler(Sampler[list[int]]):
    """The sample numbers of this process, a batch a step, from `start` to the end of the run.

    Step k takes samples k*batch ... (k+1)*batch - 1; rank r its r-th equal share of them.
    """

    def __init__(self, recipe: Recipe, start: int, rank: int = 0, processes: int = 1) -> None:
        super().__init__()
        if recipe.batch % processes:
            raise ValueError(f"a batch of {recipe.batch} cannot be shared by {processes} processes")
        self.recipe, self.start, self.rank, self.processes = recipe, start, rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        share = self.recipe.batch // self.processes
        for step in range(self.start, self.recipe.steps):
            first = step * self.recipe.batch + self.rank * share
            yield list(range(first, first + share))

    def __len__(self) -> int:
        return max(0, self.recipe.steps - self.start)


def _collate(crops: list[Crop]) -> tuple[Tensor, Tensor]:
    return torch.tensor([c.number for c in crops]), torch.stack([c.pixels for c in crops])


def loader(crops: Crops, sampler: StepSampler) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches (numbers int64 [B], pixels uint8 [B, 3, crop, crop])."""
    workers = crops.recipe.workers
    return DataLoader(
        crops,  # type: ignore[arg-type]
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        prefetch_factor=8 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


class Draws(NamedTuple):
    """What chance decides for each sample: step int [B]; noise_y [B, M, h, w] and noise_z in -1/2..1/2."""

    step: Tensor
    noise_y: Tensor
    noise_z: Tensor


def draws(numbers: Tensor, recipe: Recipe) -> Draws:
    """Quality step and quantisation noise of the samples, from (seed, number) alone."""
    from gencomp.bitstream import STEPS

    side, (channels, hyper_channels) = recipe.crop // 16, latent_channels(recipe.model)
    steps, noise_y, noise_z = [], [], []
    for number in numbers.tolist():
        generator = torch.Generator().manual_seed((recipe.seed * 1_000_003 + number) * 2 + 1)
        steps.append(int(torch.randint(0, STEPS + 1, (), generator=generator)))
        noise_y.append(torch.rand(channels, side, side, generator=generator) - 0.5)
        z_side = -(-side // 4)
        noise_z.append(torch.rand(hyper_channels, z_side, z_side, generator=generator) - 0.5)
    return Draws(torch.tensor(steps), torch.stack(noise_y), torch.stack(noise_z))


def latent_channels(config: ModelConfig | HificConfig) -> tuple[int, int]:
    """Channels of y and of z."""
    if isinstance(config, HificConfig):
        return config.latent_channels, config.hyper_channels
    return config.transform.latent_channels, config.prior.hyper_channels
