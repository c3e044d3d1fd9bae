"""Smaller decoders: distillation of a trained synthesis into a narrower one, whose files are the teacher's.

    widths.py    which widths a synthesis may have, what they cost, how they are drawn within a budget, and the search
                 for those that follow the teacher most closely
    channels.py  the teacher's channels by importance, the first of them as a narrower synthesis, and the supernet
    reconstruct.py  what is left after the removal, solved by least squares against the teacher's features
    stages.py    the procedures: the supernet learns; then the search; what was found learns alone

After GAN Compression (Li et al. 2020) and Once-for-all (Cai et al. 2020).
"""

import dataclasses
from typing import Any

from ...discriminators.patch import Patch
from ...recipe import Recipe
from ...terms import Term, Wasserstein
from .stages import Narrow, Shared


def recipe(gan: Recipe) -> Recipe:
    """The recipe of a narrower decoder, on the data and at the rates of the recipe `gan`."""
    losses = {
        "mse": Term(100.0),
        "ms_ssim": Term(0.8),
        "wasserstein_laplacian": Wasserstein(180.0, log2_sigma=3.0),
        "grid_artefacts": Term(8.0, times_realism=True),
    }
    shared = Shared(losses=losses)
    unused = Patch(width=32, learning_rate=4e-4)  # until it is given a weight
    narrow = Narrow(1200 / 7000, losses=losses, discriminators={"patch": unused})
    changed: dict[str, Any] = {"steps": 7000, "batch": 8, "optimiser": "muon", "learning_rate": 5e-4, "warmup": 50}
    return dataclasses.replace(gan, name="slim", stages=(shared, narrow), **changed)
