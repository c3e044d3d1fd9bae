"""The codec as an intensity augmentation of kornia: batches [B, 3, H, W], floating in 0..1."""

from pathlib import Path
from typing import Any

from kornia.augmentation import IntensityAugmentationBase2D
from kornia.augmentation.random_generator import PlainUniformGenerator
from torch import Tensor

from gencomp.augment.coding import ProcessCodec, Range, ranges


class CodecAugment(IntensityAugmentationBase2D):
    """As `gencomp.augment.CodecAugment`, with kornia's p, same_on_batch and keepdim.

        augment = kornia.augmentation.AugmentationSequential(CodecAugment(quality=(5, 60), p=0.5), data_keys=["input"])

    Input is clamped to 0..1. Draws follow torch's generator; no gradient passes what was coded.
    """

    def __init__(
        self,
        quality: Range | float = (10.0, 80.0),
        realism: Range | float = (0.0, 1.0),
        p: float = 0.5,
        same_on_batch: bool = False,
        keepdim: bool = False,
        model: str | Path | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        named = zip(ranges(quality, realism), ("quality", "realism"))
        self._param_generator = PlainUniformGenerator(*((ends, name, None, None) for ends, name in named))
        self.coding = ProcessCodec(model, device)

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        quality, realism = params["quality"].tolist(), params["realism"].tolist()
        return self.coding.tensor(input.clamp(0, 1), quality, realism, [True] * len(quality))
