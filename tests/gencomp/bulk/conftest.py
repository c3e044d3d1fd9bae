"""Small data sets of every kind, with the samples that trouble a run, and a codec without a network."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from gencomp.bulk.plan import find_shards
from gencomp.bulk.settings import Settings
from gencomp.bulk.shard import transform_shard
from gencomp.bulk.status import SampleTally
from gencomp.bulk.storage import BULK, Storage
from gencomp.bulk.transform import Transform

MAX_PIXELS = 10_000


def image_file(seed: int, kind: str = "PNG", size: tuple[int, int] = (12, 9)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def troubles() -> dict[str, bytes]:
    """One file each: cut short, of 0 bytes, over the limit of pixels, of a mode that has no rule."""
    odd = io.BytesIO()
    Image.fromarray(np.linspace(-1, 1, 80, dtype=np.float32).reshape(8, 10)).save(odd, "TIFF")
    cut, huge = image_file(1, "JPEG", (60, 60))[:900], image_file(2, size=(101, 100))
    return {"cut.jpg": cut, "empty.png": b"", "huge.png": huge, "odd.tiff": odd.getvalue()}


def some_images(count: int) -> dict[str, bytes]:
    return {f"{i:03d}.{'jpg' if i % 2 else 'png'}": image_file(i, "JPEG" if i % 2 else "PNG") for i in range(count)}


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """A WebDataset: each image has a caption and a record beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            stem = name.rpartition(".")[0]
            record = json.dumps({"key": stem}).encode()
            for member, content in ((name, data), (f"{stem}.json", record), (f"{stem}.txt", stem.encode())):
                info = tarfile.TarInfo(member)
                info.size, info.mtime = len(content), 1_600_000_000
                tar.addfile(info, io.BytesIO(content))
    return path


def write_parquet(path: Path, files: Mapping[str, bytes | None], struct: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells: list[Any] = list(files.values())
    if struct:
        cells = [None if data is None else {"bytes": data, "path": name} for name, data in files.items()]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()}) if struct else pa.binary()
    columns = {"caption": pa.array(list(files)), "image": pa.array(cells, kind), "n": pa.array(range(len(files)))}
    pq.write_table(pa.table(columns), path)
    return path


def outputs(folder: Path) -> dict[str, bytes]:
    """What a user sees of a destination: everything but tables and report."""
    inside = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return {place.as_posix(): path.read_bytes() for place, path in inside if BULK not in place.parts}


def tar_members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = [(info.name, tar.extractfile(info)) for info in tar]
    found = {name: content.read() for name, content in members if content is not None}
    assert len(found) == len(members)
    return found


@pytest.fixture
def sets() -> Any:
    """The functions above: test files cannot import this one."""
    functions = (image_file, troubles, some_images, write_folder, write_tar, write_parquet, outputs, tar_members)
    return SimpleNamespace(**{function.__name__: function for function in functions})


Bring = Callable[..., SampleTally]


@pytest.fixture
def bring(fake_codec: Any) -> Bring:
    """Every shard of a source brought over in this process, with a codec that is quick and exact."""

    def run(source: Path | str, destination: Path | str, **more: Any) -> SampleTally:
        passed = {name: more.pop(name) for name in ("retry_failed", "overwrite", "fatal", "hear") if name in more}
        settings = Settings(**{"max_pixels": MAX_PIXELS, **more})
        transform = Transform(settings, fake_codec)
        found, place = find_shards(str(source), settings), Storage.of(str(destination))
        return sum((transform_shard(found.place, s, place, transform, **passed) for s in found.shards), SampleTally())

    return run
