"""The interface of a codec under evaluation.

A `Baseline` is all that the suite knows of a codec: how an image becomes bytes at one setting of its rate control, and
how bytes become an image again. To evaluate another codec, learned or not, write a function without arguments that
returns a Baseline, and name it to the command as `--codec package.module:function`:

    def make() -> Baseline:
        network = load_my_network()
        return Baseline("mine", ".bin", RateControl("quality", smallest=1, largest=8),
                        encode=lambda image, setting: network.compress(image, round(setting)),
                        decode=lambda data, realism: network.decompress(data),
                        note="my network, commit 1234")

The bytes must be all that the decoder needs: what is counted is the file. A codec that is to stay becomes a row of
`BUILT_IN` in build.py; tests/eval/codecs/test_codecs.py then codes with it, at even and odd sizes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image


class BaselineError(ValueError):
    """A codec is not installed or cannot be built; the message says what to install."""


class RateControl(NamedTuple):
    """The one parameter that sets a codec's rate. Bytes grow from the setting `smallest` to the setting `largest`."""

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
class Baseline:
    """One codec at fixed options; this project's models are wrapped like any other.

    `encode` takes an RGB image and a setting of the rate control, `decode` bytes and a realism in 0..1 that only codecs
    with `has_realism` heed. Both may raise whatever they like: the run names it and goes on.
    """

    name: str
    suffix: str
    rate_control: RateControl
    encode: Callable[[Image.Image, float], bytes]
    decode: Callable[[bytes, float], Image.Image]
    note: str = ""  # library, version, fixed options: all that decides the bytes
    has_realism: bool = False
    default_realism: float | None = None  # what its decoder does unless told otherwise
    minimised: tuple[str, ...] = ()  # metrics that its options, its training or its refinement minimised
    facts: Callable[[], dict[str, float]] = dict  # parameters, kMAC per pixel: where they are known
    # Chroma format and bit depth as a file itself says them, such as "4:2:0, 10 bits"; "" where it cannot be read.
    sample_format: Callable[[bytes], str] = lambda data: ""
    # Bytes of the file at a setting, where a rate search can have them for less than an encoding; None: encode.
    size: Callable[[Image.Image, float], int] | None = None
    # About proportional to these bytes, by a far quicker way of coding, where the codec has one: a rate search finds
    # its way by it, and codes in earnest only about where it ends.
    sketch: Callable[[Image.Image, float], int] | None = None
