"""Weights from a server on this machine: whole, checked, resumed, or not at all."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from gencomp.eval.metrics import downloads
from gencomp.eval.metrics.downloads import WEIGHTS, DownloadError, Weights, fetch
from gencomp.eval.weights import weights as command

CONTENT = bytes(range(256)) * 2000
ONE = Weights("net-abc.pth", "fid, kid", "", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


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
    path = fetch(ONE, tmp_path, address(server, "net"), counted.append)
    assert path.read_bytes() == CONTENT
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


def test_another_file_is_not_kept(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="another file"):
        fetch(ONE, tmp_path, address(server, "wrong"))
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="Not Found"):
        fetch(ONE, tmp_path, address(server, "absent"))
    with pytest.raises(DownloadError, match="net-abc"):
        fetch(ONE, tmp_path, "http://127.0.0.1:9/")
    with pytest.raises(DownloadError, match="by hand"):
        fetch(ONE._replace(sha256=""), tmp_path)


def test_the_command_lists_sources_and_checksums_and_fetches_from_a_mirror(
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
