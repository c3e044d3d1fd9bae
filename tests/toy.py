"""One of each kind of extension: all that each must write. test_extension.py adds their rows."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from gencomp.bitstream import BitstreamError
from gencomp.entropy.contract import PLAIN, Coded, EntropyModel, Evaluation, Latents
from gencomp.eval.codecs.baseline import Baseline, RateControl
from gencomp.networks.contract import Calibration, Halo, Network, NetworkConfig, Quantized, TrainingInputs
from gencomp.networks.layers import round_straight_through
from gencomp.train.discriminators import Discriminator, DiscriminatorOutput
from gencomp.train.players import Keeper, Player
from gencomp.train.procedures.contract import Metrics, MicroBatch, Procedure, Stage
from gencomp.train.recipe import Recipe


@dataclass(frozen=True)
class ToyConfig(NetworkConfig):
    family: ClassVar[str] = "toy"
    latent_channels: int = 12
    gain: float = 8.0


class ToyNetwork(Network):
    """A matrix from patches of 16x16 pixels to latents, and one back; a latent costs log2(1 + 2 |y|) bits."""

    halo = Halo(0, 0)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.down, self.synthesis = nn.Conv2d(3, config.latent_channels, 16, 16), nn.ConvTranspose2d(12, 3, 16, 16)

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        y = self.analyze(inputs.x, inputs.quality_step)
        bits = torch.log2(1 + 2 * (y + inputs.noise["y"]).abs()).sum((1, 2, 3))
        return Quantized(round_straight_through(y), {"y": bits})

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return self.config.gain * self.down(x - 0.5).float()

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        return self.synthesis(y_hat / self.config.gain).float() + 0.5

    def entropy_modules(self) -> Sequence[nn.Module]:
        return []

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        return ToyEntropy(self.config.latent_channels)

    def bits_of(self, calibration: Calibration) -> float:
        return float(torch.log2(1 + 2 * calibration.y.round().abs()).sum())


@dataclass(frozen=True)
class ToyEntropy:
    """Rounded latents, packed by zlib."""

    latent_channels: int
    kind: str = "toy"
    hyper_channels: int = 0

    def encode(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        symbols = np.rint(latents.y).astype("<i2")
        payload = zlib.compress(symbols.tobytes())
        return Coded(payload, 64 * symbols.astype(np.int32), 8.0 * len(payload))

    def decode(self, payload: bytes, height: int, width: int, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        size = 2 * self.latent_channels * height * width
        raw = zlib.decompressobj().decompress(payload, size + 1)
        if len(raw) != size:
            raise BitstreamError("the payload does not hold these latents")
        symbols = np.frombuffer(raw, "<i2").reshape(self.latent_channels, height, width)
        return Coded(payload, 64 * symbols.astype(np.int32), 8.0 * len(payload))

    def arrays(self) -> dict[str, Any]:
        return {"channels": np.array([self.latent_channels])}

    def known_answer(self, arithmetic: str = "float64") -> str:
        return "toy"


@dataclass(frozen=True)
class ToyProcedure(Procedure):
    """The error at the highest power that is asked for, against a player that learns how large it is."""

    name: ClassVar[str] = "toy"
    power: float = 2.0

    def others(self, recipe: Recipe, accelerator: Accelerator, weights: str | None) -> dict[str, Keeper]:
        guess = nn.Conv2d(3, 1, 1).to(accelerator.device)
        optimiser = torch.optim.SGD(guess.parameters(), lr=0.1)
        return {"guess": Player("guess", guess, optimiser, 0.1, recipe.clip).join(accelerator, compile=False)}

    def loss(self, stage: Stage, micro: MicroBatch) -> tuple[Tensor, Metrics]:
        output = stage.players.codec.network(micro.inputs)
        guess = stage.players.others["guess"]
        assert isinstance(guess, Player)
        error = (output.x_hat - micro.inputs.x).abs().pow(self.power).mean()
        surprise = (guess.network(micro.inputs.x).mean() - error.detach()).square()
        return error + surprise, {"error": error.detach(), "surprise": surprise.detach()}


def toy_loss(x: Tensor, y: Tensor) -> Tensor:
    """Cosh of the error, [N]."""
    return (x - y).cosh().log().mean((1, 2, 3))


@dataclass(frozen=True)
class ToyDiscriminator(Discriminator):
    """Squares of pixels, each by itself."""

    sharpness: float = 1.0

    def build(self, latent_channels: int, weights: str | None = None) -> nn.Module:
        return ToyJudge(self.sharpness)


class ToyJudge(nn.Module):
    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness, self.conv = sharpness, nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        seen = torch.cat([images, (self.sharpness * images).square()], 1)
        return DiscriminatorOutput([self.conv(seen).float()], [seen])


def toy_metric(x: Tensor, y: Tensor) -> float:
    """Share of samples that differ by over a grey level."""
    return float(((x - y).abs() > 1.5 / 255).float().mean())


def toy_codec() -> Baseline:
    """Every n-th row and column, as they are."""

    def encode(image: Image.Image, setting: float) -> bytes:
        small = image.resize([max(1, round(side * setting / 8)) for side in image.size])
        return struct.pack("<4H", *image.size, *small.size) + small.tobytes()

    def decode(data: bytes, realism: float) -> Image.Image:
        width, height, *small = struct.unpack("<4H", data[:8])
        return Image.frombytes("RGB", (small[0], small[1]), data[8:]).resize((width, height))

    return Baseline("toy", ".toy", RateControl("eighths", 1, 8), encode, decode, note="a toy")
