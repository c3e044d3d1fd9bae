"""From one image to another through the codec's latents.

    y(t) = (1 - t) y_a + t y_b,    x(t) = g_s(y(t))

Both ends are decoded files of one quality, so the first and the last frame are what `decompress` shows of them.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from gencomp.bitstream import DEFAULT_QUALITY, quality_to_step
from gencomp.codec import Codec
from gencomp.entropy.constants import MEAN_UNIT
from gencomp.image import ImageError, Source, read_image


def interpolate(
    codec: Codec, a: Source, b: Source, frames: int, *, quality: float = DEFAULT_QUALITY, realism: float | None = None
) -> Iterator[Image.Image]:
    """`frames` (at least 2) images from `a` to `b`, evenly spaced, mode RGB; quality and realism as the codec has them.
    Raises ImageError, before any work, where the sizes differ."""
    if frames < 2:
        raise ValueError(f"from one image to another there are at least 2 frames, not {frames}")
    ends = first, last = [read_image(image) for image in (a, b)]
    if first.size != last.size:
        sizes = f"{first.width}x{first.height} and {last.width}x{last.height}"
        raise ImageError(f"the images have {sizes} pixels: bring them to one size first")
    y_a, y_b = (codec.latents(codec.compress(x, quality=quality)).astype(np.float64) / MEAN_UNIT for x in ends)
    size, step, strength = (first.height, first.width), quality_to_step(quality), codec.strength(realism)
    latents = (((1 - t) * y_a + t * y_b).astype(np.float32) for t in np.linspace(0, 1, frames))
    return (Image.fromarray(codec.runtime.synthesize(y, size, step, strength)) for y in latents)
