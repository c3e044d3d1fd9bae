"""The images at each operating point: which of them count, and metrics of the whole set (swd, FID, KID)."""

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from gencomp.image import read_image, to_tensor

from ..codecs.baseline import Baseline
from ..metrics.realism import SMALLEST
from ..metrics.table import Metric, Resources, asked, over_network
from . import pixels, records
from .records import Record

Key = tuple[str, str, float | None]  # codec, setting, realism


class Column(NamedTuple):
    """A metric of sets, ready to measure; network: whose features it compares, "" for one of images."""

    metric: Metric
    network: str
    measure: Callable[[Any, Any], float]


@dataclass(frozen=True, eq=False)
class Originals:
    """The photographs of a set, read from the disk whenever they are gone through."""

    paths: tuple[Path, ...]

    def __iter__(self) -> Iterator[Tensor]:
        return (to_tensor(np.asarray(read_image(path, max_pixels=None))) for path in self.paths)


class SetMeasuring:
    """The metrics of sets that are asked for: names as they are asked for, feature networks, the side of patches."""

    def __init__(self, names: Sequence[str], extractors: Sequence[str], patch: int) -> None:
        self.patch = patch
        of_images = [(metric, "") for metric in asked(names, "images")]
        of_features = [(over_network(m, n), n) for n in extractors for m in asked(names, "patches", "wholes")]
        self.columns = [Column(m, network, m.make(Resources())) for m, network in of_images + of_features]
        self._last = Originals(())

    def originals(self, paths: tuple[Path, ...]) -> Originals:
        """The same object while the same ones are asked for, by which a metric knows what it has of them."""
        if paths != self._last.paths:
            self._last = Originals(paths)
        return self._last


class SetMetrics(NamedTuple):
    """metrics by name; failed: why one is missing; images: how many images or patches stand behind a metric."""

    metrics: dict[str, float]
    failed: dict[str, str]
    images: dict[str, int]


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


def measure_set(out: Path, members: list[Record], measuring: SetMeasuring, codec: Baseline | None) -> None:
    """Compute the missing metrics of one operating point and keep them under sets/. codec: decodes again what was not
    kept; None where all was."""
    known = load_set(out, members, measuring.patch)
    for column in measuring.columns:
        name = column.metric.name
        if name in known.metrics:
            continue
        try:
            value, known.images[name] = _value(out, members, column, measuring, codec)
            if not math.isfinite(value):
                raise ValueError("is not a number for these images")
            known.metrics[name] = value
            known.failed.pop(name, None)
        except ValueError as error:
            known.images.pop(name, None)
            known.failed[name] = str(error)
    fingerprint = {"fingerprint": _fingerprint(members, measuring.patch)}
    records.write_json(out / members[0].place.set, fingerprint | known._asdict())


def load_set(out: Path, members: list[Record], patch: int) -> SetMetrics:
    """The metrics of an operating point, empty where there are none or its images have changed since."""
    try:
        known = json.loads((out / members[0].place.set).read_text("utf-8"))
        if known.pop("fingerprint") == _fingerprint(members, patch):
            return SetMetrics(**known)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return SetMetrics({}, {}, {})


def _value(
    out: Path, members: list[Record], column: Column, measuring: SetMeasuring, codec: Baseline | None
) -> tuple[float, int]:
    """The metric, and how many images or patches stand behind it. Raises ValueError where it cannot be had."""
    if column.metric.scope == "images":
        members = [r for r in members if min(r.row["width"], r.row["height"]) >= SMALLEST]
        if not members:
            raise ValueError(f"needs images with sides of at least {SMALLEST} pixels")
        originals = measuring.originals(tuple(out / r.row["original"] for r in members))
        rebuilt = (to_tensor(np.asarray(pixels.reconstruction(out, r, codec))) for r in members)
        return column.measure(originals, rebuilt), len(members)
    folder = pixels.feature_folder(column.network, column.metric.scope, measuring.patch)
    sides = []
    for places in ([records.original_place(r.place.image) for r in members], [r.place for r in members]):
        vectors = [x for place in places if (x := np.load(out / place.features(folder))).size]
        if not vectors:
            raise ValueError("no image is as large as a patch")
        sides.append(np.concatenate(vectors))
    return column.measure(*sides), len(sides[0])


def _fingerprint(members: list[Record], patch: int) -> int:
    """A number that changes with the pixels, the codec or the patches behind a set's metrics."""
    made_from = [(r.place, r.fingerprint, r.row["bytes"], r.row["rate_control"]) for r in members]
    return zlib.crc32(repr((made_from, patch)).encode())
