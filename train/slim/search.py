"""The search over sub-networks: which widths follow the teacher most closely within the budget.

Evolution as in Once-for-all (Cai et al. 2020, section 3.4): candidates are drawn, the best become parents, and
children are parents with a few widths changed. The supernet's weights are used as they are; nothing is trained.
"""

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from gencomp.networks.transforms import TransformConfig

from .widths import Elastic

PARENTS = 8


def best_widths(
    elastic: Elastic, kmac: float, loss_of: Callable[[TransformConfig], float], candidates: int, seed: int
) -> TransformConfig:
    """The widths of least loss among so many candidates, a quarter of them drawn and the rest descended from these.

    kmac: the budget. Deterministic for a deterministic loss.
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
