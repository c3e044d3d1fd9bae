"""Run by test_exact.py under many settings: reads the golden files, prints one JSON line of hashes and pixel sums.

python exact_matrix.py GOLDEN_FOLDER [--compile]
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

from gencomp.codec import Codec
from gencomp.model import load_model
from gencomp.runtime.torch import TorchRuntime


def main() -> None:
    folder = Path(sys.argv[1])
    codec = Codec(load_model(folder / "tiny.safetensors"), "cpu", runtime="torch")
    if "--compile" in sys.argv:
        assert isinstance(codec.runtime, TorchRuntime)
        network = codec.runtime.network
        network.synthesis = torch.compile(network.synthesis)
    result = {}
    files = sorted(folder.glob("*.gnc"))
    for path in files[:1] if "--compile" in sys.argv else files:  # each size is compiled anew, for half a minute
        latents = codec.latents(path.read_bytes())
        pixels = codec.decompress(path.read_bytes())
        digest = hashlib.sha256(latents.astype("<i4").tobytes()).hexdigest()
        result[path.stem] = {"latents": digest, "pixels": pixels.tobytes().hex()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
