"""The work on one image and one codec: rate search, coding through the disk, measuring.

What fails is written into the image's record, not raised: the rest goes on.
"""

import math
import zlib
from collections.abc import Callable
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
from .coding import Encoding, Recorder, decode_from
from .notes import CRASHED, noted
from .photos import Photo
from .rates import Match, RateSearch
from .records import Place, Record, Target

Measure = Callable[[Tensor, Tensor], float]


class Measuring(NamedTuple):
    """What is measured: metrics of single images; extractors by feature name, with the side of their patches."""

    metrics: list[tuple[Metric, Measure]]
    extractors: dict[str, Extract]
    patch: int
    original: "LastOriginal"


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


class Unit(NamedTuple):
    """One image through one codec, at all its targets and realisms. keep: its reconstructions stay on the disk."""

    photo: Photo
    codec: Baseline
    targets: list[Target]
    realisms: tuple[float, ...]
    keep: bool = True

    def places(self, target: Target) -> list[Place]:
        """The reconstructions of a target: one per realism, or one alone of a codec that knows none."""
        realisms: tuple[float | None, ...] = self.realisms if self.codec.has_realism else (None,)
        return [Place(self.photo.name, self.codec.name, target.setting(self.codec), r) for r in realisms]


def work(unit: Unit, out: Path, measuring: Measuring, note: Path) -> None:
    """Bring every record of a unit up to date: code what is missing or stale, then measure what is missing.

    note: a file that says, while a codec is called, which records have failed if the program does not survive.
    """
    try:
        image = unit.photo.read()
    except Exception as error:  # images come from outside: any reader's error is the answer
        why = "the image cannot be read: " + one_line(error).removeprefix("the image cannot be read: ")
        for target in unit.targets:
            for place in unit.places(target):
                records.save(out, _failure(place, unit, why, {}))
        return
    array = np.asarray(image)
    crc = zlib.crc32(array.tobytes())
    fingerprint = {"codec": unit.codec.note, "pixels": crc}
    pixels.keep_original(out, unit.photo.name, image)
    recorder = Recorder(unit.codec, image)
    search = recorder.search()
    for target in unit.targets:
        places = unit.places(target)
        coded = [r for place in places if (r := records.load(out, place)) and _holds(r, out, fingerprint)]
        if len(coded) < len(places):
            with noted(note, [_failure(place, unit, "", fingerprint) for place in places]):
                coded = _code(unit, out, image, target, search, recorder, fingerprint)
        for record in coded:
            if not record.row["error"]:
                done = _measured(record, out, measuring.original.tensor(array, crc), unit.codec, measuring)
                done = _kept_or_dropped(done, unit, out)
                if done != record:
                    records.save(out, done)


def _holds(record: Record, out: Path, fingerprint: dict[str, Any]) -> bool:
    """Whether a record's coding still stands, or its codec would take the program down once more."""
    if record.fingerprint != fingerprint:
        return False
    if record.row["error"]:
        return str(record.row["error"]).startswith(CRASHED)
    return (out / record.row["file"]).is_file()


def _code(
    unit: Unit, out: Path, image: Image.Image, target: Target, search: RateSearch, recorder: Recorder,
    fingerprint: dict[str, Any],
) -> list[Record]:  # fmt: skip
    """Code one target through the disk; its records, which are written, without metrics."""
    codec, places = unit.codec, unit.places(target)
    path = out / places[0].file(codec.suffix)
    made: list[Record] = []
    try:
        match = _match(codec, image, target, search)
        encoding = recorder.write(path, match.setting)
    except (Exception, SystemExit) as error:  # the codec's own error, of any kind: it is this row's result
        made = [_failure(place, unit, one_line(error), fingerprint) for place in places]
    for place in places[len(made) :]:
        try:
            decoded, decode_s = decode_from(path, codec, place.realism)
            if decoded.size != image.size:
                raise ValueError(f"came back as {decoded.width}x{decoded.height}")
        except (Exception, SystemExit) as error:
            made.append(_failure(place, unit, f"decoding: {one_line(error)}", fingerprint))
            continue
        pixels.write_lossless(out / place.reconstruction, decoded)
        records.drop_features(out, place)
        row = _row(place, unit) | _coded(place, unit, image, match, encoding, path) | {"decode_s": decode_s}
        made.append(Record(row, {}, {}, fingerprint))
    for record in made:
        records.save(out, record)
    return made


def _match(codec: Baseline, image: Image.Image, target: Target, search: RateSearch) -> Match:
    if target.kind == "bpp":
        return search.match(target.value * image.width * image.height / 8)
    control = codec.rate_control
    if not control.holds(target.value):
        raise ValueError(f"{control.name} lies in {control.smallest:g} to {control.largest:g}")
    return Match(target.value, 0, "reached", "")


def _coded(
    place: Place, unit: Unit, image: Image.Image, match: Match, encoding: Encoding, path: Path
) -> dict[str, Any]:
    """The columns of a row that say what was coded."""
    size = path.stat().st_size
    return {
        "width": image.width, "height": image.height, "bytes": size,
        "bpp": 8 * size / (image.width * image.height), "original": records.original(place.image),
        "file": place.file(unit.codec.suffix), "reconstruction": place.reconstruction if unit.keep else "",
        "sample_format": unit.codec.sample_format(path.read_bytes()), "rate_control": match.setting,
        "rate": match.rate, "reached": match.rate == "reached", "encode_s": encoding.seconds, "note": match.note,
    }  # fmt: skip


def _kept_or_dropped(record: Record, unit: Unit, out: Path) -> Record:
    """Let a reconstruction stand on the disk, and in its record, or not, as this run asks for it."""
    path = out / record.place.reconstruction
    if unit.keep and not path.is_file():
        pixels.write_lossless(path, pixels.reconstruction(out, record, unit.codec))
    if not unit.keep:
        path.unlink(missing_ok=True)
    return record._replace(row=record.row | {"reconstruction": record.place.reconstruction if unit.keep else ""})


def _row(place: Place, unit: Unit) -> dict[str, Any]:
    """The columns of a row, empty but for its place."""
    columns = ("width", "height", "bytes", "bpp", "original", "file", "reconstruction", "sample_format",
               "rate_control", "rate", "reached", "encode_s", "decode_s")  # fmt: skip
    return {**place._asdict(), **dict.fromkeys(columns), "note": "", "error": "", "source": unit.photo.source}


def _failure(place: Place, unit: Unit, error: str, fingerprint: dict[str, Any]) -> Record:
    return Record(_row(place, unit) | {"error": error}, {}, {}, fingerprint)


def _measured(record: Record, out: Path, x: Tensor, codec: Baseline, measuring: Measuring) -> Record:
    """The record with the metrics that it lacked; also writes the features that a set's metrics need."""
    wanted = [(metric, measure) for metric, measure in measuring.metrics if metric.name not in record.metrics]
    lacking = pixels.lacking_features(out, record.place, measuring.extractors, measuring.patch)
    if not wanted and not lacking:
        return record
    y = to_tensor(np.asarray(pixels.reconstruction(out, record, codec)))
    failed, metrics = dict(record.failed), dict(record.metrics)
    for metric, measure in wanted:
        try:
            value = measure(x, y)
            if not math.isfinite(value):
                raise ValueError("is not a number for this image")
            metrics[metric.name] = value
        except Exception as error:  # an image too small for a metric, or a library's own refusal
            failed[metric.name] = one_line(error)
    failed = {name: why for name, why in failed.items() if name not in metrics}
    for place, image in ((record.place, y), (records.original_place(record.place.image), x)):
        pixels.keep_features(out, place, image, measuring.extractors, measuring.patch)
    return record._replace(metrics=metrics, failed=failed)


def one_line(error: BaseException) -> str:
    """An error in one line; the kind is left out where it says no more than that a value was wrong."""
    kind = "" if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: "
    return f"{kind}{error}".splitlines()[0][:300]
