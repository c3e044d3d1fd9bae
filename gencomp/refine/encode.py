"""What `Codec.encode` asks for at an effort above 0: the image coded with refined latents, never worse than without.

"Worse" is judged on what is real: the payload's length by the integer tables, and the 8-bit image at realism 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..bitstream import STEPS
from ..entropy.constants import MEAN_UNIT
from ..entropy.contract import Coded, Latents
from ..model import Model
from ..runtime.torch import TorchRuntime
from .objective import Price, distortion, price_of
from .refine import Progress, refine

TRIES = 3  # refinements within a limit of bytes
BYTES_PER_STEP = 0.0025  # how fast the logarithm of the bytes rises with the quality step, for a first guess


class Gain(NamedTuple):
    """What refinement did to the image. bits: share of the bits more (negative: less); psnr: dB more at realism 0."""

    bits: float
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
    progress: Progress | None = None,
) -> Refined:
    """The image uint8 [H, W, 3] coded with refined latents.

    plain: the coding of effort 0 at the quality step. room: bytes that the payload may have; then the quality step is
    searched for anew, and the least distortion within the room is kept; else the least R + lambda D at the given one.
    """
    price = price_of(model.facts, quality_step)

    def judged(step: int, coded: Coded) -> _Candidate:
        y_hat = coded.y_int.astype(np.float32) / np.float32(MEAN_UNIT)
        shown = runtime.synthesize(y_hat, (pixels.shape[0], pixels.shape[1]), step, 0.0)
        return _Candidate(step, coded, _distortion(shown, pixels, price), _mse(shown, pixels))

    def refined(step: int) -> _Candidate:
        latents = runtime.analyze(pixels, step)
        latents = refine(model, runtime.network, pixels, latents, step, effort, progress=progress)
        return judged(step, code(latents, step))

    def objective(candidate: _Candidate) -> float:
        return candidate.coded.bits + price.lam * pixels.shape[0] * pixels.shape[1] * candidate.cost

    start = judged(quality_step, plain)
    if room is None:
        best = min(start, refined(quality_step), key=objective)
    else:
        best = min([start, *_within(refined, quality_step, room)], key=lambda candidate: candidate.cost)
    decibels = 10 * math.log10(max(start.mse, 1e-6) / max(best.mse, 1e-6))
    return Refined(best.quality_step, best.coded, Gain(best.coded.bits / max(1.0, plain.bits) - 1, decibels))


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


def _distortion(shown: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8], price: Price) -> float:
    images = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 255 for p in (shown, pixels)]
    with torch.no_grad():
        return float(distortion(images[0], images[1], price))
