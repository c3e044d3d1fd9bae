"""`gencomp study`: the group of verbs; each stands in a file beside."""

import click

from .analysis.cli import analyse, export_votes, import_votes, simulate
from .console import Verbs
from .design.cli import demo, new
from .web.cli import backup, serve


@click.group(cls=Verbs)
def study() -> None:
    """People judge images: build a study, serve it, analyse the votes.

    \b
    gencomp study demo DIR              a small study to try, from bundled photographs
    gencomp study new DIR --from EVAL   from the images of `gencomp eval`
    gencomp study serve DIR             the page; raters choose, every vote is on disk at once
    gencomp study backup DIR COPY       all of it, with every vote, also while it is served
    gencomp study analyse DIR           scores with intervals, agreement, metrics; a page, CSV and JSON
    """


for verb in (demo, new, serve, backup, analyse, simulate, export_votes, import_votes):
    study.add_command(verb)
