"""One image in, one out: bytes to bytes, by the codec's public interface alone."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from gencomp.bitstream import MAGIC, BitstreamError, unpack
from gencomp.bulk.settings import Settings
from gencomp.image import ImageWarning, encoded_image
from gencomp.kinds import open_image

if TYPE_CHECKING:
    from gencomp.codec import Codec

SIDE, SHOWN_SIDE = 96, 288  # pixels of thumbnails: of what failed, and of what the report shows
_MAX_PIXELS = 50_000_000
_END_OF_JPEG = b"\xff\xd9"  # what is missing of one that is cut short; other formats do not read so far
MAX_FILE_BYTES = 1 << 30
"""A single image's file beyond this is not read into memory."""


class Output(NamedTuple):
    """data: the output file, None for verify; note: what the codec warned of, in one line, or None."""

    data: bytes | None
    width: int
    height: int
    note: str | None


class Transform:
    """`transform(data) -> Output`, with one codec for all calls."""

    def __init__(self, settings: Settings, codec: Codec | None = None) -> None:
        from gencomp import codec as codecs

        self.settings = settings
        self.codec = codec or codecs.load(settings.model, device=settings.device)
        self.model_id = self.codec.model_id.hex()

    def __call__(self, data: bytes) -> Output:
        """Raises what the codec raises: ImageError, BitstreamError, RateError, MemoryError, ..."""
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"a file of {len(data):,} bytes, over the limit of {MAX_FILE_BYTES:,}")
        if not data:
            raise ValueError("empty file")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=ImageWarning)
            output = {"code": self._code, "decode": self._decode, "verify": self._verify}[self.settings.direction](data)
        return output._replace(note="; ".join(dict.fromkeys(str(w.message) for w in caught)) or None)

    def _code(self, data: bytes) -> Output:
        asked = self.settings
        encoded = self.codec.encode(
            io.BytesIO(data),
            quality=asked.quality,
            bpp=asked.bpp,
            bytes=asked.bytes,
            max_pixels=asked.max_pixels,
            keep=asked.keep,
            background=asked.background,
            effort=asked.effort,
            aim=asked.aim,
        )
        return Output(encoded.data, encoded.width, encoded.height, None)

    def _decode(self, data: bytes) -> Output:
        realism = self.settings.realism if self.codec.knows_realism else None
        image = self.codec.decompress(data, realism=realism, max_pixels=self.settings.max_pixels)
        encoded = encoded_image(image, f"x.{self.settings.format}", image.info)
        return Output(bytes(encoded), image.width, image.height, None)

    def seen(self, output: bytes) -> bytes:
        """An output as an image's file that anything can show."""
        if self.settings.direction != "code":
            return output
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bytes(encoded_image(self.codec.decompress(output, max_pixels=self.settings.max_pixels), "x.png"))

    def _verify(self, data: bytes) -> Output:
        if not self.codec.verify(data, max_pixels=self.settings.max_pixels).latents_ok:
            raise BitstreamError("its latents do not decode to what was coded")
        header, _ = unpack(data)
        return Output(None, header.width, header.height, None)


def is_coded(data: bytes) -> bool:
    return data.startswith(MAGIC)


def is_label(data: bytes) -> bool:
    """Whether an image's pixels are numbers and no colours: indices of a palette, one bit, 16 bits of one channel.

    A GIF always has a palette, so there it says nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_image(io.BytesIO(data)) as image:
                return image.format != "GIF" and (image.mode in {"1", "P", "PA", "F"} or image.mode.startswith("I"))
    except Exception:  # not one of these, or damaged: coding it will say so
        return False


def thumbnail(data: bytes, side: int = SIDE) -> bytes | None:
    """A JPEG of at most `side` pixels a side, without comment, EXIF and profile; None where nothing can be seen.

    Of a file that is cut short it shows what there is.
    """
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
