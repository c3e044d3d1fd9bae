"""Pillow's plugin for .gnc: `import gencomp`, then Image.open("photo.gnc") and image.save("photo.gnc", quality=30).

Opening reads header and metadata alone; pixels are decoded, and the run-time imported, when they are first asked for.
`save` takes `quality=` (1 to 100), `bpp=` or `bytes=`, `effort=`, `aim=` and `background=`, as Codec.compress does.
Alpha is kept, and such a file opens as RGBA, unless a background is given. Other modes become RGB by the rules of
gencomp.image, so that orientation and colours are used up, not lost. Everything that can go wrong with a file is an
OSError, as with Pillow's own formats; its limits on large images (Image.MAX_IMAGE_PIXELS) hold here too. So does its
habit of emptying an existing file before it is written: where that matters, write Codec.compress's bytes.

Metadata are stored when they are given to `save` (`exif=`, `xmp=`, `icc_profile=`, `dpi=`, `comment=`), as they are
given, a place in them included. The orientation alone is not: pixels are turned by it, or by the image's own if none is
given and Pillow has opened it from a file, and what is stored says that they are upright. What is made of an image in
memory (`convert`, `transpose`) is taken as it is. An `icc_profile` says what colours the pixels are in, which are then
not converted.
`info` and `getexif()` give what a file keeps. A file holds one image: `save_all` with more is an OSError.

A trap when a decoded image goes back into a `datasets.Dataset`: that library stores an image in its `.format`, so an
image opened from a .gnc file is coded, with loss, a second time; `image.copy()` has no format and is stored as PNG.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from numbers import Real
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from gencomp.bitstream import MAGIC, SECTION_KINDS, inspect_file, peek
from gencomp.machine import is_out_of_memory
from gencomp.once import making

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
            header, extras = peek(self.fp)
        if extras:
            from gencomp.metadata import to_info

            self.info.update(to_info(extras))
        self._size = (header.width, header.height)
        self._mode = "RGBA" if SECTION_KINDS["alpha"] in extras else "RGB"
        self._coded = True

    def load(self) -> Any:
        if getattr(self, "_coded", False):
            with _as_oserror():
                file = inspect_file(self._rewound(), _max_pixels(), keep=True)
                image = _default_codec().decompress(file, max_pixels=_max_pixels())
            self.im, self._mode, self._coded = image.im, image.mode, False
            if self._exclusive_fp and self.fp:
                self.fp.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Check the checksum of the file; the file is then closed, as always in Pillow."""
        with _as_oserror():
            inspect_file(self._rewound(), _max_pixels()).checked()
        super().verify()

    def _rewound(self) -> IO[bytes]:
        if self.fp is None:
            raise OSError("cannot read a file that is closed")
        self.fp.seek(0)
        return self.fp


def register() -> None:
    """Tell Pillow of the format; imports nothing heavy and may be called again."""
    Image.register_open(FORMAT, GncImageFile, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save(FORMAT, _save)
    Image.register_save_all(FORMAT, _save_all)
    Image.register_extension(FORMAT, ".gnc")
    Image.register_mime(FORMAT, "image/x-gnc")


def _default_codec() -> Codec:
    with making:
        return _loaded()


@lru_cache(maxsize=1)
def _loaded() -> Codec:
    from gencomp import codec

    return codec.load()


def _max_pixels() -> int | None:
    """Where Pillow refuses: twice the size at which it warns."""
    return None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


@contextmanager
def _as_oserror() -> Iterator[None]:
    """Pillow's way of saying that a file is at fault; BitstreamError, ModelError and ImageError are ValueErrors."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) or is_out_of_memory(error):
            raise OSError(str(error) or "not enough memory") from error
        raise


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    options = image.encoderinfo
    known = ("quality", "bpp", "bytes", "effort")
    asked = {name: options[name] for name in known if options.get(name) is not None}
    from gencomp import image as image_rules
    from gencomp import metadata
    from gencomp.colour import profile_of

    with _as_oserror():
        for name, value in asked.items():
            if not isinstance(value, Real):
                raise ValueError(f"{name}={value!r} is no number: a .gnc file is always coded anew")
        extras, turned = metadata.upright(metadata.from_options(options))
        profile = None if SECTION_KINDS["icc"] in extras else profile_of(image)  # else its pixels are in those given
        image = image_rules.upright(image.copy(), image_rules.orientation_of(image) if turned is None else turned)
        image.info["icc_profile"] = profile
        if options.get("aim") is not None:
            asked["aim"] = options["aim"]
        background = options.get("background")
        data = _default_codec().encode(image, max_pixels=None, extras=extras, background=background, **asked).data
    file.write(data)


def _save_all(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """`save(save_all=True)`, which other formats use for animations."""
    if getattr(image, "n_frames", 1) > 1 or image.encoderinfo.get("append_images"):
        raise OSError("a .gnc file holds one image: save the frames to files of their own")
    _save(image, file, filename)
