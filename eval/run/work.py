"""The work on one image and one codec: rate search, coding through the disk, measuring.

What fails is written into the image's record, not raised: the rest goes on.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from gencomp.image import to_tensor

from ..codecs.baseline import Baseline
from ..metrics.networks import Extract
from ..metrics.table import Metric
from . import pixels, records
from .coding import Match, Recorder, decode_from
from .photos import Photo
from .records import CRASHED, Place, Record, Target

COLUMNS = ("width", "height", "bytes", "bpp", "original", "file", "reconstruction", "sample_format", "rate_control",
           "rate", "reached", "encode_s", "decode_s")  # fmt: skip


class LastOriginal:
    """The last photograph as a tensor (1, 3, H, W) in [0, 1]: the same object for all that is measured against it, by
    which metrics know what they have of it."""

    def __init__(self) -> None:
        self._last: tuple[tuple[int, tuple[int, ...]], Tensor] | None = None

    def tensor(self, array: np.ndarray, crc: int) -> Tensor:
        """The tensor of the pixels uint8 (H, W, 3), whose checksum tells photographs apart."""
        if self._last is None or self._last[0] != (crc, array.shape):
            self._last = (crc, array.shape), to_tensor(array)
        return self._last[1]


class Measuring(NamedTuple):
    """What is measured: metrics of single images; extractors by feature name, with the side of their patches."""

    metrics: list[tuple[Metric, Callable[[Tensor, Tensor], float]]]
    extractors: dict[str, Extract]
    patch: int
    original: LastOriginal


@dataclass(frozen=True)
class Unit:
    """One image through one codec, at all its targets and realisms, in the folder of a run. keep: its reconstructions
    stay on the disk."""

    photo: Photo
    codec: Baseline
    targets: Sequence[Target]
    realisms: tuple[float, ...]
    keep: bool
    out: Path

    def places(self, target: Target) -> list[Place]:
        """The reconstructions of a target: one per realism, or one alone of a codec that knows none."""
        realisms: tuple[float | None, ...] = self.realisms if self.codec.has_realism else (None,)
        return [Place(self.photo.name, self.codec.name, target.setting(self.codec), r) for r in realisms]

    def row(self, place: Place, **known: Any) -> dict[str, Any]:
        """The columns of a row, empty but for its place and for what is known."""
        empty = {**place._asdict(), **dict.fromkeys(COLUMNS), "note": "", "error": "", "source": self.photo.source}
        return empty | known

    def failure(self, place: Place, error: str, fingerprint: dict[str, Any]) -> Record:
        return Record(self.row(place, error=error), {}, {}, fingerprint)


def work(unit: Unit, measuring: Measuring, note: Path) -> None:
    """Bring every record of a unit up to date: code what is missing or stale, then measure what is missing. note: a
    file that says, while a codec is called, which records have failed if the program does not survive."""
    try:
        image = unit.photo.read()
    except Exception as error:  # images come from outside: any reader's error is the answer
        why = "the image cannot be read: " + one_line(error).removeprefix("the image cannot be read: ")
        for place in [place for target in unit.targets for place in unit.places(target)]:
            records.save(unit.out, unit.failure(place, why, {}))
        return
    array = np.asarray(image)
    crc = zlib.crc32(array.tobytes())
    fingerprint = {"codec": unit.codec.note, "pixels": crc}
    pixels.keep_original(unit.out, unit.photo.name, image)
    recorder = Recorder(unit.codec, image)
    for target in unit.targets:
        places = unit.places(target)
        found = [records.load(unit.out / place.record) for place in places]
        known = [(record, None) for record in found if record is not None and _holds(record, unit.out, fingerprint)]
        coded: Sequence[tuple[Record, Image.Image | None]] = known
        if len(known) < len(places):
            with records.noted(note, [unit.failure(place, "", fingerprint) for place in places]):
                coded = _code(unit, image, target, recorder, fingerprint)
        for record, rebuilt in coded:
            done = record
            if not record.row["error"]:
                done = _measured(unit, record, rebuilt, measuring.original.tensor(array, crc), measuring)
            if coded is not known or done != record:
                records.save(unit.out, done)


def _holds(record: Record, out: Path, fingerprint: dict[str, Any]) -> bool:
    """Whether a record's coding still stands, or its codec would take the program down once more."""
    if record.fingerprint != fingerprint:
        return False
    if record.row["error"]:
        return str(record.row["error"]).startswith(CRASHED)
    return (out / record.row["file"]).is_file()


def _code(
    unit: Unit, image: Image.Image, target: Target, recorder: Recorder, fingerprint: dict[str, Any]
) -> list[tuple[Record, Image.Image | None]]:
    places = unit.places(target)
    file = places[0].file(unit.codec.suffix)
    try:
        match = _match(unit.codec, image, target, recorder)
        encoding = recorder.write(unit.out / file, match.setting)
    except (Exception, SystemExit) as error:  # the codec's own error, of any kind: it is this row's result
        return [(unit.failure(place, one_line(error), fingerprint), None) for place in places]
    size, area = len(encoding.data), image.width * image.height
    coded: dict[str, Any] = {"width": image.width, "height": image.height, "bytes": size}
    coded |= {"bpp": 8 * size / area, "file": file, "original": records.original(unit.photo.name)}
    coded |= {"sample_format": unit.codec.sample_format(encoding.data), "encode_s": encoding.seconds}
    coded |= {"rate_control": match.setting, "rate": match.rate, "reached": match.rate == "reached", "note": match.note}
    made: list[tuple[Record, Image.Image | None]] = []
    for place in places:
        try:
            decoded, decode_s = decode_from(unit.out / file, unit.codec, place.realism)
            if decoded.size != image.size:
                raise ValueError(f"came back as {decoded.width}x{decoded.height}")
        except (Exception, SystemExit) as error:
            made.append((unit.failure(place, f"decoding: {one_line(error)}", fingerprint), None))
            continue
        records.drop_features(unit.out, place)
        (unit.out / place.reconstruction).unlink(missing_ok=True)
        made.append((Record(unit.row(place, **coded, decode_s=decode_s), {}, {}, fingerprint), decoded))
    return made


def _match(codec: Baseline, image: Image.Image, target: Target, recorder: Recorder) -> Match:
    if target.kind == "bpp":
        return recorder.search.match(target.value * image.width * image.height / 8)
    control = codec.rate_control
    if not control.holds(target.value):
        raise ValueError(f"{control.name} lies in {control.smallest:g} to {control.largest:g}")
    return Match(target.value, 0, "reached", "")


def _measured(unit: Unit, record: Record, rebuilt: Image.Image | None, x: Tensor, measuring: Measuring) -> Record:
    """The record with the metrics that it lacked; also writes the features that a set's metrics need, and lets the
    reconstruction stand on the disk, or not, as this run asks for it. rebuilt: None where it is not at hand."""
    out, path = unit.out, unit.out / record.place.reconstruction
    wanted = [(metric.name, measure) for metric, measure in measuring.metrics if metric.name not in record.metrics]
    lacking = any(pixels.lacking_features(out, record.place, measuring.extractors, measuring.patch))
    writing = unit.keep and not path.is_file()
    if rebuilt is None and (wanted or lacking or writing):
        rebuilt = pixels.reconstruction(out, record, unit.codec)
    if rebuilt is not None and writing:
        pixels.write_lossless(path, rebuilt)
    if not unit.keep:
        path.unlink(missing_ok=True)
    row = record.row | {"reconstruction": record.place.reconstruction if unit.keep else ""}
    failed, metrics = dict(record.failed), dict(record.metrics)
    if rebuilt is not None and (wanted or lacking):
        y = to_tensor(np.asarray(rebuilt))
        for name, measure in wanted:
            try:
                value = measure(x, y)
                if not math.isfinite(value):
                    raise ValueError("is not a number for this image")
                metrics[name] = value
                failed.pop(name, None)
            except Exception as error:  # an image too small for a metric, or a library's own refusal
                failed[name] = one_line(error)
        for place, image in ((record.place, y), (records.original_place(record.place.image), x)):
            pixels.keep_features(out, place, image, measuring.extractors, measuring.patch)
    return Record(row, metrics, failed, record.fingerprint)


def one_line(error: BaseException) -> str:
    """An error in one line; the kind is left out where it says no more than that a value was wrong."""
    kind = "" if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: "
    return f"{kind}{error}".splitlines()[0][:300]
