"""What refinement minimises: R + lambda D, the trade that the model was trained for (Balle et al. 2018, eq. 10).

R is in bits. D is in grey levels squared: the mean squared error, `ms_ssim_weight` times (1 - MS-SSIM), and what the
aim adds. Aimed at pixels, the image at realism 0 is weighed by these two alone. Aimed at realism, the image at realism
1 is, and there follow the Wasserstein distortion over steerable filters and, where feature networks lie on this disk,
LPIPS and the distance of EfficientNet-Lite0's features: one network alone is fooled, two pull others along.
"""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..bitstream import STEPS
from ..effort import checked_aim
from ..perceptual.lpips import embedding_distance, lite_embedding, load_lite, load_lpips, lpips_embedding
from ..perceptual.ms_ssim import ms_ssim
from ..perceptual.pyramids import steerable_features
from ..perceptual.wasserstein import pooled, pooled_distance
from ..perceptual.weights import networks_present
from ..runtime.torch import multiplies_bfloat16

LAMBDA_MIN, LAMBDA_MAX = 7e-5, 0.03  # where a model's facts do not say, as those of a3c42fda
MS_SSIM_WEIGHT = 600.0
MS_SSIM_SIDE = 11  # pixels a side below which there is no MS-SSIM
MEASURE_SIDE = 32  # and nothing that looks at texture
LOG2_SIGMA = 4.0  # the width of the Wasserstein distortion that people's votes agree with best


class Price(NamedTuple):
    """lam: bits per pixel for each grey level squared of distortion; ms_ssim_weight: grey levels squared for each unit
    of 1 - MS-SSIM."""

    lam: float
    ms_ssim_weight: float


class Measure(NamedTuple):
    """A distance of images by what is made of each: distance(embed(x_hat), embed(x)), both [1, 3, H, W] in 0..1.

    weight: grey levels squared for each unit. side: of the tiles in which it is taken, pixels.
    """

    weight: float
    embed: Callable[[Tensor], Any]
    distance: Callable[[Any, Any], Tensor]
    side: int


class Aim(NamedTuple):
    """realism: of the image that is judged; measures: what is added to the pixels' error."""

    realism: float = 0.0
    measures: tuple[Measure, ...] = ()


PIXELS = Aim()


class Use(NamedTuple):
    """How a feature network is used: by which name of `gencomp eval`'s metrics, from which effort on, with what weight
    and in what tiles."""

    metric: str
    effort: int
    weight: float
    side: int


USES = {
    "alex": Use("lpips_alex", 1, 300.0, 1024),
    "lite": Use("lite", 1, 150.0, 1024),
    "vgg": Use("lpips_vgg", 6, 300.0, 256),
}
STEERABLE, ALONE = 60_000.0, 150_000.0  # weight of the Wasserstein distortion beside feature networks, and without
FULL, LOW = 1.6e-3, 0.25  # lambda from which on weights hold as they are; below, by which power of it they grow
KEPT = 1 << 20  # pixels of an image of whose original all is kept; VGG's maps take 490 bytes a pixel


def price_of(facts: Mapping[str, Any], quality_step: int) -> Price:
    """The price at a quality step 0..1024, by the range that the model was trained on: log-linear in the step.

    facts: `Model.facts`; "lambda_min", "lambda_max" and "ms_ssim_weight" where the model says them.
    """

    def fact(name: str, default: float) -> float:
        value = facts.get(name, default)
        return float(value) if isinstance(value, int | float) and 0 <= value < math.inf else default

    low, high = (fact("lambda_min", 0) or LAMBDA_MIN, fact("lambda_max", 0) or LAMBDA_MAX)
    return Price(low * (high / low) ** (quality_step / STEPS), fact("ms_ssim_weight", MS_SSIM_WEIGHT))


def minimised(aim: str, effort: int) -> tuple[str, ...]:
    """What an aim minimises with the networks that lie on this disk, by the names of `gencomp eval`'s metrics."""
    if checked_aim(aim) == "pixels":
        return "psnr", "ms_ssim"
    return "psnr", "ms_ssim", "wasserstein", *(USES[net].metric for net in _networks(effort))


def aim_of(aim: str, effort: int, device: torch.device) -> Aim:
    """An aim, its networks loaded. WeightsError for one that is there and broken."""
    if checked_aim(aim) == "pixels":
        return PIXELS
    with torch.inference_mode(False):
        networks = [_measure(net, path, device) for net, path in _networks(effort).items()]
        statistics = steerable_features()
    weight = STEERABLE if networks else ALONE
    return Aim(1.0, (Measure(weight, lambda x: pooled(statistics(x), LOG2_SIGMA), pooled_distance, 256), *networks))


def _networks(effort: int) -> dict[str, Path]:
    present = networks_present()
    return {net: present[net] for net, use in USES.items() if net in present and use.effort <= effort}


@lru_cache(maxsize=8)
def _measure(net: str, path: Path, device: torch.device) -> Measure:
    """A network's; kept, since many images are coded with one. path: of the weights, so that others are read anew."""
    network = load_lite() if net == "lite" else load_lpips(net)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    embed = lite_embedding(network) if net == "lite" else lpips_embedding(network)
    return Measure(USES[net].weight, embed, embedding_distance, USES[net].side)


class _Tile(NamedTuple):
    """A measure on a tile, its weight by the tile's share of the image, and what it made of the original there, where
    that is kept."""

    measure: Measure
    weight: float
    rows: slice
    columns: slice
    original: Any


class Objective:
    """D of images [1, 3, H, W] against an original x in 0..1, of which everything is computed once, if it is not large.

    counted [1, 1, H, W], 0 or 1: where it is 0 the original is not known, and the pixels' error asks nothing.
    """

    def __init__(self, x: Tensor, price: Price, aim: Aim, counted: Tensor | None = None) -> None:
        self._x, self._price, self._counted = x, price, counted
        self.pixels = x.shape[2] * x.shape[3]
        self._quick = multiplies_bfloat16(x.device)
        measures = aim.measures if min(x.shape[2:]) >= MEASURE_SIDE else ()
        with torch.no_grad():
            self._parts = [part for measure in measures for part in self._parts_of(measure)]

    def _parts_of(self, measure: Measure) -> list[_Tile]:
        height, width = self._x.shape[2:]
        more = max(1.0, FULL / self._price.lam) ** LOW  # at low rates the squared error grows, and they are bounded
        parts = []
        for rows in _spans(height, measure.side):
            for columns in _spans(width, measure.side):
                share = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
                kept = self.pixels <= KEPT
                original = self._embedded(measure, self._x[..., rows, columns]) if kept else None
                parts.append(_Tile(measure, share * measure.weight * more, rows, columns, original))
        return parts

    def weigh(self, x_hat: Tensor) -> tuple[float, Tensor]:
        """D and its gradient with respect to x_hat, tile by tile, so that no more than a tile's maps are held."""
        shown = x_hat.detach().clamp(0, 1)
        value, gradient = _differentiated(self._of_pixels, shown)
        for part in self._parts:
            of_part, slope = _differentiated(partial(self._of_part, part), shown[..., part.rows, part.columns])
            value += of_part
            gradient[..., part.rows, part.columns] += slope
        return value, gradient * (shown == x_hat)

    def value(self, x_hat: Tensor) -> float:
        """D alone."""
        with torch.no_grad():
            shown = x_hat.clamp(0, 1)
            of_parts = (float(self._of_part(p, shown[..., p.rows, p.columns])) for p in self._parts)
            return float(self._of_pixels(shown)) + sum(of_parts)

    def _embedded(self, measure: Measure, image: Tensor) -> Any:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self._quick):
            return measure.embed(image.contiguous(memory_format=torch.channels_last))

    def _of_part(self, part: _Tile, image: Tensor) -> Tensor:
        original = part.original
        if original is None:
            original = self._embedded(part.measure, self._x[..., part.rows, part.columns])
        return part.weight * part.measure.distance(self._embedded(part.measure, image), original).sum()

    def _of_pixels(self, x_hat: Tensor) -> Tensor:
        x = self._x
        if self._counted is not None:
            x = self._counted * x + (1 - self._counted) * x_hat
        total = (x_hat - x).square().mean() * 255**2
        if self._price.ms_ssim_weight and min(x.shape[2:]) >= MS_SSIM_SIDE:
            total = total + self._price.ms_ssim_weight * (1 - ms_ssim(x_hat, x).mean())
        return total


def _differentiated(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[float, Tensor]:
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        value = function(leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
    return float(value.detach()), gradient


def _spans(length: int, side: int) -> list[slice]:
    """Equal parts of at most `side`."""
    count = -(-length // side)
    return [slice(*pair) for pair in pairwise(length * k // count for k in range(count + 1))]
