"""One image through one codec and the disk: encode, write, read back, decode, with the seconds of each.

And finding the setting of its rate control at which the file has a wanted size: interpolation between the sizes of real
files, and where the codec has a quicker way of coding, between those of sketches first.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image

from gencomp.rate_search import close_in

from ..codecs.baseline import Baseline, RateControl
from .records import write

TOLERANCE = 0.02  # a file within 2 % of the wanted size counts as matched
Size = Callable[[float], int]  # bytes at a setting
SKETCHED = 5  # files that a search by sketches codes for a target at most


class Match(NamedTuple):
    """The setting whose file is nearest to the wanted size. `note` says why it is not nearer, empty when reached.

    rate: "reached", within 2 %; "nearest" between two settings; "limit": the codec's smallest or largest file is off,
    so that this image cannot be brought to the rate at all.
    """

    setting: float
    size: int  # bytes
    rate: Literal["reached", "nearest", "limit"]
    note: str


class RateSearch:
    """The sizes of one image's files over a codec's rate control, coded as they are asked for and remembered.

    Several targets for one image share what was coded for the others. sketch_at: sizes about proportional to the
    files', for much less.
    """

    def __init__(self, rate_control: RateControl, size_at: Size, pixels: int, sketch_at: Size | None = None) -> None:
        self.rate_control, self.pixels, self._size_at = rate_control, pixels, size_at
        self._sizes: dict[int, int] = {}
        self._sketch = None if sketch_at is None else RateSearch(rate_control, sketch_at, pixels)

    def size(self, position: int) -> int:
        """Bytes of the file at a position of the rate control."""
        if position not in self._sizes:
            self._sizes[position] = self._size_at(self.rate_control.setting(position))
        return self._sizes[position]

    def match(self, target: float) -> Match:
        """The setting whose file is nearest to `target` bytes, by ratio.

        With a sketch: where the files' sizes are those of the sketches times the ratio at that very place.

        Sizes are taken to grow along the rate control; where a codec's sizes waver by a little, the result is still
        the nearest of the files that were coded. The ends of the rate control, the upper of which is the slowest file
        of all, are coded only where nothing between them brackets the target.
        """
        position = None if self._sketch is None else self._by_sketch(self._sketch, target)
        return self._result(self._by_files(target) if position is None else position, target)

    def _by_sketch(self, sketch: "RateSearch", target: float) -> int | None:
        """Where the sketch, at the ratio of the file's size to its own at that place, has the target; None where the
        ratio leads to no such place."""
        known = self._nearest(self._sizes, target) if self._sizes else None
        ratio = 1.0 if known is None else self._sizes[known] / sketch.size(known)
        tried: set[int] = set()
        for _ in range(SKETCHED):
            position = sketch._by_files(target / ratio)
            if position in tried:
                best = self._nearest(tried, target)
                return best if self._is_nearest(best, target, sketch) else None
            tried.add(position)
            ratio = self.size(position) / sketch.size(position)
        return None

    def _is_nearest(self, position: int, target: float, sketch: "RateSearch") -> bool:
        """Whether no other file will be nearer: the target lies within half the way to the neighbours', as the sketches
        have it, and a little more; or beyond an end of the rate control."""
        if self._is_beyond(position, target):
            return True
        before, after = max(0, position - 1), min(self.rate_control.last, position + 1)
        step = math.log(sketch.size(after) / sketch.size(before)) / max(1, after - before)
        return self._off(position, target) <= max(TOLERANCE, 0.6 * step)

    def _by_files(self, target: float) -> int:
        low, high = self._bracket(target)
        if low is None or high is None:
            return self.rate_control.last if high is None else 0

        def settled(low: int, high: int) -> bool:
            # No other position between these two can be worth a file: the nearer one is within a quarter of the
            # tolerance, or within all of it and nearer than its neighbours will be.
            step = math.log(self.size(high) / self.size(low)) / (high - low)
            off = self._off(self._nearest((low, high), target), target)
            return off <= max(TOLERANCE / 4, min(TOLERANCE, 0.4 * step))

        return self._nearest(close_in(self.size, target, low, high, settled), target)

    def _bracket(self, target: float) -> tuple[int | None, int | None]:
        """Positions below and above a target; None for the side on which even the end of the rate control is not."""
        last = self.rate_control.last
        if not self._sizes:
            self.size(last // 3)  # low rates lie below the middle of most rate controls
        low = max((p for p, size in self._sizes.items() if size <= target), default=None)
        high = min((p for p, size in self._sizes.items() if size > target and (low is None or p > low)), default=None)
        stride = max(1, last // 8)
        while (low is None and high != 0) or (high is None and low != last):
            position = min(last, low + stride) if low is not None else max(0, (high or 0) - stride)
            if self.size(position) <= target:
                low = position
            else:
                high = position
            stride *= 2
        return low, high

    def _off(self, position: int, target: float) -> float:
        return abs(math.log(self.size(position) / target))

    def _nearest(self, positions: Iterable[int], target: float) -> int:
        return min(positions, key=lambda position: self._off(position, target))

    def _is_beyond(self, position: int, target: float) -> bool:
        size = self.size(position)
        return (position == 0 and size > target) or (position == self.rate_control.last and size < target)

    def _result(self, position: int, target: float) -> Match:
        size, setting = self.size(position), self.rate_control.setting(position)
        if abs(size / target - 1) <= TOLERANCE:
            return Match(setting, size, "reached", "")
        limits = {0: "its smallest file", self.rate_control.last: "its largest file"}
        got, wanted = 8 * size / self.pixels, 8 * target / self.pixels
        note = f"{wanted:.4g} bpp is not reached: {limits.get(position, 'its nearest setting')} has {got:.4g} bpp"
        return Match(setting, size, "limit" if self._is_beyond(position, target) else "nearest", note)


class RoundTrip(NamedTuple):
    """What became of an image. `size` is that of the file in bytes; seconds are wall clock, without the disk's."""

    image: Image.Image
    size: int
    encode_s: float
    decode_s: float

    @property
    def bpp(self) -> float:
        """Bits per pixel, from the file."""
        return 8 * self.size / (self.image.width * self.image.height)


class Encoding(NamedTuple):
    """A file's bytes and the seconds of making them."""

    data: bytes
    seconds: float


class Recorder:
    """One image through one codec, each setting encoded once: what `search`, for the settings of wanted sizes, has made
    need not be made again."""

    def __init__(self, codec: Baseline, image: Image.Image) -> None:
        self._codec, self._image = codec, image
        self._made: dict[float, Encoding] = {}
        sketch = None if codec.sketch is None else partial(codec.sketch, image)
        self.search = RateSearch(codec.rate_control, self.size, image.width * image.height, sketch)

    def encode(self, setting: float) -> Encoding:
        """The file at a setting."""
        if setting not in self._made:
            start = time.perf_counter()
            data = self._codec.encode(self._image, setting)
            self._made[setting] = Encoding(data, time.perf_counter() - start)
        return self._made[setting]

    def size(self, setting: float) -> int:
        """Bytes of the file at a setting; cheaper than an encoding where the codec knows how."""
        if self._codec.size is not None and setting not in self._made:
            return self._codec.size(self._image, setting)
        return len(self.encode(setting).data)

    def write(self, path: Path, setting: float) -> Encoding:
        """Write the file at a setting, whole or not at all."""
        made = self.encode(setting)
        write(path, made.data)
        return made


def nearest(codec: Baseline, image: Image.Image, size: float) -> Match:
    """The setting at which a codec's file comes nearest to a size in bytes."""
    return Recorder(codec, image).search.match(size)


def decode_from(path: Path, codec: Baseline, realism: float | None = None) -> tuple[Image.Image, float]:
    """The image in a file and the seconds of decoding. realism None: 1."""
    data = path.read_bytes()
    start = time.perf_counter()
    image = codec.decode(data, 1.0 if realism is None else realism)
    image.load()
    return image.convert("RGB"), time.perf_counter() - start


def code(path: Path, codec: Baseline, image: Image.Image, setting: float, realism: float | None = None) -> RoundTrip:
    """Both ways through the file at `path`. Raises ValueError when another size comes back than went in."""
    encode_s = Recorder(codec, image).write(path, setting).seconds
    decoded, decode_s = decode_from(path, codec, realism)
    if decoded.size != image.size:
        raise ValueError(f"{codec.name} returned {decoded.width}x{decoded.height} for {image.width}x{image.height}")
    return RoundTrip(decoded, path.stat().st_size, encode_s, decode_s)


def code_aside(codec: Baseline, image: Image.Image, setting: float, *realisms: float | None) -> list[RoundTrip]:
    """Both ways at each of the realisms, through a file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return [code(Path(folder, f"coded{codec.suffix}"), codec, image, setting, realism) for realism in realisms]
