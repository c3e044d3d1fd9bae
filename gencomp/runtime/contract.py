"""What a run-time is: the transforms of one model, with arrays at the border. The codec does not know which it holds.

torch.py is one. Whatever a run-time computes with, it takes and gives numpy arrays, bounds its memory on images of any
size by tiles, and adds the halo that they need. It decides no bit: the entropy model is integers, and runs elsewhere.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..entropy.contract import Latents


class Runtime(Protocol):
    """The transforms of one model on one device. name, device: for people and `--json`, such as "torch" and "cpu"."""

    name: str
    device: str

    def analyze(self, pixels: npt.NDArray[np.uint8], quality_step: int) -> Latents:
        """uint8 [H, W, 3] of any size, quality step 0..1024 -> y float32 [M, h, w] and z [Z, h', w'], not rounded."""
        ...

    def synthesize(
        self, y_hat: npt.NDArray[np.float32], size: tuple[int, int], quality_step: int, realism: float
    ) -> npt.NDArray[np.uint8]:
        """y_hat [M, h, w], size (H, W), realism 0..1 -> the image, uint8 [H, W, 3]."""
        ...
