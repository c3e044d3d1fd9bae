"""A small JPEG of an image for the report: pixels alone, no comment, no EXIF, no profile."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from gencomp.kinds import open_image

SIDE, SHOWN_SIDE = 96, 288
_MAX_PIXELS = 50_000_000
_END_OF_JPEG = b"\xff\xd9"  # what is missing of one that is cut short; other formats do not read so far


def thumbnail(data: bytes, side: int = SIDE) -> bytes | None:
    """At most `side` pixels a side; of a file that is cut short, what there is. None where nothing can be seen."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(io.BytesIO(data + _END_OF_JPEG)) as seen:
                if seen.width * seen.height > _MAX_PIXELS:
                    return None
                seen.load()
            small = _to_grey(seen) if seen.mode in {"F", "I"} or seen.mode.startswith("I;") else seen.convert("RGB")
            small.thumbnail((side, side))
            small.info = {}
            encoded = io.BytesIO()
            small.save(encoded, "JPEG", quality=75 if side == SIDE else 88)
            return encoded.getvalue()
    except Exception:  # it is for looking at alone
        return None


def _to_grey(image: Image.Image) -> Image.Image:
    """Pixels of unknown range, stretched from the darkest to the brightest."""
    values = np.nan_to_num(np.asarray(image, np.float32))
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
