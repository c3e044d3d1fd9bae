"""Codecs under evaluation behind one small interface, and those that Pillow brings along.

A `Peer` is all that the suite knows of a codec: how a picture becomes bytes at a setting of one knob, and how bytes
become a picture again. To evaluate another codec, learned or not, write a function without arguments that returns a
Peer, and name it to the command as `--codec package.module:function`:

    def make() -> Peer:
        network = load_my_network()
        return Peer("mine", ".bin", Knob("quality", smallest=1, largest=8),
                    encode=lambda picture, setting: network.compress(picture, round(setting)),
                    decode=lambda data, realism: network.decompress(data),
                    note="my network, commit 1234")

The bytes must be all that the decoder needs: what is counted is the file.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import PIL
from PIL import Image, features


class PeerError(ValueError):
    """A codec is not installed or cannot be built; the message says what to install."""


class Knob(NamedTuple):
    """A codec's own rate control. Bytes grow from the setting `smallest` to the setting `largest`."""

    name: str
    smallest: float
    largest: float
    positions: int | None = None  # how many settings the search may take; None: every whole number
    geometric: bool = False  # positions are spaced evenly in the setting's logarithm

    @property
    def last(self) -> int:
        """The last position; the first is 0, the smallest file."""
        return (self.positions or round(abs(self.largest - self.smallest)) + 1) - 1

    def setting(self, position: int) -> float:
        """The codec's setting at a position 0 ... last."""
        part = position / self.last
        if self.geometric:
            return float(self.smallest * (self.largest / self.smallest) ** part)
        return float(self.smallest + (self.largest - self.smallest) * part)

    def holds(self, setting: float) -> bool:
        """Whether the codec can be asked for this setting."""
        return min(self.smallest, self.largest) <= setting <= max(self.smallest, self.largest)


@dataclass(frozen=True)
class Peer:
    """One codec at fixed options.

    `encode` takes an RGB picture and a setting of the knob, `decode` bytes and a realism in 0..1 that only codecs with
    `has_realism` heed. Both may raise whatever they like: the run names it and goes on.
    """

    name: str
    suffix: str
    knob: Knob
    encode: Callable[[Image.Image, float], bytes]
    decode: Callable[[bytes, float], Image.Image]
    note: str = ""  # library, version, fixed options: all that decides the bytes
    has_realism: bool = False
    facts: Callable[[], dict[str, float]] = dict  # parameters, kMAC a pixel: where they are known


def through_pillow(format: str, **options: object) -> Callable[[Image.Image], bytes]:
    """An encoder that writes a picture in a Pillow format with fixed options."""

    def encode(picture: Image.Image) -> bytes:
        stream = io.BytesIO()
        picture.save(stream, format, **options)
        return stream.getvalue()

    return encode


def decode_with_pillow(data: bytes, realism: float = 1.0) -> Image.Image:
    """A picture from the bytes of any format that Pillow reads, as RGB."""
    with Image.open(io.BytesIO(data)) as picture:
        return picture.convert("RGB")


def _pillow(name: str, module: str) -> str:
    """The version line of a Pillow codec. Raises PeerError where this Pillow was built without it."""
    if not features.check(module):
        raise PeerError(f"this Pillow was built without {name}; its wheels on the package index have it")
    return f"Pillow {PIL.__version__}, {module} {features.version(module)}"


def jpeg() -> Peer:
    """Baseline JPEG of libjpeg-turbo, optimised Huffman tables, 4:2:0."""
    return Peer(
        "jpeg", ".jpg", Knob("quality", 1, 100),
        lambda picture, q: through_pillow("JPEG", quality=round(q), optimize=True, subsampling="4:2:0")(picture),
        decode_with_pillow, _pillow("JPEG", "jpg") + ", 4:2:0, optimised tables",
    )  # fmt: skip


def jpeg2000() -> Peer:
    """OpenJPEG's 9/7 wavelet, one quality layer, a raw codestream; its knob is the rate itself."""
    return Peer(
        "jpeg2000", ".j2k", Knob("bpp", 0.01, 8, positions=4000, geometric=True),
        lambda picture, bpp: through_pillow(
            "JPEG2000", quality_mode="rates", quality_layers=[24 / bpp], irreversible=True, no_jp2=True)(picture),
        decode_with_pillow, _pillow("JPEG 2000", "jpg_2000") + ", 9/7 wavelet, raw codestream",
    )  # fmt: skip


def webp() -> Peer:
    """libwebp at its slowest method; quality is continuous."""
    return Peer(
        "webp", ".webp", Knob("quality", 0, 100, positions=1001),
        lambda picture, q: through_pillow("WEBP", quality=q, method=6)(picture),
        decode_with_pillow, _pillow("WebP", "webp") + ", method 6",
    )  # fmt: skip


AVIF_SPEED = 4


def avif() -> Peer:
    """libavif with the AV1 encoder that Pillow has, 4:2:0; one thread, so that bytes do not depend on the machine."""
    return Peer(
        "avif", ".avif", Knob("quality", 0, 100),
        lambda picture, q: through_pillow("AVIF", quality=round(q), speed=AVIF_SPEED, max_threads=1)(picture),
        decode_with_pillow, _pillow("AVIF", "avif") + f", speed {AVIF_SPEED}, 4:2:0, 1 thread",
    )  # fmt: skip
