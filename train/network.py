"""The network contract in the shape of before, until the steps of training are functions of players."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gencomp import networks
from gencomp.networks.contract import Network, NetworkConfig, TrainingInputs, freeze_bits

Codec = Network
build_codec = networks.build
freeze_what_decides_bits = freeze_bits


class Pass(NamedTuple):
    """x_hat [N, 3, H, W] about 0..1; detached latents [N, M, h, w], as coded and in the analysis' units (what a
    discriminator sees, alike at every quality); bits per image [N]."""

    x_hat: Tensor
    y_hat: Tensor
    condition: Tensor
    y_bits: Tensor
    z_bits: Tensor


def latent_channels(config: NetworkConfig) -> tuple[int, int]:
    """Channels of y and of z."""
    shapes = config.noise_shapes(64)
    return shapes["y"][0], shapes["z"][0]


def config_from_dict(values: Mapping[str, Any]) -> NetworkConfig:
    """The configuration in a saved recipe."""
    return networks.config_from_dict(values["family"], {k: v for k, v in values.items() if k != "family"})


class TrainingPass(nn.Module):
    """Everything from the image to its reconstruction in one forward call, as DistributedDataParallel wants it.

    decides_bits: whether analysis and prior are trained too; else they run without gradients.
    """

    def __init__(self, codec: Network, *, decides_bits: bool) -> None:
        super().__init__()
        self.codec, self.decides_bits = codec, decides_bits

    def forward(
        self, x: Tensor, step: Tensor, realism: Tensor, noise_y: Tensor, noise_z: Tensor, origin: Tensor | None = None
    ) -> Pass:
        """See `TrainingInputs` and `TrainingOutput`."""
        origin = torch.zeros(len(x), 2, dtype=torch.long, device=x.device) if origin is None else origin
        inputs = TrainingInputs(x, step, realism, {"y": noise_y, "z": noise_z}, origin)
        output = self.codec(inputs, train_bits=self.decides_bits)
        return Pass(output.x_hat, output.y_hat, output.condition, output.bits["y"], output.bits["z"])


def quantise(
    codec: Network, x: Tensor, step: Tensor, noise_y: Tensor, noise_z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(y_hat, bits of y [N], bits of z [N]) of images x."""
    origin = torch.zeros(len(x), 2, dtype=torch.long, device=x.device)
    y_hat, bits = codec.quantize(TrainingInputs(x, step, step.float(), {"y": noise_y, "z": noise_z}, origin))
    return y_hat, bits["y"], bits["z"]
