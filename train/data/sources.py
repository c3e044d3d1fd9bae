"""Where photographs come from: folders, parquet files and hub names, all read through `datasets` or from disk.

A source is indexed by number and gives undecoded bytes with a name, so that whatever is broken can be skipped and
named.
"""

import io
import itertools
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from gencomp.files import IMAGE_SUFFIXES
from gencomp.image import read_image

BY_AREA = 20_000  # photographs up to which their sizes are looked up, to draw large ones more often
AREA_CAP = 2_000_000  # pixels beyond which a photograph is not drawn more often


class SourceError(ValueError):
    """Photographs that are not there or cannot be told apart."""


class Photograph(NamedTuple):
    """name for messages; data: an encoded picture."""

    name: str
    data: bytes


class Source(Protocol):
    """A fixed list of photographs."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Photograph: ...

    def header(self, index: int) -> Path | io.BytesIO:
        """What Pillow opens to learn the picture's size."""
        ...


class Folder:
    """All pictures under a folder, sorted by path."""

    def __init__(self, folder: Path) -> None:
        self.paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Photograph:
        return Photograph(str(self.paths[index]), self.paths[index].read_bytes())

    def header(self, index: int) -> Path | io.BytesIO:
        return self.paths[index]


class Table:
    """Rows of a `datasets.Dataset` with a column of pictures."""

    def __init__(self, name: str, rows: Any) -> None:
        import datasets

        self.name, self.column = name, picture_column(name, rows.features)
        self.rows = rows.cast_column(self.column, datasets.Image(decode=False)).select_columns([self.column])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Photograph:
        return photograph_of(self.rows[index][self.column], f"{self.name} row {index}")

    def header(self, index: int) -> Path | io.BytesIO:
        return io.BytesIO(self[index].data)


def photograph_of(cell: dict[str, Any] | None, name: str) -> Photograph:
    """A cell of an undecoded picture column, which holds bytes or a path."""
    if cell is None:
        return Photograph(name, b"")
    data = cell.get("bytes")
    if data is None and cell.get("path"):
        path = Path(cell["path"])
        data = path.read_bytes() if path.is_file() else b""
    return Photograph(name, data or b"")


def picture_column(name: str, features: Any) -> str:
    """The column of type Image: the only one, or the one called 'image'."""
    import datasets

    found = [key for key, feature in (features or {}).items() if isinstance(feature, datasets.Image)]
    if len(found) != 1 and "image" not in found:
        raise SourceError(f"{name} has {'no' if not found else 'several'} picture columns: {', '.join(features or {})}")
    return "image" if "image" in found else found[0]


def open_source(name: str) -> Source:
    """A folder of pictures or of parquet files, a parquet file, or a name on the hub. SourceError if it holds none."""
    path = Path(name)
    if path.is_dir():
        tables = sorted(str(p) for p in path.rglob("*.parquet"))
        source: Source = Table(name, load_rows("parquet", tables)) if tables else Folder(path)
    elif path.suffix == ".parquet":
        if not path.is_file():
            raise SourceError(f"no file {name}")
        source = Table(name, load_rows("parquet", [name]))
    elif path.exists():
        raise SourceError(f"{name} is neither a folder nor a parquet file")
    elif path.is_absolute() or name.startswith(".") or name.endswith("/"):
        raise SourceError(f"no folder {name}")
    else:
        source = Table(name, load_rows(name, None))
    if not len(source):
        raise SourceError(f"no photographs under {name}")
    return source


def load_rows(name: str, files: list[str] | None, **more: Any) -> Any:
    """`datasets.load_dataset`, its many errors as one."""
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, data_files=files, split="train", **more)
    except Exception as error:  # absent, offline, no access, no such split: each library has its own family
        first = (str(error).splitlines() or [type(error).__name__])[0]
        hint = "" if files else f" (no folder of this name either; --data {name} was taken for a name on the hub)"
        raise SourceError(f"{name} cannot be loaded: {first}{hint}") from error


class Sources:
    """Several sources as one list; indices run through them in order."""

    def __init__(self, names: list[str]) -> None:
        self.parts = [open_source(name) for name in names]
        self.ends = list(itertools.accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Photograph:
        source, within = self._find(index)
        return source[within]

    def header(self, index: int) -> Path | io.BytesIO:
        source, within = self._find(index)
        return source.header(within)

    def _find(self, index: int) -> tuple[Source, int]:
        which = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[which], index - (self.ends[which - 1] if which else 0)


def odds(source: Sources) -> np.ndarray | None:
    """Chance of each photograph, by its area up to AREA_CAP; None, all alike, for more than BY_AREA of them."""
    if len(source) > BY_AREA:
        return None
    areas = np.zeros(len(source))
    for index in range(len(source)):
        try:
            with Image.open(source.header(index)) as picture:
                areas[index] = min(AREA_CAP, picture.width * picture.height)
        except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
            areas[index] = 1  # it is drawn once in a long while, and then named
    return areas / areas.sum()


def decode(photograph: Photograph) -> np.ndarray | None:
    """uint8 [H, W, 3], or None where it is broken or smaller than 16 pixels a side."""
    try:
        pixels = np.asarray(read_image(io.BytesIO(photograph.data)))
    except Exception:  # whatever a decoder raises for broken bytes, the picture is skipped and named
        return None
    return pixels if min(pixels.shape[:2]) >= 16 else None
