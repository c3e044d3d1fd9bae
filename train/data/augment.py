"""Augmentation on the device, where a batch is changed at once, each sample by its own amount."""

from torch import Tensor


def jittered(x: Tensor, saturation: Tensor, gamma: Tensor) -> Tensor:
    """Images [N, 3, H, W] in 0..1 with their saturation multiplied and their grey levels raised to the power of gamma,
    both [N] and about 1."""
    from kornia.enhance import adjust_gamma, adjust_saturation

    return adjust_gamma(adjust_saturation(x, saturation), gamma)
