"""Augmentation by the codec: what a file would show, in torchvision's and kornia's pipelines, workers and data sets."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from gencomp.augment import CodecAugment
from gencomp.augment import kornia as for_kornia
from gencomp.codec import load

TINY = Path(__file__).parent.parent.parent / "golden" / "tiny.safetensors"


def pixels(count: int = 1, height: int = 20, width: int = 33) -> Tensor:
    coarse = torch.rand(count, 3, 3, 4, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 255).byte()


def augment(**values: Any) -> CodecAugment:
    return CodecAugment(**{"quality": 90, "model": TINY, **values})


def test_an_image_comes_out_as_its_file_shows_it() -> None:
    image = Image.fromarray(pixels()[0].permute(1, 2, 0).numpy())
    codec = load(TINY, device="cpu")
    seen = np.asarray(codec.decompress(codec.compress(image, quality=90)))
    assert np.array_equal(np.asarray(augment()(image)), seen)
    assert np.array_equal(augment()(pixels()[0]).permute(1, 2, 0).numpy(), seen)
    floating = augment()(pixels()[0].float() / 255)
    assert np.array_equal((floating * 255).round().byte().permute(1, 2, 0).numpy(), seen)


def test_draws_follow_torch_and_every_image_of_a_batch_has_its_own() -> None:
    transform, batch = augment(quality=(1, 100)), pixels(1).expand(4, -1, -1, -1)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(transform(batch))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert len({image.numpy().tobytes() for image in found[0]}) > 1


def test_masks_boxes_and_labels_pass_and_types_stay() -> None:
    image = tv_tensors.Image(pixels()[0])
    mask = tv_tensors.Mask(torch.ones(20, 33, dtype=torch.uint8))
    seen, kept, label = v2.Compose([augment(), v2.Identity()])(image, mask, 3)
    assert type(seen) is tv_tensors.Image
    assert not torch.equal(seen, image)
    assert torch.equal(kept, mask)
    assert label == 3


def test_some_images_are_left_as_they_are() -> None:
    batch = pixels(6)
    torch.manual_seed(0)
    same = [torch.equal(a, b) for a, b in zip(augment(p=0.5)(batch), batch)]
    assert 0 < sum(same) < 6
    assert torch.equal(augment(p=0)(batch), batch)


@pytest.mark.parametrize("wrong", [{"quality": (0, 50)}, {"quality": (60, 50)}, {"realism": 1.5}, {"p": 2}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"range within|probability"):
        augment(**wrong)


def test_other_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="3, H, W"):
        augment()(torch.zeros(1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="uint8 or floating"):
        augment()(torch.zeros(3, 8, 8, dtype=torch.int64))


def test_copies_carry_no_network() -> None:
    transform = augment()
    transform(pixels()[0])
    assert len(pickle.dumps(transform)) < 4000
    assert torch.equal(copy.deepcopy(transform)(pixels()[0]), transform(pixels()[0]))


class Photographs(Dataset[Tensor]):
    """Four images, each coded where it is read."""

    def __init__(self) -> None:
        self.transform = augment(quality=(20, 100))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        found: Tensor = self.transform(pixels(4)[index])
        return found


def test_workers_code_repeatably_after_the_parent_has_coded() -> None:
    photographs = Photographs()
    photographs.transform(pixels()[0])  # a codec is loaded here, before the fork
    batches = [
        next(iter(DataLoader(photographs, 4, num_workers=1, generator=torch.Generator().manual_seed(seed), timeout=60)))
        for seed in (5, 5, 6)
    ]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_kornia_codes_what_it_chooses() -> None:
    batch = pixels(4).float() / 255
    transform = for_kornia.CodecAugment(quality=(80, 100), p=0.5, model=TINY)
    torch.manual_seed(1)
    found = transform(batch)
    assert found.shape == batch.shape
    chosen = transform._params["batch_prob"].bool().tolist()
    assert 0 < sum(chosen) < 4
    assert [not torch.equal(a, b) for a, b in zip(found, batch)] == chosen
    assert torch.equal(transform(batch, params=transform._params), found)


def test_data_sets_take_it_by_set_transform_and_by_map() -> None:
    datasets = pytest.importorskip("datasets")
    images = [Image.fromarray(x.permute(1, 2, 0).numpy()) for x in pixels(2)]
    rows = datasets.Dataset.from_dict({"image": images}, datasets.Features({"image": datasets.Image()}))
    transform = augment(quality=100)
    coded = rows.map(lambda row: {"image": transform(row["image"])})
    assert np.array_equal(np.asarray(coded[0]["image"]), np.asarray(transform(images[0])))
    rows.set_transform(lambda batch: {"image": [transform(image) for image in batch["image"]]})
    assert np.array_equal(np.asarray(rows[1]["image"]), np.asarray(transform(images[1])))
