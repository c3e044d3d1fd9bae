"""Made-up photographs, and files of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gencomp.train.checkpoint import checkpoints, load_checkpoint
from gencomp.train.loop import RunOptions, run
from gencomp.train.recipe import Recipe
from gencomp.train.settings import recipe

FAST = RunOptions(save_every=4, log_every=2)
NEVER = "1000000"  # a step at which a stage begins that no run here comes to


def small(begin: str = "4", **values: str) -> Recipe:
    """Both stages in eight steps; begin: of realism."""
    return recipe("tiny", {"steps": "8", "realism.begin": begin, **values})


def lines(run_folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]


def half_of(whole: Path, to: Path, step: int | None = None) -> Path:
    """A run that ends at the first checkpoint of another, or at that of a step."""
    saved = checkpoints(whole)[0] if step is None else whole / "checkpoints" / f"step-{step:08d}.safetensors"
    (to / "checkpoints").mkdir(parents=True)
    (to / "checkpoints" / saved.name).write_bytes(saved.read_bytes())
    return to


def same_end(*runs: Path) -> bool:
    """Whether runs came to the same weights, moments and averages, bit for bit."""
    first, *others = (load_checkpoint(checkpoints(run)[-1]).tensors for run in runs)
    assert all(first.keys() == other.keys() for other in others)
    return all(torch.equal(value, other[key]) for other in others for key, value in first.items())


def made_up(seed: int, side: int = 160) -> Image.Image:
    """Smooth colours with an edge and some noise, like a photograph from afar."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(np.float64)
    pixels[side // 3 : side // 2] += 60 * rng.random()
    return Image.fromarray(np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(4):
        made_up(seed).save(folder / f"{seed}.png")
    return folder


def parquet(photographs: Path, path: Path, *, copies: int = 1, rows_per_group: int | None = None) -> Path:
    """The photographs as a parquet file with `copies` of each row, one row in five broken."""
    import datasets

    cells = [{"bytes": p.read_bytes(), "path": None} for p in sorted(photographs.glob("*.png"))]
    cells.insert(1, {"bytes": b"no image", "path": None})
    cells *= copies
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = datasets.Dataset.from_dict({"image": cells, "label": list(range(len(cells)))}, features)
    rows.to_parquet(path, **({"batch_size": rows_per_group} if rows_per_group else {}))
    return path


@pytest.fixture(scope="session")
def trained(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of both stages; tests that write into it copy it first."""
    out = tmp_path_factory.mktemp("run")
    run(small(), [str(photographs)], out, options=FAST)
    return out
