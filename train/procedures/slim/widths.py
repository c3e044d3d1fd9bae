"""The widths that a narrower synthesis may have: of its four resolutions, and inside each bottleneck.

A resolution keeps at least half of the teacher's channels, in eighths; a bottleneck all, three, two or one quarter of
its inner channels, or is left out. Widths are drawn by descent: from the teacher's, one place after the other loses a
notch until the arithmetic is within the budget, always that with the most left for its weight. Equal weights give even
sub-networks; with weights that are drawn, some are thin in one place and others in another.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from gencomp.networks.positional_noise import CHANNELS
from gencomp.networks.transforms import TransformConfig

EIGHTHS, QUARTERS = 8, 4
LEAST_EIGHTHS = 4  # of a resolution's channels
RESOLUTIONS = 4  # the first places
UNEVEN = 0.6  # largest deviation of the logarithms of weights
FAVOURED = 3.0  # largest weight of the resolutions, whose channels all layers share, against that of a bottleneck's
PARENTS = 8  # of the search: the best so far, whose places are changed


class Elastic:
    """The places of a teacher's synthesis, and the notches that each may have; widths as int [places]: the four
    resolutions, then every bottleneck in order."""

    def __init__(self, teacher: TransformConfig) -> None:
        self.teacher = teacher
        inner = [width for stage in teacher.inner_by_stage() for width in stage]
        self.notches = [_notches(width, EIGHTHS, LEAST_EIGHTHS) for width in teacher.decoder_widths]
        self.notches += [_notches(width, QUARTERS, 0) for width in inner]

    def config(self, places: Sequence[int]) -> TransformConfig:
        """The transforms whose places stand at these notches, 0 the narrowest."""
        w16, w8, w4, w2, *inner = (self.notches[i][place] for i, place in enumerate(places))
        return dataclasses.replace(self.teacher, decoder_widths=(w16, w8, w4, w2), decoder_inner=tuple(inner))

    def narrowest(self) -> TransformConfig:
        return self.config([0] * len(self.notches))

    def drawn(self, rng: np.random.Generator, kmac: float) -> list[int]:
        """Random places of at most `kmac` thousand multiplications per pixel."""
        return self.lowered(rng, [len(notches) - 1 for notches in self.notches], kmac)

    def changed(self, rng: np.random.Generator, places: Sequence[int], kmac: float) -> list[int]:
        """One to three places raised by a notch, and others lowered for it."""
        raised = list(places)
        for index in rng.permutation(len(raised))[: rng.integers(1, 4)]:
            raised[index] = min(raised[index] + 1, len(self.notches[index]) - 1)
        return self.lowered(rng, raised, kmac)

    def lowered(self, rng: np.random.Generator, places: Sequence[int], kmac: float) -> list[int]:
        """Notch after notch down by drawn weights; the narrowest of all where the budget is below it."""
        places = list(places)
        weights = np.exp(rng.uniform(0, UNEVEN) * rng.standard_normal(len(places)))
        weights[:RESOLUTIONS] *= rng.uniform(1, FAVOURED)
        while synthesis_kmac(self.config(places)) > kmac and any(places):
            left = [self.notches[i][place] / self.notches[i][-1] if place else 0.0 for i, place in enumerate(places)]
            places[int(np.argmax(left / weights))] -= 1
        return places


def _notches(width: int, parts: int, least: int) -> list[int]:
    """Widths from least / parts of a width to all of it, without repetition."""
    return sorted({round(width * part / parts) for part in range(least, parts)} | {width})


def synthesis_kmac(config: TransformConfig) -> float:
    """Thousands of multiply-accumulates per pixel of g_s in closed form; `gencomp.networks.cost` counts the same."""
    w16, w8, w4, w2 = config.decoder_widths
    macs = [config.latent_channels * w16 / 256]
    for width, inner, pixels in zip((w16, w8, w4), config.inner_by_stage(), (256, 64, 16)):
        macs += [(2 * width * n + 9 * n**2) / pixels for n in inner]
    macs += [4 * (w16 * w8 / 256 + w8 * w4 / 64 + w4 * w2 / 16), (9 * w2**2 + 9 * 12 * w2) / 4]
    if config.grain:
        macs += [(width**2 + CHANNELS * width) / pixels for width, pixels in ((w8, 64), (w4, 16))]
    return sum(macs) / 1e3


def best_widths(
    elastic: Elastic, kmac: float, loss_of: Callable[[TransformConfig], float], candidates: int, seed: int
) -> TransformConfig:
    """The widths of least loss among so many candidates, a quarter of them drawn and the rest descended from these.

    kmac: the budget. Evolution as in Once-for-all (Cai et al. 2020, section 3.4): candidates are drawn, the best become
    parents, and children are parents with a few widths changed. The supernet's weights are used as they are; nothing is
    trained. Deterministic for a deterministic loss.
    """
    rng = np.random.default_rng((seed, 3))
    losses: dict[tuple[int, ...], float] = {}
    with tqdm(total=candidates, desc="search", unit="network", mininterval=2) as bar:
        for number in range(candidates):
            if number < max(1, candidates // 4):
                places = tuple(elastic.drawn(rng, kmac))
            else:
                parents = sorted(losses, key=losses.__getitem__)[:PARENTS]
                places = tuple(elastic.changed(rng, parents[int(rng.integers(len(parents)))], kmac))
            if places not in losses:
                losses[places] = loss_of(elastic.config(places))
            bar.update()
    return elastic.config(sorted(losses, key=losses.__getitem__)[0])
