"""Arithmetic of a network, counted while it runs."""

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from .contract import Network, TrainingInputs


class Cost(NamedTuple):
    """Thousands of multiply-accumulates per pixel: encoder = g_a + h_a, decoder = entropy networks + g_s."""

    encoder_kmac: float
    decoder_kmac: float


@torch.no_grad()
def cost(network: Network, side: int = 256) -> Cost:
    """Of one side x side image (a multiple of 64). Encoding also runs the entropy networks, which count as decoder."""
    device = next(network.parameters()).device
    x, step = torch.zeros(1, 3, side, side, device=device), torch.zeros(1, dtype=torch.long, device=device)
    noise = {k: torch.zeros(1, *shape, device=device) for k, shape in network.config.noise_shapes(side).items()}
    with FlopCounterMode(display=False) as encoder:
        network.hyper_analyze(network.analyze(x, step))
    with FlopCounterMode(display=False) as both:
        network(TrainingInputs(x, step, step.float(), noise, torch.zeros(1, 2, dtype=torch.long, device=device)))
    per_pixel = 1 / (2 * side**2 * 1e3)  # a multiply-accumulate is two operations
    encoded = encoder.get_total_flops()
    return Cost(encoded * per_pixel, (both.get_total_flops() - encoded) * per_pixel)
