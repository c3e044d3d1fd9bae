"""What is asked of a run and how its parts are kept on disk: a cell is one picture, coded one way.

An evaluation's folder holds

    originals/IMAGE.png                          as they were coded: sRGB, 8 bits, upright
    files/CODEC/SETTING/IMAGE.suffix             what is counted
    reconstructions/CODEC/SETTING/IMAGE.png      what is measured; SETTING-rX at realism X
    cells/...                                    the same tree: one JSON file a reconstruction, with all its figures
    features/...                                 feature vectors for FID and KID
    results.json, results.csv, plots/, index.html

A cell is written when its work is done, so a run that is interrupted goes on where it was; a cell that was made from
other pixels, or by another version of a codec, is made anew.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from gencomp.files import write_atomically

from ..codecs.baseline import Peer


class Target(NamedTuple):
    """What a codec is asked for: files of `value` bits a pixel, or one setting `value` of its knob for all pictures."""

    kind: str  # "bpp" or "quality"
    value: float
    codec: str | None = None  # None: every codec

    def setting(self, peer: Peer) -> str:
        """The name of this operating point in the results."""
        return f"{self.value:g} bpp" if self.kind == "bpp" else f"{peer.knob.name} {self.value:g}"


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
        return f"reconstructions/{self._folder}/{self.image}.png"

    @property
    def cell(self) -> str:
        return f"cells/{self._folder}/{self.image}.json"

    def features(self, name: str) -> str:
        return f"features/{name}/{self._folder}/{self.image}.npy"

    def file(self, suffix: str) -> str:
        """The coded file, which is the same for every realism."""
        return f"files/{self.codec}/{self.setting.replace(' ', '-')}/{self.image}{suffix}"


class Cell(NamedTuple):
    """All that is known of one reconstruction.

    row: the columns of the results but for the measures; metrics: measures by name; failed: why a measure is missing;
    made_of: what the figures depend on, to know whether they still hold.
    """

    row: dict[str, Any]
    metrics: dict[str, float]
    failed: dict[str, str]
    made_of: dict[str, Any]

    @property
    def place(self) -> Place:
        return Place(*(self.row[key] for key in Place._fields))


def original(image: str) -> str:
    """Where the original of an image stands."""
    return f"originals/{image}.png"


def original_place(image: str) -> Place:
    """The place whose features are those of an original."""
    return Place(image, "original", "none", None)


def drop_features(out: Path, place: Place) -> None:
    """Forget the feature vectors of a place whose pixels have changed."""
    for folder in (out / "features").glob("*"):
        (out / place.features(folder.name)).unlink(missing_ok=True)


def load(out: Path, place: Place) -> Cell | None:
    """The cell of a place, or None where there is none that can be read."""
    return _read(out / place.cell)


def load_all(out: Path) -> list[Cell]:
    """Every cell of an evaluation, in the order of their paths."""
    cells = (_read(path) for path in sorted((out / "cells").rglob("*.json")))
    return [cell for cell in cells if cell is not None]


def save(out: Path, cell: Cell) -> None:
    """Write a cell, whole or not at all."""
    path = out / cell.place.cell
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(cell._asdict(), indent=1).encode())


def _read(path: Path) -> Cell | None:
    try:
        return Cell(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
