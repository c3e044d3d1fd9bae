"""Remakes the golden files: `python tests/golden/make.py`, only when the format or the coder changes on purpose.

tiny.safetensors is a network of a few thousand weights, random but for gains that make its latents lively enough for
escapes; *.gnc are made-up images coded with it; golden.json holds the SHA-256 of each file's integer latents, and
*.png what this machine decoded. Every machine must read the same integers from the same files.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gencomp.codec import Codec
from gencomp.model import Model, load_model, save_model
from gencomp.networks import weights_of
from gencomp.networks.contract import Calibration
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig

HERE = Path(__file__).parent
CONFIG = HyperpriorConfig(
    TransformConfig(16, (16, 16), (1, 1), (16, 16, 8, 8), (1, 1, 1)),
    PriorConfig(hyper_channels=8, hyper_width=16, feature_width=16),
)
CASES = {"dot": (1, 1, 50), "strip": (1, 70, 1), "odd": (37, 53, 30), "wide": (50, 131, 75), "loud": (96, 80, 100)}


def image(height: int, width: int) -> Image.Image:
    """Waves, an edge and noise: the same on every machine."""
    row, column = np.mgrid[:height, :width]
    waves = 128 + 90 * np.sin(row[..., None] / (3 + np.arange(3)) + column[..., None] / 7)
    noise = ((row * 7919 + column * 104729) * 2654435761 >> 7) % 64
    waves[(row > height // 2) & (column > width // 3)] = 30
    return Image.fromarray(np.clip(waves + noise[..., None], 0, 255).astype(np.uint8))


@torch.no_grad()
def tiny_model() -> Model:
    """A random network whose latents spread over many scale levels."""
    torch.manual_seed(7)
    network = HyperpriorNetwork(CONFIG).eval().requires_grad_(False)
    network.gains.log_encode.add_(4.0)
    network.gains.log_decode.sub_(4.0)
    for context in network.prior.contexts:
        list(context.parameters())[-2].mul_(6)
    list(network.prior.hyper_analysis.parameters())[-2].mul_(8)
    network = network.half().float()
    calibration = []
    for step in (0, 300, 700, 1024):
        x = torch.from_numpy(np.array(image(128, 128))).permute(2, 0, 1)[None].float() / 255
        y = network.analyze(x, torch.tensor([step]))
        calibration.append(Calibration(y, torch.round(network.hyper_analyze(y)), step))
    entropy = network.freeze(calibration)
    config, facts = CONFIG.to_dict(), {"recipe": "random"}
    answer = entropy.known_answer("int64")
    return Model("tiny", "hyperprior", config, weights_of(network), entropy, answer, facts)


def main() -> None:
    save_model(tiny_model(), HERE / "tiny.safetensors")
    codec = Codec(load_model(HERE / "tiny.safetensors"), "cpu")
    golden = {}
    for name, (height, width, quality) in CASES.items():
        data = codec.compress(image(height, width), quality=quality)
        (HERE / f"{name}.gnc").write_bytes(data)
        codec.decompress(data).save(HERE / f"{name}.png")
        latents = codec.latents(data)
        golden[name] = {"latents": hashlib.sha256(latents.astype("<i4").tobytes()).hexdigest()}
        print(f"{name}: {len(data)} bytes, |y| up to {int(np.abs(latents).max()) / 64:.1f}")
    (HERE / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
