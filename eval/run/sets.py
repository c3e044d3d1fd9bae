"""The images at each operating point: which of them count, and metrics of the whole set (FID, KID)."""

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..metrics.table import Resources, asked, over_network
from . import pixels, records
from .records import Record

Key = tuple[str, str, float | None]  # codec, setting, realism


class Column(NamedTuple):
    """A metric of sets by its name over a network, whose features it compares; ready to measure."""

    name: str
    network: str
    measure: Callable[[np.ndarray, np.ndarray], float]


def set_columns(names: Sequence[str], extractors: Sequence[str]) -> list[Column]:
    """The metrics of sets that are asked for, each over each of the feature networks."""
    metrics = asked(names, "patches")
    return [Column(over_network(m, n).name, n, m.make(Resources())) for n in extractors for m in metrics]


class SetMetrics(NamedTuple):
    """metrics by name; failed: why one is missing."""

    metrics: dict[str, float]
    failed: dict[str, str]


def key_of(row: Mapping[str, Any]) -> Key:
    """The operating point of a row, of the results or of their summary."""
    return row["codec"], row["setting"], row["realism"]


def groups(found: Sequence[Record]) -> dict[Key, list[Record]]:
    """The records without errors by operating point, each in the order of its images."""
    by_key: dict[Key, list[Record]] = {}
    for record in sorted(found, key=lambda r: r.place.image):
        if not record.row["error"]:
            by_key.setdefault(key_of(record.row), []).append(record)
    return by_key


BPP = " bpp"  # how the name of a setting that is a rate ends


class Comparison(NamedTuple):
    """used: the records behind each operating point's numbers; left_out: an image that does not count, a setting at
    which it is missing, and the codecs that miss it there; unable: points outside the comparison."""

    used: dict[Key, list[Record]]
    left_out: list[dict[str, Any]]
    unable: set[Key]


def is_rate(setting: str) -> bool:
    """Whether a setting asks for a rate, and not for one value of the codec's rate control."""
    return setting.endswith(BPP)


def comparable(by_key: Mapping[Key, Sequence[Record]]) -> Comparison:
    """The records that count, of those at each operating point: means, curves and deltas are over one set of images.

    An image that a codec fails on, or cannot code in so few, or so many, bits as a rate asks (a smooth one at its
    highest quality, a busy one at its lowest), is missing at that point. Means over what each point has would be of
    different photographs, and a curve through them would bend with the photographs. So either the image leaves all
    points, or the point leaves the comparison: whichever of the two misses the larger share of the other, again and
    again until none does.
    """
    everyone = {r.place.image for members in by_key.values() for r in members}
    missing = {
        key: everyone - {r.place.image for r in members if not is_rate(key[1]) or r.row["rate"] != "limit"}
        for key, members in by_key.items()
    }
    images, points = sorted(everyone), sorted(by_key, key=repr)  # ties do not depend on the order of records
    while any(not missing[key].isdisjoint(images) for key in points):
        of_points = [len(missing[key].intersection(images)) / len(images) for key in points]
        of_images = [sum(image in missing[key] for key in points) / len(points) for image in images]
        if max(of_points) >= max(of_images):
            del points[of_points.index(max(of_points))]
        else:
            del images[of_images.index(max(of_images))]
    kept = everyone.difference(*(missing[key] for key in points))
    unable = {key for key in by_key if missing[key] & kept}
    gone: dict[tuple[str, str], set[str]] = {}
    for key in by_key.keys() - unable:
        for image in missing[key]:
            gone.setdefault((key[1], image), set()).add(key[0])
    used = {key: [r for r in members if r.place.image in kept] for key, members in by_key.items()}
    left_out = [{"setting": key[0], "image": key[1], "codecs": sorted(gone[key])} for key in sorted(gone)]
    return Comparison({key: members for key, members in used.items() if members}, left_out, unable)


def measure_set(out: Path, members: list[Record], columns: Sequence[Column], patch: int) -> None:
    """Compute the missing metrics of one operating point, of patches of a side, and keep them under sets/."""
    known = load_set(out, members, patch)
    for name, network, measure in columns:
        if name in known.metrics:
            continue
        try:
            value = measure(*_features(out, members, network, patch))
            if not math.isfinite(value):
                raise ValueError("is not a number for these images")
            known.metrics[name] = value
            known.failed.pop(name, None)
        except ValueError as error:
            known.failed[name] = str(error)
    fingerprint = {"fingerprint": _fingerprint(members, patch)}
    records.write_json(out / members[0].place.set, fingerprint | known._asdict())


def load_set(out: Path, members: list[Record], patch: int) -> SetMetrics:
    """The metrics of an operating point, empty where there are none or its images have changed since."""
    try:
        known = json.loads((out / members[0].place.set).read_text("utf-8"))
        if known.pop("fingerprint") == _fingerprint(members, patch):
            return SetMetrics(**known)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return SetMetrics({}, {})


def _features(out: Path, members: list[Record], network: str, patch: int) -> list[np.ndarray]:
    """The originals' and the reconstructions' vectors, each (N, D). Raises ValueError where there are none."""
    folder = pixels.feature_folder(network, patch)
    sides = []
    for places in ([records.original_place(r.place.image) for r in members], [r.place for r in members]):
        vectors = [x for place in places if (x := np.load(out / place.features(folder))).size]
        if not vectors:
            raise ValueError("no image is as large as a patch")
        sides.append(np.concatenate(vectors))
    return sides


def _fingerprint(members: list[Record], patch: int) -> int:
    """A number that changes with the pixels, the codec or the patches behind a set's metrics."""
    made_from = [(r.place, r.fingerprint, r.row["bytes"], r.row["rate_control"]) for r in members]
    return zlib.crc32(repr((made_from, patch)).encode())
