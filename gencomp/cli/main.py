"""The command `gencomp`: a group of verbs, each in a file of its own.

A verb names files, calls the codec and says what was done; torch and the codec are imported inside the verbs that need
them, so that --help and info answer at once. Exit status: 0 done, 1 could not (one line on stderr says what, which file
and the remedy), 2 wrong usage, 130 interrupted.
"""

import click

from gencomp.cli.compress import compress
from gencomp.cli.decompress import decompress
from gencomp.cli.generate import interpolate, sample
from gencomp.cli.group import Verbs
from gencomp.cli.info import info


@click.group(
    cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True}
)
@click.version_option(package_name="gencomp", message="%(prog)s %(version)s")
def main() -> None:
    """A generative image codec: photographs at about a tenth of a bit per pixel.

    \b
    gencomp compress photo.jpg                photo.gnc beside it
    gencomp decompress photo.gnc -o seen.png  and back
    gencomp info photo.gnc                    what a file holds
    gencomp web                               code, decode and compare in the browser
    """


for verb in (compress, decompress, info, sample, interpolate):
    main.add_command(verb)
