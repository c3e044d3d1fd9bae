"""`gencomp web`: the page, served on this machine or exported as a folder of static files.

The server is for this machine alone: it answers GET and HEAD for the page's files and nothing else.
"""

import mimetypes
import sys
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.files import shown
from gencomp.web.site import Site, export, site_of

HOST = "127.0.0.1"
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@click.command()
@click.option("--export", "folder", metavar="DIR", type=options.FOLDER, help="Instead: files for any web server.")
@options.overwrite
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free one.  [default: 8611 if free]")
@click.option("--browser/--no-browser", default=True, help="Open the page in the browser.")
@options.model
def web(folder: Path | None, overwrite: bool, port: int | None, browser: bool, model: str | None) -> None:
    """Code and decode in the browser, with nothing leaving the machine.

    Drop images, .gnc files or folders on the page, compare original and decoded image in a wipe, beside JPEG, WebP and
    AVIF at their best for the same bytes; change quality, size and realism; download one or all. After the first file
    it works offline.

    \b
    gencomp web                    serve until Ctrl-C and open the browser
    gencomp web --export page/     a folder for a web server (TLS, or localhost, for offline use)
    """
    from gencomp.codec import model_path

    site = site_of(model_path(model))
    if folder is not None:
        size = export(site, folder, overwrite)
        echo(f"{shown(folder)}: {len(site.files) + 1} files, {size / 1e6:.1f} MB")
        return
    with bind(site, port) as server:
        echo(f"gencomp: {address(server)}  (Ctrl-C stops)")
        if browser:
            webbrowser.open(address(server))
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            echo("Stopped")


def bind(site: Site, port: int | None) -> ThreadingHTTPServer:
    """A server that listens: on the port given; by default, None, on 8611, or where that is taken on any free one. One
    port from day to day lets the browser find what it kept for offline use. OSError where the port is taken."""
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
            kind = TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
            more = {"Content-Type": kind, "ETag": tag, "Content-Length": str(len(content))}
            self.send_response(200)
            for header, value in (HEADERS | more).items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the terminal shows the address alone."""

    return Handler
