"""One image through one codec and the disk: encode, write, read back, decode, with the seconds of each.

`python -m gencomp.eval.run.coding CODEC IMAGE SETTING [MODEL]` does it and prints the peak of its memory as JSON, which
interpreter and libraries are part of, since a user needs them too.
"""

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gencomp.files import write_atomically

from ..codecs.baseline import Baseline
from .rates import Match, RateSearch


class CodedImage(NamedTuple):
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
    """One image through one codec, each setting encoded once: what a rate search made need not be made again."""

    def __init__(self, codec: Baseline, image: Image.Image) -> None:
        self._codec, self._image = codec, image
        self._made: dict[float, Encoding] = {}

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

    def search(self) -> RateSearch:
        """A search for the settings of wanted sizes, whose files this remembers."""
        sketch = None if self._codec.sketch is None else partial(self._codec.sketch, self._image)
        return RateSearch(self._codec.rate_control, self.size, self._image.width * self._image.height, sketch)

    def write(self, path: Path, setting: float) -> Encoding:
        """Write the file at a setting, whole or not at all."""
        made = self.encode(setting)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, made.data)
        return made


def nearest(codec: Baseline, image: Image.Image, size: float) -> Match:
    """The setting at which a codec's file comes nearest to a size in bytes."""
    return Recorder(codec, image).search().match(size)


def encode_to(path: Path, codec: Baseline, image: Image.Image, setting: float) -> float:
    """Write the image's file, whole or not at all; returns the seconds of encoding."""
    return Recorder(codec, image).write(path, setting).seconds


def decode_from(path: Path, codec: Baseline, realism: float | None = None) -> tuple[Image.Image, float]:
    """The image in a file and the seconds of decoding. realism None: 1."""
    data = path.read_bytes()
    start = time.perf_counter()
    image = codec.decode(data, 1.0 if realism is None else realism)
    image.load()
    return image.convert("RGB"), time.perf_counter() - start


def code(path: Path, codec: Baseline, image: Image.Image, setting: float, realism: float | None = None) -> CodedImage:
    """Both ways through the file at `path`. Raises ValueError when another size comes back than went in."""
    encode_s = encode_to(path, codec, image, setting)
    decoded, decode_s = decode_from(path, codec, realism)
    if decoded.size != image.size:
        raise ValueError(f"{codec.name} returned {decoded.width}x{decoded.height} for {image.width}x{image.height}")
    return CodedImage(decoded, path.stat().st_size, encode_s, decode_s)


def code_aside(codec: Baseline, image: Image.Image, setting: float, *realisms: float | None) -> list[CodedImage]:
    """Both ways at each of the realisms, through a file that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        return [code(Path(folder, f"coded{codec.suffix}"), codec, image, setting, realism) for realism in realisms]


def _print_peak_memory(name: str, path: str, setting: str, *models: str) -> None:
    from gencomp import machine
    from gencomp.image import read_image

    from ..codecs.build import build

    code_aside(build(name, models)[0], read_image(Path(path), max_pixels=None), float(setting), None)
    peak = machine.peak_memory(children=True)
    print(json.dumps({} if peak is None else {"peak_mb": round(peak / 1e6, 1)}))


if __name__ == "__main__":
    _print_peak_memory(*sys.argv[1:])
