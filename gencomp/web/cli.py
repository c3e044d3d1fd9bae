"""`gencomp web`: the page, served on this machine or exported as a folder of static files."""

from __future__ import annotations

import webbrowser
from importlib import resources
from pathlib import Path

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.files import shown
from gencomp.web.server import address, bind
from gencomp.web.site import export, site_of


@click.command()
@click.option("--export", "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Write the page as static files for any web server instead of serving it.")  # fmt: skip
@options.overwrite
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to serve on; 0: any free one.  [default: 8611 if free]"
)
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page in the browser.")
@click.option("--model", metavar="NAME|FILE", help="Model to use instead of the embedded one.")
def web(folder: Path | None, overwrite: bool, port: int | None, browser: bool, model: str | None) -> None:
    """Code and decode in the browser, with nothing leaving the machine.

    Drop images, .gnc files or folders on the page, compare original and decoded image in a wipe, beside JPEG, WebP and
    AVIF at their best for the same bytes; change quality, size and realism; download one or all. After the first file
    it works offline.

    \b
    gencomp web                    serve until Ctrl-C and open the browser
    gencomp web --export page/     a folder for a web server (TLS, or localhost, for offline use)
    """
    site = site_of(_model_file(model))
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


def embedded_model() -> Path:
    """The model file in the package; found without the codec, which takes its time to import."""
    return Path(str(resources.files("gencomp") / "weights" / "gencomp-base.safetensors"))


def _model_file(model: str | None) -> Path:
    if model is None:
        return embedded_model()
    from gencomp.codec import model_path

    return model_path(model)
