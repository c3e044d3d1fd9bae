"""The codec networks as training sees them: one forward pass for both families, and what each stage trains."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gencomp.networks.hific import HificCodec, HificConfig
from gencomp.networks.hyperprior import HyperpriorCodec, ModelConfig
from gencomp.networks.transforms import quality_condition

Codec = HyperpriorCodec | HificCodec


class Pass(NamedTuple):
    """x_hat [N, 3, H, W] about 0..1; detached latents [N, M, h, w], as coded and in the analysis' units (what a
    discriminator sees, alike at every quality); bits a picture [N]."""

    x_hat: Tensor
    y_hat: Tensor
    condition: Tensor
    y_bits: Tensor
    z_bits: Tensor


def build_codec(config: ModelConfig | HificConfig) -> Codec:
    """The untrained network of a configuration."""
    return HificCodec(config) if isinstance(config, HificConfig) else HyperpriorCodec(config)


def latent_channels(config: ModelConfig | HificConfig) -> tuple[int, int]:
    """Channels of y and of z."""
    if isinstance(config, HificConfig):
        return config.latent_channels, config.hyper_channels
    return config.transform.latent_channels, config.prior.hyper_channels


def config_from_dict(values: dict[str, object]) -> ModelConfig | HificConfig:
    """The configuration in a saved recipe."""
    if "transform" in values:
        return ModelConfig.from_dict(values)
    return HificConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})  # type: ignore[arg-type]


class TrainingPass(nn.Module):
    """Everything from the picture to its reconstruction in one forward call, as DistributedDataParallel wants it.

    decides_bits: whether analysis and prior are trained too; else they run without gradients.
    """

    def __init__(self, codec: Codec, *, decides_bits: bool) -> None:
        super().__init__()
        self.codec, self.decides_bits = codec, decides_bits

    def forward(
        self, x: Tensor, step: Tensor, realism: Tensor, noise_y: Tensor, noise_z: Tensor, origin: Tensor | None = None
    ) -> Pass:
        """x [N, 3, H, W] in 0..1, step int [N], realism [N]; noises in -1/2..1/2 of the shapes of y and z.

        origin [N, 2]: the place from which each sample's grain is taken.
        """
        with torch.set_grad_enabled(self.decides_bits and torch.is_grad_enabled()):
            y_hat, y_bits, z_bits = quantise(self.codec, x, step, noise_y, noise_z)
        seen = condition = y_hat.detach()
        if isinstance(self.codec, HyperpriorCodec):
            condition = self.codec.gains.decode(seen, quality_condition(step)).detach()
            x_hat = self.codec.pictures(y_hat, step, realism, origin)
        else:
            x_hat = self.codec.pictures(y_hat, step, realism)
        return Pass(x_hat, seen, condition, y_bits, z_bits)


def quantise(codec: Codec, x: Tensor, step: Tensor, noise_y: Tensor, noise_z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(y_hat, bits of y [N], bits of z [N]) of pictures x."""
    if isinstance(codec, HificCodec):
        return codec.quantise(x, step, noise_y, noise_z)
    return codec.prior(codec.latents(x, step), quality_condition(step), noise_y, noise_z)


def freeze_what_decides_bits(codec: Codec) -> None:
    """Leave the synthesis and the gains before it to train: files, and so their bytes, stay as they are."""
    codec.requires_grad_(False)
    codec.synthesis.requires_grad_(True)
    if isinstance(codec, HyperpriorCodec):
        codec.gains.log_decode.requires_grad_(True)
