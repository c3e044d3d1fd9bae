"""A network family and an entropy model: all that an extension must write. test_extension.py adds their two rows."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from gencomp.bitstream import BitstreamError
from gencomp.entropy.contract import Coded, EntropyModel, Latents
from gencomp.networks.contract import Calibration, Halo, Network, Quantized, TrainingInputs
from gencomp.networks.layers import round_straight_through


@dataclass(frozen=True)
class ToyConfig:
    family: ClassVar[str] = "toy"
    latent_channels: int = 12

    def noise_shapes(self, crop: int) -> dict[str, tuple[int, ...]]:
        return {"y": (self.latent_channels, crop // 16, crop // 16)}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "ToyConfig":
        return ToyConfig(**values)


class ToyNetwork(Network):
    """A matrix from patches of 16x16 pixels to latents, and one back; a latent costs log2(1 + 2 |y|) bits."""

    stride, knows_realism, halo = 16, False, Halo(0, 0)

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.down, self.up = nn.Conv2d(3, config.latent_channels, 16, 16), nn.ConvTranspose2d(12, 3, 16, 16)

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        y = self.analyze(inputs.x, inputs.quality_step)
        bits = torch.log2(1 + 2 * (y + inputs.noise["y"]).abs()).sum((1, 2, 3))
        return Quantized(round_straight_through(y), {"y": bits})

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return 8 * self.down(x - 0.5).float()

    def hyper_analyze(self, y: Tensor) -> None:
        return None

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        return self.up(y_hat / 8).float() + 0.5

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        yield self.up

    def entropy_modules(self) -> Iterator[nn.Module]:
        return iter(())

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

    def encode(self, latents: Latents, quality_step: int, **_: Any) -> Coded:
        symbols = np.rint(latents.y).astype("<i2")
        payload = zlib.compress(symbols.tobytes())
        return Coded(payload, 64 * symbols.astype(np.int32), 8.0 * len(payload))

    def decode(self, payload: bytes, height: int, width: int, quality_step: int, **_: Any) -> Coded:
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
