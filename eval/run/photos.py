"""Which photographs are evaluated: folders, files, lists of files, or a data set of the `datasets` library."""

import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from gencomp.image import read_image
from gencomp.walk import Walk, is_image, walk

HUB = "datasets:"


class PhotosError(ValueError):
    """No photographs under a name that the user gave."""


class Photo(NamedTuple):
    """A photograph that has not been read yet: `name` is unique in the run and safe as a file name."""

    name: str
    source: str
    read: Callable[[], Image.Image]


def find(sources: Sequence[str], limit: int | None = None, walks: list[Walk] | None = None) -> list[Photo]:
    """The photographs of all sources in order, at most `limit`. walks: what folders hold is added to it.

    A source is a folder (walked), an image, a text file with one path a line (relative to the list's folder), a data
    set saved on this disk, or a name of `datasets`: datasets:NAME[:SPLIT], or NAME[:SPLIT] where it has been loaded
    before (a mistyped folder shall not wait for a server). Raises PhotosError.
    """
    photos: list[Photo] = []
    walks = [] if walks is None else walks
    for source in sources:
        photos += _of_source(source, walks)
        if limit is not None and len(photos) >= limit:
            break
    return _with_unique_names(photos[:limit])


def _of_source(source: str, walks: list[Walk]) -> list[Photo]:
    path = Path(source)
    if source.startswith(HUB):
        return _of_datasets(source.removeprefix(HUB))
    if path.is_dir():
        inside = walk(path, is_image)
        if inside.files:
            walks.append(inside)
            return [_of_file(p, "_".join(p.relative_to(path).with_suffix("").parts)) for p in inside.files]
        if any(path.glob("*.parquet")) or any(path.glob("*.arrow")):
            return _of_datasets(source)
        raise PhotosError(f"{path}: no image in this folder")
    if path.is_file():
        return _of_list(path) if path.suffix.lower() in (".txt", ".list") else [_of_file(path, path.stem)]
    if _is_cached(source.partition(":")[0]):
        return _of_datasets(source)
    raise PhotosError(f"{source}: no such folder, image or list (a data set's name is written {HUB}NAME)")


def _of_file(path: Path, name: str) -> Photo:
    return Photo(name, str(path), partial(read_image, path, max_pixels=None))


def _of_list(path: Path) -> list[Photo]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise PhotosError(f"{path}: not a list of images (no text)") from error
    named = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not named:
        raise PhotosError(f"{path}: the list names no image")
    return [_of_file(p, p.stem) for p in named]


def _is_cached(name: str) -> bool:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        return False
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE, name.replace("/", "___")).is_dir()


def _of_datasets(name: str) -> list[Photo]:
    import datasets

    name, _, split = name.partition(":")
    try:
        if Path(name, "dataset_info.json").is_file() or Path(name, "dataset_dict.json").is_file():
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name)
    except Exception as error:  # the library raises a wide family: unknown, offline, broken
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PhotosError(f"{name}: no data set of this name could be loaded ({reason})") from error
    if isinstance(loaded, dict):
        if split and split not in loaded:
            raise PhotosError(f"{name} has no split {split}; it has {', '.join(loaded)}")
        loaded = loaded[split] if split else next(iter(loaded.values()))
    columns = [column for column, feature in loaded.features.items() if isinstance(feature, datasets.Image)]
    if not columns:
        raise PhotosError(f"{name}: the data set has no column of images")
    files = loaded.cast_column(columns[0], datasets.Image(decode=False))  # not opened by the library, which tries all
    return [
        Photo(f"{Path(name).name}_{k:05d}", f"{name}[{k}]", partial(_read_row, files, k, columns[0]))
        for k in range(len(files))
    ]


def _read_row(rows: Any, index: int, column: str) -> Image.Image:
    cell = rows[index][column]
    return read_image(cell["path"] if cell["bytes"] is None else io.BytesIO(cell["bytes"]), max_pixels=None)


def _with_unique_names(photos: list[Photo]) -> list[Photo]:
    """Names as file names, the second of a name with a number behind it; names that differ in case alone are one."""
    seen: dict[str, int] = {}
    unique = []
    for photo in photos:
        name = re.sub(r"[^\w.-]", "_", photo.name) or "_"
        key = unicodedata.normalize("NFC", name).casefold()
        seen[key] = seen.get(key, 0) + 1
        unique.append(photo._replace(name=name if seen[key] == 1 else f"{name}~{seen[key]}"))
    return unique
