"""What is done with each sample, whatever its shard is: bytes to bytes by the codec, one row, and an output or none."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from gencomp.bitstream import MAGIC, BitstreamError, inspect
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import DONE, FAILED, SKIPPED, SampleRow
from gencomp.cli.group import explain
from gencomp.files import shown
from gencomp.image import ImageWarning, encoded_image
from gencomp.kinds import open_image, saved

if TYPE_CHECKING:
    from gencomp.codec import Codec

SIDE, SHOWN_SIDE = 96, 288  # pixels of thumbnails: of what failed, and of what the report shows
THUMBNAILS = 20  # of failures per shard
MAX_FILE_BYTES = 1 << 30
"""A single image's file beyond this is not read into memory."""
_MAX_PIXELS = 50_000_000  # of what a thumbnail is made of
_MAX_SHOWN = 4_000_000  # pixels of a sample for the report, which is decoded once more
_MAX_TEXT = 300
_END_OF_JPEG = b"\xff\xd9"  # what is missing of one that is cut short; other formats do not read so far

Read = Callable[[], bytes | None]
"""Reads when asked to: a sample, or its output from an earlier attempt; None where there is none."""
Hear = Callable[[str | SampleRow], None]
"""Told the name of a sample when work on it begins, and its row when it is done, skipped or failed."""


class UnreadableError(Exception):
    """One sample's file cannot be read; the others can."""


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

    def seen(self, output: bytes) -> bytes:
        """An output as an image's file that anything can show."""
        if self.settings.direction != "code":
            return output
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bytes(encoded_image(self.codec.decompress(output, max_pixels=self.settings.max_pixels), "x.png"))

    def _code(self, data: bytes) -> Output:
        names = ("quality", "bpp", "bytes", "max_pixels", "keep", "background", "effort", "aim")
        encoded = self.codec.encode(io.BytesIO(data), **{name: getattr(self.settings, name) for name in names})
        return Output(encoded.data, encoded.width, encoded.height, None)

    def _decode(self, data: bytes) -> Output:
        realism = self.settings.realism if self.codec.knows_realism else None
        image = self.codec.decompress(data, realism=realism, max_pixels=self.settings.max_pixels)
        encoded = encoded_image(image, f"x.{self.settings.format}", image.info)
        return Output(bytes(encoded), image.width, image.height, None)

    def _verify(self, data: bytes) -> Output:
        file = inspect(data)
        if not self.codec.verify(file, max_pixels=self.settings.max_pixels).latents_ok:
            raise BitstreamError("its latents do not decode to what was coded")
        return Output(None, file.header.width, file.header.height, None)


class SampleRecorder:
    """before: rows of an earlier attempt at the same inputs, whose failed samples alone are repeated; fatal: samples
    not to be tried, with the error to report; samples: how many are kept for the report. `rows` grows by one with every
    call of `code`, `leave` and `fail`.
    """

    def __init__(
        self,
        transform: Transform,
        before: Sequence[SampleRow] = (),
        fatal: Mapping[str, str] | None = None,
        hear: Hear | None = None,
        samples: int = 0,
    ) -> None:
        self.transform = transform
        self.rows: list[SampleRow] = []
        self.before, self._fatal, self._hear = before, fatal or {}, hear or (lambda _: None)
        self._thumbnails, self._samples = 0, samples

    def old(self, name: str) -> SampleRow | None:
        """The row of the next sample in the earlier attempt, unless it failed there."""
        row = self.before[len(self.rows)] if len(self.rows) < len(self.before) else None
        return row if row is not None and row.sample == shown(name) and row.status != FAILED else None

    def leave(self, name: str, note: str, size: int | None = None, output: str | None = None) -> None:
        """A sample that is not touched."""
        self._add(SampleRow(shown(name), SKIPPED, note=note, bytes_in=size, bytes_out=size, output=output))

    def fail(self, name: str, error: str) -> None:
        self._add(SampleRow(shown(name), FAILED, one_line(error)))

    def code(self, name: str, read: Read, read_kept: Read, output: str | None = None) -> bytes | None:
        """The sample's output, or None where there is none to write: it failed, is null, or nothing is written. output:
        what the output is called, for the row."""
        old = self.old(name)
        if old is not None:
            kept = read_kept()
            if kept is not None or self.transform.settings.direction == "verify":
                self.rows.append(old)
                return kept
        self._hear(shown(name))
        row, data = self._attempt(shown(name), read)
        self._add(row._replace(output=None if data is None or output is None else output))
        return data

    def _add(self, row: SampleRow) -> None:
        self.rows.append(row)
        self._hear(row)

    def _attempt(self, sample: str, read: Read) -> tuple[SampleRow, bytes | None]:
        if sample in self._fatal:
            return SampleRow(sample, FAILED, self._fatal[sample]), None
        try:
            data = read()
        except UnreadableError as error:
            return SampleRow(sample, FAILED, one_line(str(error))), None
        if data is None:
            return SampleRow(sample, SKIPPED, note="no image"), None
        if self.transform.settings.direction == "code" and is_coded(data):
            return SampleRow(sample, SKIPPED, note="a .gnc file already", bytes_in=len(data), bytes_out=len(data)), data
        start = time.perf_counter()
        try:
            output = self.transform(data)
        except Exception as error:  # whatever a decoder raises for broken bytes: this sample failed, the rest go on
            seconds = time.perf_counter() - start
            small = thumbnail(data) if self._thumbnails < THUMBNAILS else None
            self._thumbnails += small is not None
            message = one_line(explain(error))
            return SampleRow(sample, FAILED, message, bytes_in=len(data), seconds=seconds, thumbnail=small), None
        seconds, note = time.perf_counter() - start, output.note and one_line(output.note)
        size = None if output.data is None else len(output.data)
        row = SampleRow(sample, DONE, None, note, len(data), size, output.width, output.height, seconds)
        if self._samples and output.data is not None and output.width * output.height <= _MAX_SHOWN:
            with contextlib.suppress(Exception):  # the output stands, and this is for looking at alone
                decoded = thumbnail(self.transform.seen(output.data), SHOWN_SIDE)
                self._samples -= 1
                row = row._replace(thumbnail=thumbnail(data, SHOWN_SIDE), decoded=decoded)
        return row, output.data


def one_line(text: str) -> str:
    text = shown(" ".join(text.split()))
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."


def is_coded(data: bytes) -> bool:
    return data.startswith(MAGIC)


def is_label(data: bytes) -> bool:
    """Whether an image's pixels are numbers and no colours: indices of a palette, one bit, 16 bits of one channel. A
    GIF always has a palette, so there it says nothing."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # of what is damaged coding will say so
        warnings.simplefilter("ignore")
        with open_image(io.BytesIO(data)) as image:
            return image.format != "GIF" and (image.mode in {"1", "P", "PA", "F"} or image.mode.startswith("I"))
    return False


def thumbnail(data: bytes, side: int = SIDE) -> bytes | None:
    """A JPEG of at most `side` pixels a side, without comment, EXIF and profile; None where nothing can be seen. Of a
    file that is cut short it shows what there is."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):  # it is for looking at alone
        warnings.simplefilter("ignore")
        with open_image(io.BytesIO(data + _END_OF_JPEG)) as seen:
            if seen.width * seen.height > _MAX_PIXELS:
                return None
            seen.load()
        small = _to_grey(seen) if seen.mode in {"F", "I"} or seen.mode.startswith("I;") else seen.convert("RGB")
        small.thumbnail((side, side))
        small.info = {}
        return saved(small, "JPEG", quality=75 if side == SIDE else 88)
    return None


def _to_grey(image: Image.Image) -> Image.Image:
    """Pixels of unknown range, stretched from the darkest to the brightest."""
    values = np.nan_to_num(np.asarray(image, np.float32))
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))
