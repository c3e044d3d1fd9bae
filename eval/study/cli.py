"""`gencomp study`: the verbs. Thin; what they do stands in the files beside."""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .plan import Study
    from .session import Course
    from .sources import CodecFolder, Coded

FOLDER = click.Path(file_okay=False, path_type=Path)
STUDY = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
QUESTION = "Which is closer to the original, A or B?"
MAX_TRIALS = 40  # of the random and active designs unless told otherwise: about seven minutes


@click.group()
def study() -> None:
    """People judge pictures: build a study, serve it, analyse the votes.

    \b
    gencomp study demo DIR              a small study to try, from bundled photographs
    gencomp study new DIR --from EVAL   from the pictures of `gencomp eval`
    gencomp study serve DIR             the page; raters choose, every vote is on disk at once
    gencomp study analyse DIR           scores with intervals, agreement, metrics; a page, CSV and JSON
    """


@contextmanager
def one_line() -> Iterator[None]:
    """Whatever the owner can mend comes out as one line and status 1."""
    from .plan import StudyError

    try:
        yield
    except StudyError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'file'}: {error.strerror or error}") from error


def _size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int] | None:
    if value == "whole":
        return None
    if not (found := re.fullmatch(r"(\d{2,5})(?:x(\d{2,5}))?", value)):
        raise click.BadParameter("give WIDTHxHEIGHT in pixels, one number for a square, or whole")
    return int(found[1]), int(found[2] or found[1])


def _places(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, tuple[int, int]]:
    places = {}
    for value in values:
        if not (found := re.fullmatch(r"(.+)=(\d+),(\d+)", value)):
            raise click.BadParameter(f"{value!r}: give IMAGE=X,Y, the crop's left and top pixel")
        places[found[1]] = (int(found[2]), int(found[3]))
    return places


def _folders(_: click.Context, __: click.Parameter, values: Sequence[str]) -> list[CodecFolder]:
    from .sources import CodecFolder

    folders = []
    for value in values:
        if not (found := re.fullmatch(r"([^=@]+)(?:@([0-9.]+))?=(.+)", value)):
            raise click.BadParameter(f"{value!r}: give NAME=FOLDER or NAME@BPP=FOLDER")
        folders.append(CodecFolder(found[1], float(found[2]) if found[2] else None, Path(found[3])))
    return folders


@study.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--from", "evaluation", type=STUDY, help="Folder of a `gencomp eval` run: its results.csv and pictures.")
@click.option("--originals", type=STUDY, help="Folder of originals; needed with --folder.")
@click.option("--folder", "folders", multiple=True, callback=_folders, metavar="NAME[@BPP]=FOLDER",
              help="A folder of one codec's pictures, named like the originals; repeat for each codec and rate.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Take this picture; repeat. Default: all.")
@click.option("--pictures", type=click.IntRange(1), help="Draw so many pictures by the seed. Default: all.")
@click.option("--codec", "codecs", multiple=True, metavar="NAME", help="Take this codec; repeat. Default: all.")
@click.option("--setting", "settings", multiple=True, metavar="TEXT",
              help="Take this setting, as in the column `setting`; repeat. Default: all.")
@click.option("--realism", "realisms", multiple=True, type=float, help="Take this realism; repeat. Default: all.")
@click.option("--crop", default="512", callback=_size, show_default=True, metavar="WxH",
              help="Largest crop in pixels, or `whole`. Shown at 1:1, smaller pictures whole.")
@click.option("--crop-at", callback=_places, multiple=True, metavar="IMAGE=X,Y",
              help="Where to crop a picture; repeat. Default: at random by the seed.")
@click.option("--crops-per-picture", type=click.IntRange(1, 20), default=1, show_default=True)
@click.option("--design", type=click.Choice(["full", "random", "active"]), default="random", show_default=True,
              help="full: each rater sees every pair. random: least shown pairs first. active: least certain pairs first.")
@click.option("--trials", type=click.IntRange(1, 2000),
              help=f"Pairs for each rater. Default: all pairs, at most {MAX_TRIALS}; full: all.")
@click.option("--checks", type=click.IntRange(0, 100), help="Attention checks for each rater. Default: one in eight.")
@click.option("--repeats", type=click.IntRange(0, 100), default=0, show_default=True,
              help="Pairs each rater sees again, sides swapped, to measure consistency.")
@click.option("--training", type=click.IntRange(0, 20), default=3, show_default=True, help="Practice trials.")
@click.option("--rest", "rest_every", type=click.IntRange(0), default=50, show_default=True,
              help="Offer a rest after so many trials; 0: never.")
@click.option("--layout", type=click.Choice(["flip", "side", "inplace"]), default="flip", show_default=True,
              help="flip: original beside A/B. side: all three. inplace: all three in one place, for small screens.")
@click.option("--ties/--no-ties", default=False, help="Offer `no difference`. Default: forced choice.")
@click.option("--question", default=QUESTION, show_default=True)
@click.option("--title", default="Comparing pictures", show_default=True)
@click.option("--consent", type=FILE, help="Your text that a rater reads first. Default: a draft to complete.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def new(folder: Path, evaluation: Path | None, originals: Path | None, folders: list[CodecFolder], images: tuple[str, ...],
        codecs: tuple[str, ...], settings: tuple[str, ...], realisms: tuple[float, ...], as_json: bool, **how: Any) -> None:
    """Build a study in DIR from an evaluation, or from folders of pictures.

    \b
    gencomp study new study --from report --setting 0.12 --pictures 20
    gencomp study new study --originals photos --folder avif@0.2=out/avif --folder webp@0.2=out/webp
    """
    from .build import build
    from .sources import from_evaluation, from_folders, set_measures

    if (evaluation is None) == (not folders) or (folders and originals is None):
        raise click.UsageError("give --from EVAL_DIR, or --originals FOLDER and --folder NAME=FOLDER for each codec")
    with one_line():
        coded = from_evaluation(evaluation, originals) if evaluation else from_folders(originals or Path(), folders)
        coded = _chosen(coded, image=images, codec=codecs, setting=settings, realism=realisms)
        options = _options(coded, **how)
        made = build(folder, coded, options, set_measures(evaluation) if evaluation else {}, _bar)
    report_new(folder, made, as_json)


def _chosen(coded: list[Coded], **wanted: tuple[Any, ...]) -> list[Coded]:
    """Keep what was asked for by name; asking for what is not there is an error."""
    from .plan import StudyError

    for field, values in wanted.items():
        there = {getattr(one, field) for one in coded}
        if unknown := set(values) - there:
            known = ", ".join(sorted(str(value) for value in there if value is not None))
            raise StudyError(f"no {field} {', '.join(sorted(map(str, unknown)))} here; known: {known or 'none'}")
        # A codec without the knob (realism None) is not what --realism chooses among.
        free = {None} if field == "realism" else set()
        coded = [one for one in coded if not values or getattr(one, field) in set(values) | free]
    return coded


def _options(coded: Sequence[Coded], *, design: Any, trials: int | None, checks: int | None, repeats: int, training: int,
             rest_every: int, **how: Any) -> Any:
    from .build import Options
    from .plan import Design

    if design == "full" and trials is not None:
        raise click.UsageError("--trials has no place with --design full: each rater sees every pair")
    by_image: dict[str, int] = {}
    for one in coded:
        by_image[one.image] = by_image.get(one.image, 0) + 1
    chosen = sorted(by_image.values(), reverse=True)[:how["pictures"]]
    pairs = sum(k * (k - 1) // 2 for k in chosen) * (how["crops_per_picture"] if how["crop"] else 1)
    asked = pairs if design == "full" else trials or min(MAX_TRIALS, pairs)
    checks = max(1, round(asked / 8)) if checks is None else checks
    return Options(Design(design, asked, checks, repeats, training, rest_every), **how)


def _bar(names: list[str]) -> Iterable[str]:
    from tqdm import tqdm

    bar: Iterable[str] = tqdm(names, desc="crops", unit="picture", leave=False, disable=None)
    return bar


def report_new(folder: Path, made: Study, as_json: bool) -> None:
    """Say what was built and what to do next."""
    width, height = made.largest_crop()
    trials = made.design.training + made.design.trials + made.design.checks + made.design.repeats
    if as_json:
        click.echo(json.dumps({
            "study": str(folder), "id": made.id, "conditions": [c.id for c in made.conditions],
            "scenes": len(made.scenes), "pairs": len(made.pairs()), "trials_per_rater": trials,
            "crop": [width, height], "design": made.design.method, "seed": made.seed}))
        return
    click.echo(f"{folder}: {len(made.conditions)} conditions on {len(made.scenes)} crops of at most {width}x{height} "
               f"pixels, {len(made.pairs())} pairs")
    click.echo(f"  conditions: {', '.join(c.id for c in made.conditions)}")
    click.echo(f"  each rater: {trials} trials ({made.design.training} practice, {made.design.trials} pairs, "
               f"{made.design.checks} checks, {made.design.repeats} repeats), about {max(1, round(trials / 6))} minutes")
    click.echo(f"  edit {folder / 'consent.txt'}, then: gencomp study serve {folder}")


@study.command()
@click.argument("folder", metavar="DIR", type=STUDY)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="0: any free one.")
@click.option("--invite", type=click.IntRange(1, 10000), metavar="N", help="Make links for N more raters first.")
@click.option("--base-url", metavar="URL", help="Where raters reach the server, if through a proxy: https://study.example.org")
def serve(folder: Path, host: str, port: int, invite: int | None, base_url: str | None) -> None:
    """Serve the study in DIR until Ctrl-C.

    On this machine alone (the default) whoever opens the page takes part. Reached from elsewhere, by --host or through
    a proxy (--base-url), each rater needs a link of its own: make them with --invite; they are written to
    DIR/links.txt. Ctrl-C, a crash or a power cut loses no vote; start again and every rater goes on where they were.
    """
    from urllib.parse import urlsplit

    from . import server
    from .plan import load
    from .session import Course
    from .store import Store

    public = urlsplit(base_url) if base_url else None
    if public and (public.scheme not in ("http", "https") or not public.hostname or public.path.strip("/")):
        raise click.BadParameter("give http://HOST[:PORT] or https://HOST[:PORT]", param_hint="--base-url")
    near = server.is_loopback(host)
    with one_line():
        plan = load(folder)
        store = Store(folder, plan.id)
        invited_only = not near or public is not None
        if invited_only:
            _ready_for_others(folder, store, invite)
        hosts = ["localhost", "127.0.0.1", "[::1]", *([public.hostname or ""] if public else [])] if near else None
        course = Course(plan, store)
        app = server.create_app(course, folder, invited_only=invited_only, hosts=hosts,
                                public=public.netloc if public else None)

        def ready(bound: int) -> None:
            shown = f"[{host}]" if ":" in host else host
            base = (base_url or f"http://{shown}:{bound}").rstrip("/")
            if invite:
                _invite(folder, course, invite, base)
            click.echo(f"{plan.title}: {base}/" + ("" if near or public else "  (unencrypted: put a TLS proxy before it)"))
            click.echo("Ctrl-C stops; every vote is on disk already.")

        try:
            server.run(app, host, port, ready)
        finally:
            store.close()


def _ready_for_others(folder: Path, store: Any, invite: int | None) -> None:
    """What must be true before strangers are let in."""
    from .build import CONSENT
    from .plan import StudyError

    if invite is None and store.next_number() == 0:
        raise StudyError("raters from elsewhere need links of their own; make them with --invite N")
    if "[name and address" in (folder / CONSENT).read_text("utf-8"):
        raise StudyError(f"{folder / CONSENT} does not say yet who is responsible; complete it first")


def _invite(folder: Path, course: Course, count: int, base: str) -> None:
    import os

    path = folder / "links.txt"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as links:
        for _ in range(count):
            links.write(f"{base}/r/{course.join(agreed=False)}\n")
    click.echo(f"{count} new links in {path}: give each rater one")
