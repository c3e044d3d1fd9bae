"""The work on one picture and one codec: rate search, coding through the disk, measuring.

What fails is written into the picture's cell, not raised: the rest goes on.
"""

import io
import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from gencomp.files import write_atomically
from gencomp.image import read_image, to_tensor

from ..codecs.baseline import Peer
from ..metrics.measures import Meter
from ..metrics.networks import Extract, extract_all, patches
from . import crashes
from . import records as cells
from .coding import decode_from, encode_to
from .photos import Photo
from .rates import Match, RateSearch
from .records import Cell, Place, Target


class Measuring(NamedTuple):
    """What is measured: meters of single pictures; extractors by feature name, with the side of their patches."""

    meters: list[Meter]
    extractors: dict[str, Extract]
    patch: int


class Unit(NamedTuple):
    """One picture through one codec, at all its targets and realisms."""

    photo: Photo
    peer: Peer
    targets: list[Target]
    realisms: tuple[float, ...]

    def places(self, target: Target) -> list[Place]:
        """The reconstructions of a target: one a realism, or one alone of a codec that knows none."""
        realisms: tuple[float | None, ...] = self.realisms if self.peer.has_realism else (None,)
        return [Place(self.photo.name, self.peer.name, target.setting(self.peer), r) for r in realisms]


def work(unit: Unit, out: Path, measuring: Measuring) -> None:
    """Bring every cell of a unit up to date: code what is missing or stale, then measure what is missing."""
    try:
        picture = unit.photo.read()
    except Exception as error:  # pictures come from outside: any reader's error is the answer
        why = "the picture cannot be read: " + _line(error).removeprefix("the picture cannot be read: ")
        for target in unit.targets:
            for place in unit.places(target):
                cells.save(out, _failure(place, unit, why, {}))
        return
    pixels = np.asarray(picture)
    made_of = {"peer": unit.peer.note, "pixels": zlib.crc32(pixels.tobytes())}
    _keep_original(out, unit.photo.name, picture)
    search = RateSearch(unit.peer.knob, lambda s: len(unit.peer.encode(picture, s)), picture.width * picture.height)
    for target in unit.targets:
        places = unit.places(target)
        if not all(_holds(cells.load(out, place), out, made_of) for place in places):
            with crashes.noted(out, [_failure(place, unit, "", made_of) for place in places]):
                _code(unit, out, picture, target, search, made_of)
        for place in places:
            cell = cells.load(out, place)
            if cell is not None and not cell.row["error"]:
                _measure(cell, out, to_tensor(pixels), measuring)


def _holds(cell: Cell | None, out: Path, made_of: dict[str, Any]) -> bool:
    """Whether a cell's coding still stands, or its codec would take the program down once more."""
    if cell is None or cell.made_of != made_of:
        return False
    if cell.row["error"]:
        return str(cell.row["error"]).startswith(crashes.CRASHED)
    return (out / cell.row["file"]).is_file() and (out / cell.row["reconstruction"]).is_file()


def _code(
    unit: Unit, out: Path, picture: Image.Image, target: Target, search: RateSearch, made_of: dict[str, Any]
) -> None:
    """Code one target through the disk and write its cells, without measures."""
    peer, places = unit.peer, unit.places(target)
    path = out / places[0].file(peer.suffix)
    try:
        match = _match(peer, picture, target, search)
        path.parent.mkdir(parents=True, exist_ok=True)
        encode_s = encode_to(path, peer, picture, match.setting)
    except (Exception, SystemExit) as error:  # the codec's own error, of any kind: it is this row's result
        for place in places:
            cells.save(out, _failure(place, unit, _line(error), made_of))
        return
    for place in places:
        try:
            decoded, decode_s = decode_from(path, peer, 1.0 if place.realism is None else place.realism)
            if decoded.size != picture.size:
                raise ValueError(f"came back as {decoded.width}x{decoded.height}")
        except (Exception, SystemExit) as error:
            cells.save(out, _failure(place, unit, f"decoding: {_line(error)}", made_of))
            continue
        _write_png(out / place.reconstruction, decoded)
        cells.drop_features(out, place)
        size = path.stat().st_size
        row = _row(place, unit) | {
            "width": picture.width, "height": picture.height, "bytes": size,
            "bpp": 8 * size / (picture.width * picture.height), "original": cells.original(place.image),
            "file": place.file(peer.suffix), "reconstruction": place.reconstruction, "knob": match.setting,
            "reached": match.matched, "encode_s": encode_s, "decode_s": decode_s, "note": match.note,
        }  # fmt: skip
        cells.save(out, Cell(row, {}, {}, made_of))


def _match(peer: Peer, picture: Image.Image, target: Target, search: RateSearch) -> Match:
    if target.kind == "bpp":
        return search.match(target.value * picture.width * picture.height / 8)
    if not peer.knob.holds(target.value):
        raise ValueError(f"{peer.knob.name} lies in {peer.knob.smallest:g} to {peer.knob.largest:g}")
    return Match(target.value, 0, True, "")


def _row(place: Place, unit: Unit) -> dict[str, Any]:
    """The columns of a row, empty but for its place."""
    columns = ("width", "height", "bytes", "bpp", "original", "file", "reconstruction", "knob", "reached")
    empty = dict.fromkeys((*columns, "encode_s", "decode_s"))
    return {**place._asdict(), **empty, "note": "", "error": "", "source": unit.photo.source}


def _failure(place: Place, unit: Unit, error: str, made_of: dict[str, Any]) -> Cell:
    return Cell(_row(place, unit) | {"error": error}, {}, {}, made_of)


def _measure(cell: Cell, out: Path, x: Tensor, measuring: Measuring) -> None:
    """Add the measures that a cell lacks, and the features that a set's measures need."""
    wanted = [m for m in measuring.meters if not all(c in cell.metrics for c in m.columns)]
    features = [f for f in _feature_names(measuring) if not (out / cell.place.features(f)).is_file()]
    if not wanted and not features:
        return
    y = to_tensor(np.asarray(read_image(out / cell.row["reconstruction"], max_pixels=None)))
    failed = dict(cell.failed)
    metrics = dict(cell.metrics)
    for meter in wanted:
        try:
            values = meter.measure(x, y)
            if not all(map(math.isfinite, values)):
                raise ValueError("is not a number for this picture")
            metrics.update(zip(meter.columns, values, strict=True))
        except Exception as error:  # a picture too small for a measure, or a library's own refusal
            failed.update(dict.fromkeys(meter.columns, _line(error)))
    failed = {name: why for name, why in failed.items() if name not in metrics}
    cells.save(out, cell._replace(metrics=metrics, failed=failed))
    _extract(out, cell.place, y, measuring)
    _extract(out, cells.original_place(cell.place.image), x, measuring)


def _feature_names(measuring: Measuring) -> list[str]:
    """Folders of features: patches of a side, and whole pictures."""
    return [f for name in measuring.extractors for f in feature_folders(name, measuring.patch)]


def feature_folders(name: str, patch: int) -> tuple[str, str]:
    """The folders of an extractor's features of patches and of whole pictures."""
    plain = name.replace(":", "-")
    return f"{plain}-{patch}", f"{plain}-whole"


def _extract(out: Path, place: Place, picture: Tensor, measuring: Measuring) -> None:
    """Write the features of one picture where they are missing: (patches, D), and (1, D) for the whole."""
    whole = (255 * picture).round().byte()
    for name, extract in measuring.extractors.items():
        for folder in feature_folders(name, measuring.patch):
            path = out / place.features(folder)
            if path.is_file():
                continue
            pieces = whole if folder.endswith("-whole") else patches(whole[0], measuring.patch)
            stream = io.BytesIO()
            np.save(stream, extract_all(extract, pieces).numpy() if len(pieces) else np.zeros((0, 0), np.float32))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, stream.getvalue())


def _keep_original(out: Path, name: str, picture: Image.Image) -> None:
    path = out / cells.original(name)
    if path.is_file():
        try:
            with Image.open(path) as kept:
                if kept.size == picture.size and np.array_equal(np.asarray(kept), np.asarray(picture)):
                    return
        except OSError:  # a damaged file is replaced
            path.unlink(missing_ok=True)
    _write_png(path, picture)
    cells.drop_features(out, cells.original_place(name))


def _write_png(path: Path, picture: Image.Image) -> None:
    """A PNG at a quick level of compression, whole or not at all."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, stream.getvalue())


def _line(error: BaseException) -> str:
    """An error in one line; the kind is left out where it says no more than that a value was wrong."""
    kind = "" if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: "
    return f"{kind}{error}".splitlines()[0][:300]
