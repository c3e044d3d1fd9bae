"""Pillow's plugin for .gnc: `import gencomp`, then Image.open("photo.gnc") and picture.save("photo.gnc", quality=30).

Opening reads the header alone; pixels are decoded, and torch imported, when they are first asked for. `save` takes
`quality=` (1 to 100), `bpp=` or `bytes=`, as Codec.compress does, and turns other modes into RGB by the rules of
gencomp.image, so that orientation and colour profile are used up, not lost. Everything that can go wrong with a file
is an OSError, as with Pillow's own formats; its limits on large pictures (Image.MAX_IMAGE_PIXELS) hold here too. So
does its habit of emptying an existing file before it is written: where that matters, write Codec.compress's bytes.

A trap when a decoded picture goes back into a `datasets.Dataset`: that library stores a picture in its `.format`, so a
picture opened from a .gnc file is coded, with loss, a second time; `picture.copy()` has no format and is stored as PNG.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from gencomp.bitstream import MAGIC, MAX_HEADER_BYTES, read, read_header, unpack

if TYPE_CHECKING:
    from gencomp.codec import Codec

FORMAT = "GNC"


class GncImageFile(ImageFile.ImageFile):
    """A .gnc file whose size is known and whose pixels are still coded."""

    format = FORMAT
    format_description = "gencomp"

    def _open(self) -> None:
        assert self.fp is not None
        with _as_oserror():  # not SyntaxError, by which Pillow would try other formats: by its magic it is ours
            header, _ = read_header(self.fp.read(MAX_HEADER_BYTES))
        self._size = (header.width, header.height)
        self._mode = "RGB"
        self._coded = True

    def load(self) -> Any:
        if getattr(self, "_coded", False):
            with _as_oserror():
                picture = _default_codec().decompress(self._read(), max_pixels=_max_pixels())
            self.im, self._coded = picture.im, False
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the checksum of the file; the file is then closed, as always in Pillow."""
        with _as_oserror():
            unpack(self._read())
        super().verify()

    def _read(self) -> bytes:
        if self.fp is None:
            raise OSError("cannot read a file that is closed")
        self.fp.seek(0)
        return read(self.fp, _max_pixels())


def register() -> None:
    """Tell Pillow of the format; imports nothing heavy and may be called again."""
    Image.register_open(FORMAT, GncImageFile, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".gnc")
    Image.register_mime(FORMAT, "image/x-gnc")


@lru_cache(maxsize=1)
def _default_codec() -> Codec:
    import torch

    from gencomp import codec

    if hasattr(os, "register_at_fork"):
        # A process forked after torch has used several threads has none of them and waits for them for ever: a data
        # loader's worker, or datasets.map(num_proc=...), that decodes pictures as its parent did.
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
    return codec.load()


def _max_pixels() -> int | None:
    """Where Pillow refuses: twice the size at which it warns."""
    return None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


@contextmanager
def _as_oserror() -> Iterator[None]:
    """Pillow's way of saying that a file is at fault; BitstreamError, ModelError and ImageError are ValueErrors."""
    try:
        yield
    except ValueError as error:
        raise OSError(str(error)) from error


def _save(picture: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    asked = {name: picture.encoderinfo[name] for name in ("quality", "bpp", "bytes") if name in picture.encoderinfo}
    with _as_oserror():
        data = _default_codec().compress(picture, max_pixels=None, **asked)
    file.write(data)
