"""Images, small baselines and a small evaluation that several tests share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from gencomp.eval.codecs.classical import decode_with_pillow
from gencomp.image import to_tensor
from gencomp.kinds import saved


def photograph(name: str, width: int = 192, height: int = 176) -> Image.Image:
    """A piece of one of scikit-image's photographs."""
    return Image.fromarray(getattr(data, name)()[40 : 40 + height, 60 : 60 + width, :3])


@pytest.fixture(scope="session")
def pair() -> tuple[Tensor, Tensor]:
    """An original and its JPEG of quality 20, float (1, 3, H, W) in [0, 1]."""
    image = photograph("astronaut")
    rebuilt = decode_with_pillow(saved(image, "JPEG", quality=20))
    return to_tensor(np.asarray(image)), to_tensor(np.asarray(rebuilt))


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coffee"):
        photograph(name).save(folder / f"{name}.png")
    return folder


@pytest.fixture(autouse=True)
def no_weights_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever feature weights lie on this machine, a test sees those that it brings."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-weights"))
    torch.set_num_threads(1)
