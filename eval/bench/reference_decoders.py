"""Other decoders' arithmetic, to hold this codec's against on the same machine: networks of their shapes, untrained.

What is timed is the synthesis alone, generously: no entropy decoding, which theirs need as well.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

STRIDE = 16


def hific_generator(height: int, width: int, device: torch.device) -> Callable[[], Tensor]:
    """The generator of HiFiC (Mentzer et al. 2020), 156.7 M parameters, on latents of one image."""
    from gencomp.networks.hific import Generator, HificConfig

    config = HificConfig()
    return _on_latents(Generator(config), config.latent_channels, height, width, device)


def mbt2018_synthesis(height: int, width: int, device: torch.device) -> Callable[[], Tensor]:
    """The synthesis of mbt2018-mean (Minnen et al. 2018) at low rates: N = 128 and M = 192, one image's latents."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((192, 128), (128, 128), (128, 128), (128, 3)):
        layers.append(nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1))
        if outputs != 3:
            layers.append(InverseGdn(outputs))
    return _on_latents(nn.Sequential(*layers), 192, height, width, device)


class InverseGdn(nn.Module):
    """x * sqrt(beta + gamma * x^2), the inverse of generalised divisive normalisation (Balle et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> the same shape."""
        return x * self.mix(x.square()).abs().sqrt()


def _on_latents(
    network: nn.Module, channels: int, height: int, width: int, device: torch.device
) -> Callable[[], Tensor]:
    network = network.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    y = torch.randn(1, channels, -(-height // STRIDE), -(-width // STRIDE), generator=torch.Generator().manual_seed(0))
    y = y.to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> Tensor:
        result: Tensor = network(y)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    return run
