"""What is asked of a run and how its parts are kept on disk: a record is one image, coded one way.

An evaluation's folder holds

    originals/IMAGE.webp                         as they were coded: sRGB, 8 bits, upright; lossless
    files/CODEC/SETTING/IMAGE.suffix             what is counted
    reconstructions/CODEC/SETTING/IMAGE.webp     what is measured, lossless; SETTING-rX at realism X
    records/...                                  the same tree: one JSON file per reconstruction, with all its metrics
    features/...                                 feature vectors for FID and KID
    results.json, results.csv, tables/, plots/, index.html

A record is written when its work is done, so a run that is interrupted goes on where it was; a record that was made
from other pixels, or by another version of a codec, is made anew.

A codec's native code may take its process down. Before it is called, the records that would say of its failure are
written beside the results, and removed when it has returned; whoever waited for a process that ended in between makes
results of them. Such a result stands until the codec or the image changes.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gencomp.files import write_atomically

from ..codecs.baseline import Baseline

CRASHED = "crashed the program"


class Target(NamedTuple):
    """What a codec is asked for: files of `value` bits per pixel, or one setting of its rate control for all images."""

    kind: str  # "bpp" or "setting"
    value: float
    codec: str | None = None  # None: every codec

    def setting(self, codec: Baseline) -> str:
        """The name of this operating point in the results."""
        return f"{self.value:g} bpp" if self.kind == "bpp" else f"{codec.rate_control.name} {self.value:g}"


@dataclass(frozen=True)
class EvaluationOptions:
    """What a run was asked for; it can be sent to a process.

    jobs: worker processes, 0 for none; keep: of how many images reconstructions stay; overwrite: whether files in `out`
    that are not the program's may go; left_out: what the folders of photographs hold besides, in words.
    """

    sources: tuple[str, ...]
    out: Path
    codecs: tuple[str, ...]
    targets: tuple[Target, ...]
    realisms: tuple[float, ...] = (1.0,)
    metrics: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    weights: Path | None = None
    patch: int = 256
    anchor: str = "avif"
    window: tuple[float, float] | None = None
    jobs: int = 0
    keep: int = 0
    overwrite: bool = False
    device: str = "auto"
    left_out: str = ""


class Place(NamedTuple):
    """One reconstruction's place in an evaluation's folder, and in its results."""

    image: str
    codec: str
    setting: str
    realism: float | None  # None: the codec knows none

    @property
    def _folder(self) -> str:
        setting = self.setting.replace(" ", "-")
        return f"{self.codec}/{setting}" if self.realism is None else f"{self.codec}/{setting}-r{self.realism:g}"

    @property
    def reconstruction(self) -> str:
        return f"reconstructions/{self._folder}/{self.image}.webp"

    @property
    def record(self) -> str:
        return f"records/{self._folder}/{self.image}.json"

    @property
    def set(self) -> str:
        """Where the metrics of the whole set at this operating point are kept."""
        return f"sets/{self._folder}.json"

    def features(self, name: str) -> str:
        return f"features/{name}/{self._folder}/{self.image}.npy"

    def file(self, suffix: str) -> str:
        """The coded file, which is the same for every realism."""
        return f"files/{self.codec}/{self.setting.replace(' ', '-')}/{self.image}{suffix}"


class Record(NamedTuple):
    """All that is known of one reconstruction.

    row: the columns of the results but for the metrics; metrics: numbers by name; failed: why a metric is missing;
    fingerprint: what the numbers depend on, to know whether they still hold.
    """

    row: dict[str, Any]
    metrics: dict[str, float]
    failed: dict[str, str]
    fingerprint: dict[str, Any]

    @property
    def place(self) -> Place:
        return Place(*(self.row[key] for key in Place._fields))


def original(image: str) -> str:
    """Where the original of an image stands."""
    return f"originals/{image}.webp"


def original_place(image: str) -> Place:
    """The place whose features are those of an original."""
    return Place(image, "original", "none", None)


def drop_features(out: Path, place: Place) -> None:
    """Forget the feature vectors of a place whose pixels have changed."""
    for folder in (out / "features").glob("*"):
        (out / place.features(folder.name)).unlink(missing_ok=True)


def load(path: Path) -> Record | None:
    """The record in a file, or None where there is none that can be read."""
    try:
        return Record(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def load_all(out: Path, images: set[str]) -> list[Record]:
    """Every record that an evaluation has of some images, in the order of their paths."""
    found = (load(path) for path in sorted((out / "records").rglob("*.json")))
    return [record for record in found if record is not None and record.place.image in images]


def save(out: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_json(out / record.place.record, record._asdict())


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)


def write_json(path: Path, value: Any) -> None:
    """Write plain values, whole or not at all."""
    write(path, json.dumps(value, indent=1).encode())


@contextmanager
def noted(note: Path, failures: Sequence[Record]) -> Iterator[None]:
    """Keep on disk, for as long as the work inside lasts, which records have failed if the process does not survive."""
    write_json(note, [record._asdict() for record in failures])
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def keep_noted(out: Path, note: Path, fault: str) -> str | None:
    """Save the records that a dead process has noted; which codec and image they are of, or None without any."""
    try:
        failures = [Record(**record) for record in json.loads(note.read_text("utf-8"))]
        note.unlink()
    except (OSError, ValueError, TypeError):
        return None
    for record in failures:
        save(out, record._replace(row=record.row | {"error": f"{CRASHED} ({fault})"}))
    return f"{failures[0].place.codec}, {failures[0].place.image} at {failures[0].place.setting}"
