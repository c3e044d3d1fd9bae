"""A server of the page for this machine alone: it answers GET and HEAD for the page's files and nothing else."""

from __future__ import annotations

import mimetypes
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from gencomp.web.site import Site

HOST = "127.0.0.1"
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def bind(site: Site, port: int | None) -> ThreadingHTTPServer:
    """A server that listens: on the port given; by default, None, on 8611, or where that is taken on any free one.

    One port from day to day lets the browser find what it kept for offline use. OSError where the port is taken.
    """
    try:
        return _Server((HOST, 8611 if port is None else port), _handler(site))
    except OSError:
        if port is not None:
            raise
        return _Server((HOST, 0), _handler(site))


def address(server: ThreadingHTTPServer) -> str:
    """The page's URL."""
    return f"http://{HOST}:{server.server_address[1]}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away in the middle is no error; others are shown as ever."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, with_body: bool) -> None:
            if self.headers.get("Host", "").rpartition(":")[0] not in {HOST, "localhost"}:
                self.send_error(421)  # another name for this machine: a page of another site that was led here
                return
            name = unquote(urlsplit(self.path).path).removeprefix("/")
            content = site.read(name)
            if content is None:
                self.send_error(404)
                return
            tag = f'"{site.version}"'
            if self.headers.get("If-None-Match") == tag:
                self.send_response(304)
                self.end_headers()
                return
            suffix = "." + (name or "index.html").rpartition(".")[2]
            self.send_response(200)
            self.send_header(
                "Content-Type", TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
            )
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(content)))
            for header, value in HEADERS.items():
                self.send_header(header, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal shows the address alone."""

    return Handler
