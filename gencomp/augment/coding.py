"""A codec in the hands of an augmentation: batches in and out, in any process."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gencomp.bitstream import MAX_QUALITY, MIN_QUALITY
from gencomp.codec import Codec, load

Range = tuple[float, float]


class ProcessCodec:
    """Images through one codec. It is loaded at the first image in each process, and copied to others by name alone:
    data loaders fork and spawn, and a run-time's threads live through neither."""

    def __init__(self, model: str | Path | None = None, device: str = "cpu") -> None:
        self.model, self.device = model, device
        self._codec: Codec | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_codec": None, "_process": 0}

    @property
    def codec(self) -> Codec:
        if self._codec is None or self._process != os.getpid():
            self._codec, self._process = load(self.model, device=self.device), os.getpid()
        return self._codec

    def image(self, image: Image.Image, quality: float, realism: float) -> Image.Image:
        """An image as its file shows it, mode RGB."""
        return self.codec.round_trip(image, quality=quality, realism=realism if self.codec.knows_realism else None)

    def tensor(
        self, images: Tensor, qualities: Sequence[float], realisms: Sequence[float], chosen: Sequence[bool]
    ) -> Tensor:
        """images [..., 3, H, W], uint8 or floating in 0..1; for each a quality, a realism, and whether it is coded
        -> the same shape, type and device. ValueError for other tensors."""
        if images.ndim < 3 or images.shape[-3] != 3:
            raise ValueError(f"images are [..., 3, H, W], not {list(images.shape)}")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"images are uint8 or floating in 0..1, not {images.dtype}")
        flat = images.detach().reshape(-1, *images.shape[-3:]).clone()
        for k, is_coded in enumerate(chosen):
            if is_coded:
                shown = self.image(Image.fromarray(_pixels(flat[k])), qualities[k], realisms[k])
                found = torch.from_numpy(np.asarray(shown).copy()).permute(2, 0, 1)
                flat[k] = found if images.dtype == torch.uint8 else found.to(images.dtype) / 255
        return flat.reshape(images.shape)


def ranges(quality: Range | float, realism: Range | float) -> tuple[Range, Range]:
    """Both as ranges, from two numbers or one; ValueError for one beyond what a codec takes."""
    found = []
    for name, given, low, high in (("quality", quality, MIN_QUALITY, MAX_QUALITY), ("realism", realism, 0.0, 1.0)):
        ends = (float(given), float(given)) if isinstance(given, int | float) else (float(given[0]), float(given[1]))
        if not low <= ends[0] <= ends[1] <= high:
            raise ValueError(f"{name} is a range within {low:g} to {high:g}, not {given}")
        found.append(ends)
    return found[0], found[1]


def _pixels(image: Tensor) -> np.ndarray:
    """[3, H, W] -> uint8 [H, W, 3]."""
    if image.dtype != torch.uint8:
        image = image.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
