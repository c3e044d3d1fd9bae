"""A small JPEG of an image that could not be coded, as far as it can be seen at all."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageFile

SIDE = 96
_MAX_PIXELS = 50_000_000


def thumbnail(data: bytes) -> bytes | None:
    """At most SIDE pixels a side; of a file that is cut short, what there is. None where nothing can be seen."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                if image.format == "GNC" or image.width * image.height > _MAX_PIXELS:
                    return None
            parser = ImageFile.Parser()
            parser.feed(data)
            seen = parser.image
            if seen is None:
                return None
            small = _to_grey(seen) if seen.mode in {"F", "I"} or seen.mode.startswith("I;") else seen.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            encoded = io.BytesIO()
            small.save(encoded, "JPEG", quality=75)
            return encoded.getvalue()
    except Exception:  # the image has failed already, and this is for looking at alone
        return None


def _to_grey(image: Image.Image) -> Image.Image:
    """Pixels of unknown range, stretched from the darkest to the brightest."""
    values = np.nan_to_num(np.asarray(image, np.float32))
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
