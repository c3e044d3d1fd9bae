"""Latents refined for one image: the analysis' guess, improved with the networks frozen.

The analysis transform guesses the latents in one pass; for a given image better ones exist, and finding them costs the
encoder time and the decoder nothing (Campos et al. 2019; Yang, Bamler and Mandt 2020). What comes out are latents that
the ordinary encoder rounds; files decode on the ordinary path.

    y, z --descent, tile by tile--> y_hat

A large image is refined in tiles; each sees some of its surroundings, whose latents are held.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..bitstream import ModelError
from ..effort import steps_of
from ..entropy.contract import Latents
from ..entropy.hyperprior import Hyperprior
from ..image import to_tensor
from ..model import Model
from ..networks.contract import Network
from ..runtime.tiling import Tile, tiles
from ..runtime.torch import multiplies_bfloat16, undisturbed
from .descent import Point, Problem, descend
from .objective import PIXELS, Aim, Objective, Price, price_of
from .rate import costs_of

Progress = Callable[[int, int], None]  # steps done, of how many
WHOLE, SIDE = 4096, 48  # latents per channel refined in one piece: a megapixel; side of a tile of a larger image
HALO = 8  # latents around a tile that it sees and holds


def refine(
    model: Model,
    network: Network,
    pixels: npt.NDArray[np.uint8],
    latents: Latents,
    quality_step: int,
    effort: int,
    *,
    aim: Aim = PIXELS,
    price: Price | None = None,
    counted: npt.NDArray[np.bool_] | None = None,
    whole: Objective | None = None,
    side: int | None = None,
    progress: Progress | None = None,
) -> Latents:
    """Latents of less R + lambda D than those given, as the tables and the synthesis at the aim's realism have it.

    pixels uint8 [H, W, 3]; latents: what the run-time made of them; network: the model's, on its device; effort 0..9,
    0 gives the latents back. price: what the model was trained for, if not given. counted [H, W]: pixels that matter,
    all if not given. whole: D of the image, at this price and aim, where it is known. side: of tiles, in latents, a
    multiple of 4. Deterministic on one machine. ModelError for a model whose latents cannot be refined.
    """
    steps, prior = steps_of(effort), network.pass_prior
    if steps == 0:
        return latents
    if prior is None or latents.z is None or not isinstance(model.entropy, Hyperprior):
        raise ModelError(f"latents of the family {model.family} cannot be refined: use effort 0")
    device = next(network.parameters()).device
    price = price or price_of(model.facts, quality_step)
    costs, quick = costs_of(model.entropy.tables, device), multiplies_bfloat16(device)
    step = torch.tensor([quality_step], device=device)
    height, width = latents.y.shape[1:]
    side = side or (SIDE if height * width > WHOLE else max(height, width))
    plan = list(tiles(height, width, side, HALO))
    total = len(plan) * (steps + 1)
    with undisturbed(device):
        y = torch.from_numpy(latents.y.copy())[None].to(device).nan_to_num()
        z_hat = torch.from_numpy(latents.z)[None].to(device).nan_to_num().round()
        bound = torch.from_numpy(model.entropy.tables.z_half_widths).to(device)[None, :, None, None]
        z_hat = torch.minimum(torch.maximum(z_hat, -bound), bound).float()
        for number, tile in enumerate(plan):
            (top, left, bottom, right), z_stride = tile.sees, model.entropy.hyper_stride
            objective, seen = whole, tile.seen(network.stride)
            if objective is None or len(plan) > 1:
                known = None
                if counted is not None:
                    known = torch.from_numpy(counted[seen].copy())[None, None].to(device).float()
                x = to_tensor(pixels[seen]).to(device, memory_format=torch.channels_last)
                objective = Objective(x, price, aim, known)
            problem = Problem(
                prior,
                costs,
                _synthesis(network, tile, pixels, step, aim.realism, quick),
                objective,
                price.lam * objective.pixels,
                z_hat[:, :, top // z_stride : -(-bottom // z_stride), left // z_stride : -(-right // z_stride)],
                step,
                _held(tile, device),
            )
            best: Point | None = None
            for done, point in enumerate(descend(problem, y[..., *tile.seen()], steps), number * (steps + 1) + 1):
                best = point if best is None or point.objective < best.objective else best
                if progress is not None:
                    progress(done, total)
            assert best is not None
            y[..., *tile.yielded()] = best.y_hat[..., *tile.inside()]
    return Latents(y[0].cpu().numpy(), latents.z)


def _synthesis(
    network: Network, tile: Tile, pixels: npt.NDArray[np.uint8], quality_step: Tensor, realism: float, quick: bool
) -> Callable[[Tensor], Tensor]:
    """y_hat of what a tile sees -> its pixels, without the padding beyond the image."""
    device, stride = quality_step.device, network.stride
    height = min(tile.sees[2] * stride, pixels.shape[0]) - tile.sees[0] * stride
    width = min(tile.sees[3] * stride, pixels.shape[1]) - tile.sees[1] * stride
    origin, strength = torch.tensor([tile.sees[:2]], device=device), torch.tensor([realism], device=device)

    def synthesize(y_hat: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=quick):
            y_hat = y_hat.to(memory_format=torch.channels_last)
            return network.synthesize(y_hat, quality_step, strength, origin).float()[:, :, :height, :width]

    return synthesize


def _held(tile: Tile, device: torch.device) -> Tensor | None:
    """[1, 1, h, w]: what a tile sees and does not yield; None if there is none."""
    if tile.yields == tile.sees:
        return None
    top, left, bottom, right = tile.sees
    held = torch.ones(1, 1, bottom - top, right - left, dtype=torch.bool, device=device)
    held[..., *tile.inside()] = False
    return held
