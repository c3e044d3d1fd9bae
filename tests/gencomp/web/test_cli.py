"""`gencomp web`: what it serves, where, and what it exports."""

import functools
import http.client
import http.server
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gencomp.bitstream import ModelError
from gencomp.codec import model_path
from gencomp.web.cli import HOST, bind, web
from gencomp.web.site import STATIC, export, site_of

from .conftest import DONE, TESTS, TINY


def answer(url: str, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    port = int(url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection(HOST, port)
    connection.request("GET", path, headers={"Host": host or f"{HOST}:{port}"})
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read()


def test_the_files_are_served_by_name_with_their_types(tiny_url: str) -> None:
    kinds = {"/": "text/html", "/index.html": "text/html", "/codec/codec.js": "text/javascript"}
    kinds |= {"/codec/kernel.wasm": "application/wasm", "/icon.svg": "image/svg+xml"}
    for path, kind in (kinds | {"/manifest.webmanifest": "application/manifest+json"}).items():
        status, headers, body = answer(tiny_url, path)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert body
    assert answer(tiny_url, "/model.safetensors")[2] == TINY.read_bytes()


@pytest.mark.parametrize("path", ["/nothing", "/../site.py", "/%2e%2e/site.py", "//etc/passwd", "/codec", "/codec/"])
def test_nothing_else_is_served(tiny_url: str, path: str) -> None:
    assert answer(tiny_url, path)[0] == 404


def test_another_name_for_this_machine_is_refused(tiny_url: str) -> None:
    assert answer(tiny_url, "/", "attacker.example:80")[0] == 421


def test_the_server_is_for_this_machine_and_finds_a_free_port() -> None:
    site = site_of(TINY)
    with bind(site, 0) as first, bind(site, None) as second, bind(site, None) as third:
        ports = {server.server_address[1] for server in (first, second, third)}
        assert len(ports) == 3
        assert all(server.server_address[0] == "127.0.0.1" for server in (first, second, third))
        with pytest.raises(OSError, match="in use"):
            bind(site, first.server_address[1])


def test_the_command_says_the_address_and_stops_on_interrupt() -> None:
    command = [sys.executable, "-c", "from gencomp.web.cli import web; web()", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job is deaf to it
    )
    assert process.stdout
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found, line
    assert answer(found[0], "/")[0] == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_an_export_is_the_whole_page_and_can_be_renewed(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    said = CliRunner().invoke(web, ["--export", str(folder), "--model", str(TINY)])
    assert said.exit_code == 0, said.output
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = json.loads(re.sub(r"^[^{]*|;\s*$", "", (folder / "precache.js").read_text()))
    assert {"model.safetensors", "avif/avif_enc.wasm"} < {*listed["apart"]}  # fetched when needed
    assert written == {*listed["files"], *listed["apart"]} - {"./"}
    assert listed["model"]["bytes"] == TINY.stat().st_size
    before = (folder / "precache.js").read_text()
    assert CliRunner().invoke(web, ["--export", str(folder)]).exit_code == 0
    assert (folder / "precache.js").read_text() != before  # another model is another version for the browser's cache


def test_an_export_spares_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        export(site_of(TINY), tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.txt"]


def test_an_export_works_below_a_path_of_any_server(opened: Any, tmp_path: Path) -> None:
    export(site_of(TINY), tmp_path / "deep" / "page")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = opened(f"http://{HOST}:{server.server_address[1]}/deep/page/")
        page.set_input_files("#files", str(TESTS / "golden" / "odd.gnc"))
        page.locator(DONE).wait_for()
        server.shutdown()


def test_a_model_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        site_of(tmp_path / "none.safetensors")


def test_the_page_is_small_and_holds_no_model() -> None:
    sizes = {path: path.stat().st_size for path in STATIC.rglob("*") if path.is_file()}
    assert sum(size for path, size in sizes.items() if path.parent.name != "avif") < 1_000_000
    assert sum(sizes.values()) < 5_000_000
    assert not list(STATIC.rglob("*.safetensors"))
    assert site_of(model_path(None)).files["model.safetensors"] == model_path(None)
