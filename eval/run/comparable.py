"""Which images stand behind the numbers of a rate: those that every codec can bring to it.

An image that a codec cannot code in so few, or so many, bits (a smooth one at its highest quality, a busy one at its
lowest) would enter that codec's mean with another rate than it is asked for. It leaves this rate's means, for all
codecs. A codec that cannot do a rate on half of the images or more has no place at it: its row is marked, stands
outside the comparison, and takes no image from the others.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .records import Record
from .sets import Key

BPP = " bpp"  # how the name of a setting that is a rate ends


class LeftOut(NamedTuple):
    """An image that does not count at a rate, and the codecs that cannot bring it there."""

    setting: str
    image: str
    codecs: list[str]


class Comparison(NamedTuple):
    """used: the records behind each operating point's numbers; left_out; unable: points outside the comparison."""

    used: dict[Key, list[Record]]
    left_out: list[LeftOut]
    unable: set[Key]


def is_rate(setting: str) -> bool:
    """Whether a setting asks for a rate, and not for one value of the codec's rate control."""
    return setting.endswith(BPP)


def comparable(groups: Mapping[Key, Sequence[Record]]) -> Comparison:
    """The records that count, of those at each operating point."""
    out_of_reach = {
        key: {r.place.image for r in members if r.row["rate"] == "limit"}
        for key, members in groups.items()
        if is_rate(key[1])
    }
    unable = {key for key, images in out_of_reach.items() if 2 * len(images) >= len(groups[key])}
    leavers: dict[tuple[str, str], set[str]] = {}
    for (codec, setting, realism), images in out_of_reach.items():
        if (codec, setting, realism) not in unable:
            for image in images:
                leavers.setdefault((setting, image), set()).add(codec)
    used = {
        key: [r for r in members if key in unable or (key[1], r.place.image) not in leavers]
        for key, members in groups.items()
    }
    left_out = [LeftOut(setting, image, sorted(codecs)) for (setting, image), codecs in sorted(leavers.items())]
    return Comparison({key: members for key, members in used.items() if members}, left_out, unable)
