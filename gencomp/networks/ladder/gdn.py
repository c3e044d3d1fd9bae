"""Generalised divisive normalisation (Balle, Laparra and Simoncelli 2016, "Density modeling of images using a
generalized normalization transformation"), in the form of end-to-end image compression (Balle et al. 2017, eq. 1).

    GDN    y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2)
    IGDN   y_i = x_i * sqrt(beta_i + sum_j gamma_ij x_j^2)        its approximate inverse, for the synthesis

at each position alone. beta > 0 and gamma >= 0 are squares of what is trained, minus a small pedestal, so that a
gradient step near zero is small, and a value at zero can leave it again (Balle 2018, "Efficient nonlinear transforms",
section 3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import lower_bound

PEDESTAL = 2.0**-18  # squared: added before the root and taken off after the square
BETA_MIN = 1e-6


class Gdn(nn.Module):
    """x [N, C, H, W] -> the same shape. inverse: IGDN. Starts at beta = 1, gamma = 0.1 on the diagonal."""

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter((0.1 * torch.eye(channels) + PEDESTAL**2).sqrt()[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """In the weights' precision within, as squares of half-precision activations lose what the root needs."""
        beta = lower_bound(self.beta, (BETA_MIN + PEDESTAL**2) ** 0.5).square() - PEDESTAL**2
        gamma = lower_bound(self.gamma, PEDESTAL).square() - PEDESTAL**2
        device = "cpu" if x.is_meta else x.device.type  # where networks are only counted there is no autocast
        with torch.autocast(device, enabled=False):
            wide = x.to(gamma.dtype)
            norm = F.conv2d(wide.square(), gamma, beta)
            return (wide * (norm.sqrt() if self.inverse else norm.rsqrt())).to(x.dtype)
