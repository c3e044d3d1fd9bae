"""Which images stand behind the numbers: one set for every codec and rate, so that means, curves and deltas agree.

An image that a codec fails on, or cannot code in so few, or so many, bits as a rate asks (a smooth one at its highest
quality, a busy one at its lowest), is missing at that point. Means over what each point has would be of different
photographs, and a curve through them would bend with the photographs. So either the image leaves all points, or the
point leaves the comparison: whichever of the two misses the larger share of the other, again and again until none does.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .records import Record
from .sets import Key

BPP = " bpp"  # how the name of a setting that is a rate ends


class LeftOut(NamedTuple):
    """An image that does not count, a setting at which it is missing, and the codecs that miss it there."""

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
    everyone = {r.place.image for members in groups.values() for r in members}
    missing = {
        key: everyone - {r.place.image for r in members if not is_rate(key[1]) or r.row["rate"] != "limit"}
        for key, members in groups.items()
    }
    images, points = sorted(everyone), sorted(groups, key=repr)  # ties do not depend on the order of records
    while any(not missing[key].isdisjoint(images) for key in points):
        of_points = [len(missing[key].intersection(images)) / len(images) for key in points]
        of_images = [sum(image in missing[key] for key in points) / len(points) for image in images]
        if max(of_points) >= max(of_images):
            del points[of_points.index(max(of_points))]
        else:
            del images[of_images.index(max(of_images))]
    kept = everyone.difference(*(missing[key] for key in points))
    unable = {key for key in groups if missing[key] & kept}
    gone: dict[tuple[str, str], set[str]] = {}
    for key in groups.keys() - unable:
        for image in missing[key]:
            gone.setdefault((key[1], image), set()).add(key[0])
    used = {key: [r for r in members if r.place.image in kept] for key, members in groups.items()}
    left_out = [LeftOut(setting, image, sorted(codecs)) for (setting, image), codecs in sorted(gone.items())]
    return Comparison({key: members for key, members in used.items() if members}, left_out, unable)
