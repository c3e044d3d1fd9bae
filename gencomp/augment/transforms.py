"""The codec as a transform of torchvision's transforms.v2: PIL images, tensors, tv_tensors, batches."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from gencomp.augment.coding import ProcessCodec, Range, ranges


def _is_plain(value: Any) -> bool:
    return type(value) is Tensor


class CodecAugment(v2.Transform):
    """Code and decode at a quality and a realism drawn evenly from ranges, each image of a batch with its own.

    quality: a range within 1..100, or one number; realism: within 0..1, of models that know it. p: probability with
    which an image is coded at all. model: a name or file as `gencomp.load` takes it, by default the embedded one.
    device: where the transforms run; "cpu" is what works in data loaders' workers.

    Images are PIL images (which come back as RGB), uint8 tensors or floating ones in 0..1, [..., 3, H, W]; masks, boxes
    and labels pass. Draws follow torch's generator, so `torch.manual_seed` and a DataLoader's seeds of its workers make
    them repeatable. Tensors come back without gradients.

        augment = v2.Compose([v2.RandomResizedCrop(224), CodecAugment(quality=(5, 60), p=0.5), v2.ToImage()])

        rows.set_transform(lambda batch: {**batch, "image": [augment(x) for x in batch["image"]]})   # datasets: anew
        rows = rows.map(lambda row: {"image": augment(row["image"])})                     # each time, or once for all
    """

    _transformed_types = (Image.Image, tv_tensors.Image, tv_tensors.Video, _is_plain)

    def __init__(
        self,
        quality: Range | float = (10.0, 80.0),
        realism: Range | float = (0.0, 1.0),
        p: float = 1.0,
        model: str | Path | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p is a probability, not {p}")
        (self.quality, self.realism), self.p = ranges(quality, realism), p
        self.coding = ProcessCodec(model, device)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """A quality, a realism and whether it is coded for each image of the largest batch of a call."""
        count = max((_count(value) for value in flat_inputs), default=0)
        draws = torch.rand(3, count)
        return {
            "quality": _within(self.quality, draws[0]),
            "realism": _within(self.realism, draws[1]),
            "chosen": (draws[2] < self.p).tolist(),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, Image.Image):
            coded = params["chosen"][0]
            return self.coding.image(inpt, params["quality"][0], params["realism"][0]) if coded else inpt
        count = _count(inpt)
        quality, realism, chosen = (params[key][:count] for key in ("quality", "realism", "chosen"))
        found = self.coding.tensor(inpt.as_subclass(Tensor), quality, realism, chosen)
        return found if _is_plain(inpt) else tv_tensors.wrap(found, like=inpt)

    def extra_repr(self) -> str:
        return f"quality={self.quality}, realism={self.realism}, p={self.p}, model={self.coding.model}"


def _count(value: Any) -> int:
    return 1 if isinstance(value, Image.Image) else int(torch.Size(value.shape[:-3]).numel())


def _within(ends: Range, draws: Tensor) -> list[float]:
    return (ends[0] + (ends[1] - ends[0]) * draws.double()).tolist()
