"""Where a study's images come from: an evaluation's folder, or folders of images. Nothing is decoded here."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gencomp.texts import csv_rows
from gencomp.walk import is_image

from ...metrics.table import METRICS, is_of_sets
from ..plan import StudyError


class StudyImage(NamedTuple):
    """One photograph coded one way."""

    image: str
    codec: str
    setting: str
    realism: float | None
    original: Path
    reconstruction: Path
    bpp: float | None
    metrics: dict[str, float]

    @property
    def key(self) -> tuple[str, str, float | None]:
        return self.codec, self.setting, self.realism


class CodecFolder(NamedTuple):
    """A folder of one codec's reconstructions, named like the originals."""

    codec: str
    bpp: float | None
    folder: Path


def from_evaluation(folder: Path, originals: Path | None = None) -> list[StudyImage]:
    """The codings listed in an evaluation's results.csv that have a reconstruction on disk. Originals: the column
    `original`, else a file of the image's name in `originals` or in folder/originals."""
    table = folder / "results.csv"
    if not table.is_file():
        raise StudyError(f"{folder} holds no results.csv: give the --out folder of a `gencomp eval` run")
    try:
        columns, rows = csv_rows(table.read_text("utf-8"))
    except csv.Error as error:
        raise StudyError(f"{table} is no table ({error})") from error
    if missing := {"image", "codec", "setting", "reconstruction"} - set(columns):
        raise StudyError(f"{table} lacks the column {', '.join(sorted(missing))}")
    named, found = _images(originals) if originals else {}, []
    for row in rows:
        cell = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        if not cell["reconstruction"]:
            continue  # a codec that failed on this image, or could not reach the rate
        original = named.get(cell["image"]) or named.get(Path(cell["image"]).stem)
        if original is None:
            original = _inside(folder, cell.get("original") or f"originals/{cell['image']}.png")
        if not original.is_file():
            raise StudyError(f"the original of {cell['image']} is not at {original}; name its folder with --originals")
        reconstruction = _inside(folder, cell["reconstruction"])
        if not reconstruction.is_file():
            raise StudyError(f"{reconstruction} is named in {table} but is not there")
        numbers = _numbers({name: cell.get(name) for name in ("realism", "bpp", *METRICS)})
        realism, bpp, files = numbers.pop("realism", None), numbers.pop("bpp", None), (original, reconstruction)
        found.append(StudyImage(cell["image"], cell["codec"], cell["setting"], realism, *files, bpp, numbers))
    return found


def from_folders(originals: Path, folders: Sequence[CodecFolder]) -> list[StudyImage]:
    """Images of equal stems in `originals` and in each codec's folder. Every folder must hold some of them."""
    sources = _images(originals)
    named = [(codec, bpp) for codec, bpp, _ in folders]
    if twice := next((codec for codec, bpp in named if named.count((codec, bpp)) > 1), None):
        raise StudyError(f"--folder {twice} is given twice; tell them apart by their rates: {twice}@BPP=FOLDER")
    coded = []
    for codec, bpp, folder in folders:
        there = _images(folder)
        if not set(there) & set(sources):
            raise StudyError(f"no image in {folder} has the name of one in {originals}")
        setting = "" if bpp is None else f"{bpp:g} bpp"
        for stem in sorted(set(there) & set(sources)):
            coded.append(StudyImage(stem, codec, setting, None, sources[stem], there[stem], bpp, {}))
    return coded


def set_measures(folder: Path) -> dict[tuple[str, str, float | None], dict[str, float]]:
    """Measures over the whole set of images (fid, kid) by (codec, setting, realism), from results.json."""
    path = folder / "results.json"
    if not path.is_file():
        return {}
    try:
        found = {}
        for row in json.loads(path.read_text("utf-8"))["sets"]:
            key = str(row["codec"]), str(row["setting"]), finite(row["realism"])
            found[key] = _numbers({name: value for name, value in row.items() if is_of_sets(name)})
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{path} cannot be read ({error!r})") from error


def finite(value: object) -> float | None:
    """A number from a table's cell, or None where it holds none."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _numbers(cells: Mapping[str, object]) -> dict[str, float]:
    numbers = {name: finite(value) for name, value in cells.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def _images(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.is_file() and is_image(path):
            if path.stem in found:
                raise StudyError(f"{found[path.stem]} and {path} have the same name; keep one of them")
            found[path.stem] = path
    if not found:
        raise StudyError(f"{folder} holds no images")
    return found


def _inside(folder: Path, name: str) -> Path:
    """A path of the table under its folder; a table that points elsewhere is refused."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise StudyError(f"{folder / 'results.csv'} names {name!r}, which lies outside its folder")
    return path
