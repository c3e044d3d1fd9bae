"""What `Codec.encode` asks for at an effort above 0: the image coded with refined latents, never worse than without.

"Worse" is judged on what is real: the payload's length by the integer tables, and the 8-bit image at the aim's realism.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from ..entropy.constants import MEAN_UNIT
from ..entropy.contract import Coded, Latents
from ..image import to_tensor
from ..model import Model
from ..rate_search import largest_step_by_sketch
from ..runtime.torch import TorchRuntime, undisturbed
from ..target import psnr
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
    psnr: float  # dB


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

    def tensor(image: npt.NDArray[np.uint8]) -> torch.Tensor:
        return to_tensor(image).to(device, memory_format=torch.channels_last)

    with undisturbed(device):
        wanted = aim_of(aim, effort, device)
        if not model.facts.get("realism", False):
            wanted = wanted._replace(realism=0.0)
        objective = Objective(tensor(pixels), price, wanted)

    def judged(step: int, coded: Coded) -> _Candidate:
        y_hat = coded.y_int.astype(np.float32) / np.float32(MEAN_UNIT)
        shown = runtime.synthesize(y_hat, (pixels.shape[0], pixels.shape[1]), step, wanted.realism)
        with undisturbed(device):
            return _Candidate(step, coded, objective.value(tensor(shown)), psnr(pixels, shown))

    def refined(step: int) -> _Candidate:
        latents = runtime.analyze(pixels, step)
        latents = refine(
            model, runtime.network, pixels, latents, step, effort, aim=wanted, whole=objective, progress=progress
        )
        return judged(step, code(latents, step))

    def cost(candidate: _Candidate) -> float:
        return candidate.coded.bits + price.lam * pixels.shape[0] * pixels.shape[1] * candidate.cost

    start = judged(quality_step, plain)
    if room is None:
        best = min(start, refined(quality_step), key=cost)
    else:
        fitting = _within(refined, quality_step, len(plain.payload), room)
        best = min([start, *fitting], key=lambda candidate: candidate.cost)
    return Refined(
        best.quality_step,
        best.coded,
        Gain(best.coded.bits / max(1.0, plain.bits) - 1, best.cost / max(1e-6, start.cost) - 1, best.psnr - start.psnr),
    )


def _within(refined: Callable[[int], _Candidate], quality_step: int, taken: int, room: int) -> list[_Candidate]:
    """Candidates whose payloads have at most `room` bytes, from a few refinements that close in on it.

    taken: bytes of the payload of one pass at the quality step.
    """
    found: list[_Candidate] = []

    def size(step: int) -> int:
        found.append(refined(step))
        return len(found[-1].coded.payload)

    def guess(step: int) -> float:
        return taken * math.exp(BYTES_PER_STEP * (step - quality_step))

    largest_step_by_sketch(size, guess, 1.0, room, TRIES, persist=False)
    return [candidate for candidate in found if len(candidate.coded.payload) <= room]
