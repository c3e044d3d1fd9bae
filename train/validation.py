"""Looking at a network while it learns: sample grids, and real files of images, coded and decoded again."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gencomp.bitstream import STEPS, step_to_quality
from gencomp.codec import Codec
from gencomp.image import to_uint8
from gencomp.networks.contract import Calibration, Network, TrainingInputs
from gencomp.target import psnr

from .export import to_model

GRID = 4  # images of a sample grid
VALIDATED = 4  # images of a validation


@torch.no_grad()
def sample_grid(network: Network, images: Tensor) -> Image.Image:
    """Rows of (original, realism 0, realism 1) at the middle quality; images [N, 3, H, W] in 0..1, sides of 64."""
    device = next(network.parameters()).device
    rows = []
    for x in images[:, None].to(device):
        quality_step = torch.full((1,), STEPS // 2, device=device)
        origin = torch.zeros(1, 2, dtype=torch.long, device=device)
        shown = [x]
        for realism in (0.0, 1.0):
            inputs = TrainingInputs(x, quality_step, torch.full((1,), realism, device=device), {}, origin)
            shown.append(network(inputs).x_hat)
        rows.append(np.concatenate([to_uint8(image) for image in shown], axis=1))
    return Image.fromarray(np.concatenate(rows))


class Validation(NamedTuple):
    """Means over images: bpp of files, header included; PSNR of what is decoded from them, at realism 0 and 1."""

    bpp: float
    psnr: float
    psnr_realistic: float


def validate(
    network: Network, calibration: list[Calibration], images: list[np.ndarray], *, realism: bool
) -> Validation:
    """Real files of images uint8 [H, W, 3] at the middle quality, by the network's own integers, decoded again."""
    codec = Codec(to_model(network, calibration, "validation", {"realism": realism}), device="cpu")
    bpp, errors = [], []
    for pixels in images:
        data = codec.compress(pixels, quality=step_to_quality(STEPS // 2))
        bpp.append(8 * len(data) / (pixels.shape[0] * pixels.shape[1]))
        shown = [codec.decompress(data, realism=r) for r in (0.0, 1.0)] if realism else [codec.decompress(data)] * 2
        errors.append([psnr(pixels, np.asarray(image)) for image in shown])
    still, realistic = np.mean(errors, axis=0).tolist()
    return Validation(float(np.mean(bpp)), still, realistic)
