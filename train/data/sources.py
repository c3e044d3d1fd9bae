"""Where photographs come from: folders, parquet files and hub names, all read through `datasets` or from disk.

A source is indexed by number and gives undecoded bytes with a name, so that whatever is broken can be skipped and
named. For sets that are larger than the disk, see streams.py.
"""

import io
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from gencomp.image import read_image
from gencomp.kinds import open_image
from gencomp.walk import Walk, is_image, merged, walk

BY_AREA = 20_000  # photographs up to which their sizes are looked up, to draw large ones more often
AREA_CAP = 2_000_000  # pixels beyond which a photograph is not drawn more often, and to which larger ones are scaled
SMALLEST = 16  # pixels a photograph must have per side


class DataError(ValueError):
    """Photographs that are not there or cannot be told apart."""


class Photograph(NamedTuple):
    """name for messages; data: an encoded image."""

    name: str
    data: bytes


class Decoded(NamedTuple):
    """pixels uint8 [H, W, 3]; lossless: whether the file kept every pixel (PNG, lossless WebP, TIFF, BMP, PPM)."""

    pixels: np.ndarray
    lossless: bool


class ImageTable:
    """Rows of a `datasets.Dataset` with a column of images."""

    def __init__(self, name: str, rows: Any) -> None:
        import datasets

        self.place, self.column = name, image_column(name, rows.features)
        self.rows = rows.cast_column(self.column, datasets.Image(decode=False)).select_columns([self.column])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Photograph:
        return photograph_of(self.rows[index][self.column], self.name(index))

    def name(self, index: int) -> str:
        return f"{self.place} row {index}"


Source = list[Path] | ImageTable
"""The images of a folder, sorted by path, or rows of a table."""


def photograph_of(cell: dict[str, Any] | bytes | None, name: str) -> Photograph:
    """A cell of an undecoded image column: bytes, or a dictionary of bytes or a path."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if data is None and isinstance(cell, dict) and Path(cell.get("path") or "").is_file():
        data = Path(cell["path"]).read_bytes()
    return Photograph(name, data or b"")


def image_column(name: str, features: Any) -> str:
    """The column of type Image: the only one, or the one called 'image'."""
    import datasets

    found = [key for key, feature in (features or {}).items() if isinstance(feature, datasets.Image)]
    if len(found) != 1 and "image" not in (features or {}):
        raise DataError(f"{name} has {'no' if not found else 'several'} image columns: {', '.join(features or {})}")
    return found[0] if len(found) == 1 else "image"


def open_source(name: str, walks: list[Walk]) -> Source:
    """A folder of images or of parquet files, whose walk is added to `walks`, a parquet file, or a name on the hub.
    DataError if it holds none."""
    path = Path(name)
    if path.is_dir():
        tables = walk(path, lambda file: file.suffix == ".parquet")
        walks.append(tables if tables.files else walk(path, is_image))
        files = walks[-1].files
        source: Source = ImageTable(name, load_rows("parquet", [*map(str, files)])) if tables.files else files
    elif path.suffix == ".parquet":
        if not path.is_file():
            raise DataError(f"no file {name}")
        source = ImageTable(name, load_rows("parquet", [name]))
    elif path.exists():
        raise DataError(f"{name} is neither a folder nor a parquet file")
    elif path.is_absolute() or name.startswith(".") or name.endswith("/"):
        raise DataError(f"no folder {name}")
    else:
        source = ImageTable(name, load_rows(name, None))
    if not len(source):
        raise DataError(f"no photographs under {name}")
    return source


def load_rows(name: str, files: list[str] | None) -> Any:
    """`datasets.load_dataset`, its many errors as one."""
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, data_files=files, split="train")
    except Exception as error:  # absent, offline, no access, no such split: each library has its own family
        hint = "" if files else f" (no folder of this name either; --data {name} was taken for a name on the hub)"
        raise DataError(f"{name} cannot be loaded: {first_line(error)}{hint}") from error


def first_line(error: Exception) -> str:
    """What an error of another library says, for one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


class Sources:
    """Several sources as one list; indices run through them in order. left_out: what their folders hold besides."""

    def __init__(self, names: list[str]) -> None:
        walks: list[Walk] = []
        self.parts = [open_source(name, walks) for name in names]
        self.left_out = merged(walks).told()
        self.ends = list(itertools.accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Photograph:
        source, within = self.find(index)
        found = source[within]
        return Photograph(str(found), found.read_bytes()) if isinstance(found, Path) else found

    def name(self, index: int) -> str:
        """For messages, without reading."""
        source, within = self.find(index)
        return source.name(within) if isinstance(source, ImageTable) else str(source[within])

    def find(self, index: int) -> tuple[Source, int]:
        """The source of a photograph, and its place there."""
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[which], index - (self.ends[which - 1] if which else 0)


def odds(source: Sources) -> np.ndarray | None:
    """Chance of each photograph, by its area up to AREA_CAP; None, all alike, for more than BY_AREA of them.

    Only headers of files are read. Rows of tables, whose sizes stand inside the images, count as the mean of the files,
    all alike where there are no files.
    """
    if len(source) > BY_AREA:
        return None
    areas = np.full(len(source), np.nan)
    for index in range(len(source)):
        part, within = source.find(index)
        if isinstance(part, ImageTable):
            continue
        try:
            with open_image(part[within]) as image:
                areas[index] = min(AREA_CAP, image.width * image.height)
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
            areas[index] = 1  # it is drawn once in a long while, and then named
    areas = np.where(np.isnan(areas), 1.0 if np.isnan(areas).all() else np.nanmean(areas), areas)
    return areas / areas.sum()


def decode(photograph: Photograph) -> Decoded | None:
    """None where it is broken or smaller than 16 pixels per side.

    A JPEG of several times AREA_CAP is decoded at a half, a quarter or an eighth of its sides, still above the cap: it
    would be scaled down to it anyway.
    """
    try:
        image = open_image(io.BytesIO(photograph.data))
        factor = (AREA_CAP / (image.width * image.height)) ** 0.5
        if factor < 1:
            image.draft(None, (int(image.width * factor), int(image.height * factor)))  # JPEG alone does anything here
        pixels = np.asarray(read_image(image))
    except Exception:  # whatever a decoder raises for broken bytes, the image is skipped and named
        return None
    return Decoded(pixels, is_lossless(photograph.data)) if min(pixels.shape[:2]) >= SMALLEST else None


def is_lossless(data: bytes) -> bool:
    """Whether an encoded image keeps every pixel, by its first bytes."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return b"VP8L" in data[12:64] or (data[12:16] == b"VP8X" and b"VP8 " not in data and b"VP8L" in data)
    return data.startswith((b"\x89PNG", b"II*\0", b"MM\0*", b"BM", b"P3", b"P5", b"P6"))
