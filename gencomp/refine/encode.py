"""What `Codec.encode` asks for at an effort above 0: the image coded with refined latents, never worse than without.

"Worse" is judged on what is real: the payload's length by the integer tables, and the 8-bit image at the aim's realism.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..bitstream import STEPS
from ..entropy.constants import MEAN_UNIT
from ..entropy.contract import Coded, Latents
from ..model import Model
from ..runtime.torch import TorchRuntime, undisturbed
from .objective import Objective, aim_of, price_of
from .refine import Progress, refine

TRIES = 3  # refinements within a limit of bytes
BYTES_PER_STEP = 0.0025  # how fast the logarithm of the bytes rises with the quality step, for a first guess


class Gain(NamedTuple):
    """What refinement did to the image that the aim judges. bits, distortion: shares more (negative: less); psnr: dB
    more."""

    bits: float
    distortion: float
    psnr: float


class Refined(NamedTuple):
    """The coding to keep, at its quality step."""

    quality_step: int
    coded: Coded
    gain: Gain


class _Candidate(NamedTuple):
    quality_step: int
    coded: Coded
    cost: float  # D, grey levels squared
    mse: float  # grey levels squared


def encode_refined(
    model: Model,
    runtime: TorchRuntime,
    code: Callable[[Latents, int], Coded],
    pixels: npt.NDArray[np.uint8],
    quality_step: int,
    plain: Coded,
    room: int | None,
    effort: int,
    aim: str,
    progress: Progress | None = None,
) -> Refined:
    """The image uint8 [H, W, 3] coded with refined latents.

    plain: the coding of effort 0 at the quality step. room: bytes that the payload may have; then the quality step is
    searched for anew, and the least distortion within the room is kept; else the least R + lambda D at the given one.
    """
    price, device = price_of(model.facts, quality_step), torch.device(runtime.device)
    wanted = aim_of(aim, effort, device)
    strength = wanted.realism if model.facts.get("realism", False) else 0.0

    def tensor(image: npt.NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float() / 255

    with undisturbed(device):
        objective = Objective(tensor(pixels), price, wanted)

    def judged(step: int, coded: Coded) -> _Candidate:
        y_hat = coded.y_int.astype(np.float32) / np.float32(MEAN_UNIT)
        shown = runtime.synthesize(y_hat, (pixels.shape[0], pixels.shape[1]), step, strength)
        with undisturbed(device):
            return _Candidate(step, coded, objective.value(tensor(shown)), _mse(shown, pixels))

    def refined(step: int) -> _Candidate:
        latents = runtime.analyze(pixels, step)
        aimed = wanted._replace(realism=strength)
        latents = refine(model, runtime.network, pixels, latents, step, effort, aim=aimed, progress=progress)
        return judged(step, code(latents, step))

    def cost(candidate: _Candidate) -> float:
        return candidate.coded.bits + price.lam * pixels.shape[0] * pixels.shape[1] * candidate.cost

    start = judged(quality_step, plain)
    if room is None:
        best = min(start, refined(quality_step), key=cost)
    else:
        best = min([start, *_within(refined, quality_step, room)], key=lambda candidate: candidate.cost)
    decibels = 10 * math.log10(max(start.mse, 1e-6) / max(best.mse, 1e-6))
    return Refined(
        best.quality_step,
        best.coded,
        Gain(best.coded.bits / max(1.0, plain.bits) - 1, best.cost / max(1e-6, start.cost) - 1, decibels),
    )


def _within(refined: Callable[[int], _Candidate], quality_step: int, room: int) -> list[_Candidate]:
    """Candidates whose payloads have at most `room` bytes, from a few refinements that close in on it."""
    low, high, step = -1, STEPS + 1, quality_step  # the largest step that was found to fit, the smallest that was not
    seen: list[tuple[int, float]] = []
    fitting = []
    for _ in range(TRIES):
        candidate = refined(step)
        excess = math.log((len(candidate.coded.payload) + 1) / (room + 1))
        seen.append((step, excess))
        if excess <= 0:
            low = max(low, step)
            fitting.append(candidate)
        else:
            high = min(high, step)
        slope = BYTES_PER_STEP
        if len(seen) > 1 and seen[-1][0] != seen[-2][0]:
            measured = (seen[-1][1] - seen[-2][1]) / (seen[-1][0] - seen[-2][0])
            slope = min(max(measured, slope / 4), 4 * slope)
        step = min(max(step - math.ceil(excess / slope), low + 1), high - 1, STEPS)
        if step <= low or step in (tried for tried, _ in seen):
            break
    return fitting


def _mse(shown: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8]) -> float:
    return float(np.square(shown.astype(np.float32) - pixels).mean())
