"""Looking at a network while it learns: sample grids, and real files of images, coded and decoded again."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gencomp.bitstream import STEPS, step_to_quality
from gencomp.codec import Codec
from gencomp.image import to_uint8, write_image
from gencomp.networks.contract import Calibration, Network, TrainingInputs

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


@torch.no_grad()
def drawn_grid(network: Network, shape: torch.Size) -> Image.Image:
    """A row of images of the shape [N, 3, H, W], drawn from the prior of stage 0 with the same noise every time."""
    device, generator = next(network.parameters()).device, torch.Generator().manual_seed(0)
    count, _, height, width = shape
    size = (count, network.config.latent_channels, height // network.stride, width // network.stride)
    noise = {"y": (torch.rand(size, generator=generator) - 0.5).to(device)}
    none = torch.zeros(count, device=device)
    inputs = TrainingInputs(none, torch.full_like(none, STEPS).long(), none, noise, none[:, None].expand(-1, 2).long())
    return Image.fromarray(np.concatenate([to_uint8(x[None]) for x in network(inputs, drawn=True).x_hat], axis=1))


def save_samples(network: Network, images: Tensor, out: Path, step: int, *, drawn: bool = False) -> Path:
    """OUT/samples/step-N.png: what the network makes of the images, or, drawn, as many of its own."""
    path = out / "samples" / f"step-{step:08d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(drawn_grid(network, images.shape) if drawn else sample_grid(network, images), path)
    return path


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
        errors.append([_psnr(pixels, np.asarray(image)) for image in shown])
    still, realistic = np.mean(errors, axis=0).tolist()
    return Validation(float(np.mean(bpp)), still, realistic)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / max(float(np.mean((a.astype(np.float64) - b) ** 2)), 1e-9))
