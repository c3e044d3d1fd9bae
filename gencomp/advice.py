"""Whether another format would serve an image better than a .gnc file does: print, charts and screens mostly.

Both are held at equal bytes by the gradient magnitude similarity deviation of the luma (Xue et al. 2014, "Gradient
magnitude similarity deviation: a highly efficient perceptual image quality index"). It looks at edges alone, as the eye
does in print and graphics, and hardly minds how a texture is drawn. Of 39 photographs (Kodak and scikit-image's) none
raises an alarm at quality 45: 8 have no AVIF file that small, of the others the deviation is at most 0.85 times AVIF's.
By PSNR at realism 1, which prefers any blur to drawn texture, ten would.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from gencomp.kinds import open_image, saved
from gencomp.rate_search import largest_step, sketch_of

if TYPE_CHECKING:
    from gencomp.codec import Codec

Pixels = npt.NDArray[np.uint8]
SPEED, SLOW = 8, 6  # of the AVIF encoder: for a look, for a file that is kept
BETTER, SEEN = 1.1, 0.02  # how many times AVIF's deviation that of the .gnc file must be, and at least how much
NEAR = 0.09  # the deviation of an AVIF file that is worth a second look
QUALITIES = 100
CONTRAST = 170.0  # of Xue et al., for grey levels 0..255
LUMA = np.array((0.299, 0.587, 0.114), np.float32)


class Advice(NamedTuple):
    """The gradient magnitude similarity deviations (0 is equal) of the file and of AVIF at as many bytes."""

    gnc: float
    avif: float

    @property
    def times(self) -> float:
        """How many times smaller AVIF's is."""
        return self.gnc / max(self.avif, 1e-6)

    @property
    def is_avif(self) -> bool:
        """Whether AVIF serves better."""
        return self.times >= BETTER and self.gnc >= SEEN


def advise(codec: Codec, pixels: Pixels, quality: float, bpp: float) -> Advice | None:
    """What AVIF would make of uint8 [H, W, 3] in the bytes that the codec takes at a quality, about `bpp` a pixel.

    Of a larger image, parts of together 512x512 are looked at. None where there is no such AVIF, or where it is so far
    from the image that the codec need not be asked, as with photographs.
    """
    sketch = sketch_of(pixels)

    def deviation(avif: bytes | None) -> float:
        if avif is None:
            return math.inf
        with open_image(io.BytesIO(avif)) as image:
            return gmsd(sketch, np.asarray(image.convert("RGB")))

    if deviation(avif_within(sketch, round(bpp * sketch[..., 0].size / 8), SPEED)) >= NEAR:
        return None
    data = codec.compress(sketch, quality=quality)
    other = deviation(avif_within(sketch, len(data), SPEED))
    return None if other == math.inf else Advice(gmsd(sketch, np.asarray(codec.decompress(data))), other)


def avif_within(pixels: Pixels, limit: int, speed: int = SLOW) -> bytes | None:
    """The best AVIF file of uint8 [H, W, 3] in at most so many bytes; None where there is none."""
    if not features.check("avif"):
        return None
    image, made = Image.fromarray(pixels), {}

    def size(quality: int) -> int:
        made[quality] = saved(image, "AVIF", quality=quality, speed=speed)
        return len(made[quality])

    best = largest_step(size, limit, beyond=0, last=QUALITIES)
    return None if best is None else made[best]


def gmsd(x: Pixels, y: Pixels) -> float:
    """The deviation between uint8 [H, W, 3], 0 for equal ones or sides under 6 pixels: a mean over 2x2 pixels, Prewitt
    gradients, the similarity of their magnitudes, its standard deviation."""
    if min(x.shape[:2]) < 6:
        return 0.0
    a, b = _gradients(x), _gradients(y)
    return float(((2 * a * b + CONTRAST) / (a * a + b * b + CONTRAST)).std())


def _gradients(pixels: Pixels) -> npt.NDArray[np.float32]:
    y = pixels @ LUMA
    y = y[: len(y) // 2 * 2, : y.shape[1] // 2 * 2]
    y = (y[::2, ::2] + y[1::2, ::2] + y[::2, 1::2] + y[1::2, 1::2]) / 4
    rows, columns = y[:, :-2] + y[:, 1:-1] + y[:, 2:], y[:-2] + y[1:-1] + y[2:]
    return np.hypot(rows[2:] - rows[:-2], columns[:, 2:] - columns[:, :-2]) / 3
