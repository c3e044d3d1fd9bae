"""`gencomp study serve`: the page that raters use."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.files import shown

from ..console import own_files, store_of, study_folder

if TYPE_CHECKING:
    from .session import Course
    from .store import Store


@click.command()
@study_folder
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, help="0: any free one.")
@click.option("--invite", type=click.IntRange(1, 10000), metavar="N", help="Make links for N more raters first.")
@click.option("--base-url", metavar="URL", help="Where raters reach it, if through a proxy: https://study.example.org")
@click.option("--panel", metavar="PARAMETER", help="Of a panel's one link, which names its raters: PROLIFIC_PID.")
@click.option("--completion-code", metavar="CODE", help="Shown to a rater who is done.")
@click.option("--completion-url", metavar="URL", help="Where a rater who is done is led: the panel's address for it.")
def serve(folder: Path, host: str, port: int, invite: int | None, base_url: str | None, **of_panel: Any) -> None:
    """Serve the study in DIR until Ctrl-C.

    On this machine alone (the default) whoever opens the page takes part. Reached from elsewhere, by --host or through
    a proxy (--base-url), each rater needs a link of its own: make them with --invite; they are written to
    DIR/links.txt. Or let a panel such as Prolific send the raters (--panel). Ctrl-C, SIGTERM, a crash or a power cut
    loses no vote; start again and every rater goes on where they were. While it is served, and after a crash, votes are
    in votes.sqlite-wal, too, not in votes.sqlite alone: copy with `gencomp study backup`.
    """
    from ..design.build import CONSENT
    from ..plan import StudyError, load
    from . import listen, server
    from .session import Course

    panel, code, url = (of_panel[name] for name in ("panel", "completion_code", "completion_url"))
    _check_panel(panel, invite, url)
    public = _public(base_url) if base_url else None
    near = listen.is_loopback(host)
    plan = load(folder)
    store = store_of(folder, plan.id)
    invited_only = (not near or public is not None) and not panel
    if invited_only:
        _ready_for_others(store, invite, host if public is None else "")
    if (invited_only or panel) and "[name and address" in (folder / CONSENT).read_text("utf-8"):
        raise StudyError(f"{folder / CONSENT} does not say yet who is responsible; complete it first")
    names = ["localhost", "127.0.0.1", "[::1]", host, *([public.hostname or ""] if public else [])]
    course = Course(plan, store)
    door = server.Panel(panel, code, url)
    hosts, origin = names if near else None, _origin(public) if public else None
    app = server.create_app(course, folder, invited_only=invited_only, hosts=hosts, public=origin, panel=door)

    def ready(bound: int) -> None:
        address = f"[{host}]" if ":" in host else host
        base = (base_url or f"http://{address}:{bound}").rstrip("/")
        if invite:
            _invite(folder, course, invite, base)
        seen = urlsplit(base)
        open_line = seen.scheme == "http" and not listen.is_loopback(seen.hostname or "")
        echo(f"{shown(plan.title)}: {base}/" + ("  (unencrypted: put a TLS proxy before it)" if open_line else ""))
        echo("Ctrl-C stops; every vote is on disk already.")

    listen.run(app, host, port, ready)


@click.command()
@study_folder
@click.argument("to", metavar="COPY", type=options.FOLDER)
def backup(folder: Path, to: Path) -> None:
    """Copy a study to a new folder with every vote of this moment, also while it is served.

    The copy can be served, analysed and exported like DIR.
    """
    from ..plan import StudyError, load
    from .store import NAME

    if os.path.lexists(to):
        raise StudyError(f"{shown(to)} is there already; name a new folder")
    plan = load(folder)
    store = store_of(folder, plan.id)
    beside = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        for path in own_files(folder):
            if path.exists() and not path.name.startswith(NAME):
                (shutil.copytree if path.is_dir() else shutil.copy2)(path, beside / path.name)
        store.copy(beside / NAME)
        beside.rename(to)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    echo(f"{shown(to)}: {plan.title!r} with every vote until now")


def _check_panel(panel: str | None, invite: int | None, completion_url: str | None) -> None:
    if panel and invite:
        raise click.UsageError("--panel and --invite: raters come either by a panel's link or by their own")
    if panel and not re.fullmatch(r"\w{1,40}", panel, re.ASCII):
        raise click.BadParameter("give the name of a parameter, such as PROLIFIC_PID", param_hint="--panel")
    if completion_url and urlsplit(completion_url).scheme != "https":
        raise click.BadParameter("give https://...", param_hint="--completion-url")


def _public(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        whole = url.scheme in ("http", "https") and url.hostname and url.port != 0 and not url.path.strip("/")
    except ValueError:  # a port that is none
        whole = False
    if not whole:
        raise click.BadParameter("give http://HOST[:PORT] or https://HOST[:PORT]", param_hint="--base-url")
    return url


def _origin(url: SplitResult) -> str:
    """Host and port as a browser names them in the header Origin: small letters, no port where it is the scheme's."""
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname or ""
    return host if url.port in (None, {"http": 80, "https": 443}[url.scheme]) else f"{host}:{url.port}"


def _ready_for_others(store: "Store", invite: int | None, shown_as: str) -> None:
    from ..plan import StudyError

    if invite is None and store.raters() == 0:
        raise StudyError("raters from elsewhere need links of their own; make them with --invite N")
    if invite is not None and shown_as in ("0.0.0.0", "::"):
        why = f"{shown_as} is not an address that a rater can open"
        raise StudyError(f"{why}; give one with --base-url http://HOST:PORT")


def _invite(folder: Path, course: "Course", count: int, base: str) -> None:
    path = folder / "links.txt"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as links:
        for _ in range(count):
            links.write(f"{base}/r/{course.join(agreed=False)}\n")
    echo(f"{count} new links in {shown(path)}: give each rater one")
