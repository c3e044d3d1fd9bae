"""Latents that a model expects, drawn by chance: from its network's own prior, or from its integer entropy model."""

import contextlib

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import BitstreamError, ModelError
from gencomp.entropy.constants import MEAN_UNIT
from gencomp.entropy.contract import PLAIN, Drawable, Evaluation
from gencomp.model import Model

TRIES = 16  # draws, the rare ones left out that no file could hold


def draw_latents(
    model: Model, height: int, width: int, quality_step: int, seed: int, how: Evaluation = PLAIN
) -> npt.NDArray[np.float32]:
    """y_hat float32 [M, height, width] at a quality step; ModelError for a model that cannot be drawn from."""
    if model.facts.get("prior"):  # of a network, which needs PyTorch
        import torch

        from gencomp.networks import network_of
        from gencomp.runtime.torch import undisturbed

        with undisturbed(torch.device("cpu")):
            step, chances = torch.tensor([quality_step]), torch.Generator().manual_seed(seed)
            drawn = network_of(model).draw_prior(height, width, step, chances)[0]
            return np.asarray(drawn.float().numpy())
    if not isinstance(model.entropy, Drawable):
        raise ModelError(f"{model.name}: entropy models of the kind {model.entropy.kind!r} cannot be drawn from")
    chance = np.random.default_rng(seed)
    for _ in range(TRIES):
        with contextlib.suppress(BitstreamError):
            y_int = model.entropy.draw(chance, height, width, quality_step, how)
            return y_int.astype(np.float32) / np.float32(MEAN_UNIT)
    raise ModelError(f"{model.name}: {TRIES} samples were all beyond what a file can hold")
