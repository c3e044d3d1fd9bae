"""Images and feature vectors of an evaluation on the disk. Images are lossless WebP, PNG where they are too large."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gencomp.image import read_image
from gencomp.kinds import ImageError, open_image, saved

from ..codecs.baseline import Baseline
from ..metrics.networks import Extract, extract_all, patches
from . import records
from .coding import decode_from
from .records import Place, Record

WEBP_SIDE = 16383  # pixels, the largest of the format


def write_lossless(path: Path, image: Image.Image) -> None:
    """An image, whole or not at all: three quarters of a PNG's bytes in the time of one."""
    if max(image.size) > WEBP_SIDE:
        records.write(path, saved(image, "PNG", compress_level=3))  # readers look at the content, not at the suffix
    else:
        records.write(path, saved(image, "WEBP", lossless=True, quality=20, method=1))


def keep_original(out: Path, name: str, image: Image.Image) -> None:
    """Write an original, unless the same pixels stand there already."""
    path = out / records.original(name)
    if path.is_file():
        try:
            with open_image(path) as kept:
                if kept.size == image.size and np.array_equal(np.asarray(kept.convert("RGB")), np.asarray(image)):
                    return
        except (OSError, ImageError):  # a damaged file is replaced
            path.unlink(missing_ok=True)
    write_lossless(path, image)
    records.drop_features(out, records.original_place(name))


def reconstruction(out: Path, record: Record, codec: Baseline | None) -> Image.Image:
    """A reconstruction from the disk; decoded from its file again where it was not kept. Raises ValueError where that
    needs a codec and there is none."""
    path = out / record.place.reconstruction
    if path.is_file():
        return read_image(path, max_pixels=None)
    if codec is None:
        raise ValueError(f"needs {record.place.codec} in this run, to decode what was not kept")
    return decode_from(out / record.row["file"], codec, record.place.realism)[0]


def feature_folder(extractor: str, patch: int) -> str:
    """The folder of an extractor's features of patches of a side."""
    return f"{extractor.replace(':', '-')}-{patch}"


def lacking_features(
    out: Path, place: Place, extractors: Mapping[str, Extract], patch: int
) -> Iterator[tuple[Extract, Path]]:
    """The features of an image that are not on the disk, each by its extractor and its path."""
    for name, extract in extractors.items():
        path = out / place.features(feature_folder(name, patch))
        if not path.is_file():
            yield extract, path


def keep_features(out: Path, place: Place, image: Tensor, extractors: Mapping[str, Extract], patch: int) -> None:
    """Write the features (patches, D) of an image (1, 3, H, W) where they are missing."""
    pieces = patches((255 * image[0]).round().byte(), patch)
    for extract, path in lacking_features(out, place, extractors, patch):
        stream = io.BytesIO()
        np.save(stream, extract_all(extract, pieces).numpy() if len(pieces) else np.zeros((0, 0), np.float32))
        records.write(path, stream.getvalue())
