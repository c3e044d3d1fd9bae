"""What the codec and the model file need of an entropy model: numpy at the border, integers inside.

To add a kind: a class with these members, a function that makes it from the arrays of a model file (which may hold
anything: ModelError unless they are whole and exact), and one row in `KINDS` (gencomp/entropy/__init__.py).
"""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .constants import TILE

Arithmetic = Literal["float64", "int64"]
IntArray = npt.NDArray[np.integer]


class Latents(NamedTuple):
    """What an analysis makes of an image. y: scaled latents, float32 [M, h, w], not rounded; z: hyper-latents, float32
    [Z, h', w'], not rounded, None for kinds without (`hyper_channels` 0)."""

    y: npt.NDArray[np.float32]
    z: npt.NDArray[np.float32] | None


class Coded(NamedTuple):
    """payload: the range-coded stream; y_int: int32 [M, h, w], decoded latents in units of 1 / MEAN_UNIT; bits: ideal
    length of the payload by the model's tables."""

    payload: bytes
    y_int: npt.NDArray[np.int32]
    bits: float


class Evaluation(NamedTuple):
    """How integers are computed, which changes none of them.

    tile: latents a side that integer networks see at a time. check: verify that every integer was computed exactly and
    that the payload reads back (see check.py), for what is going to be kept; ModelError if not.
    """

    tile: int = TILE
    arithmetic: Arithmetic = "float64"
    check: bool = False


PLAIN = Evaluation()


class EntropyModel(Protocol):
    """An exact integer model of the latents, immutable; every call stands alone.

    kind: its row in `KINDS`. latent_channels: M. hyper_channels: Z, or 0.
    """

    @property
    def kind(self) -> str: ...
    @property
    def latent_channels(self) -> int: ...
    @property
    def hyper_channels(self) -> int: ...

    def encode(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        """Code latents at a quality step 0..STEPS; NaN counts as 0, what is too large is clamped."""
        ...

    def decode(self, payload: bytes, height: int, width: int, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        """The reverse: height, width of y. BitstreamError unless the payload is what `encode` writes for such latents;
        the work is bounded by the payload's length."""
        ...

    def arrays(self) -> dict[str, IntArray]:
        """All that decides bits, as integers for the model file."""
        ...

    def known_answer(self, arithmetic: Arithmetic = "float64") -> str:
        """A digest over fixed evaluations: the same on every machine that evaluates exactly. Stored in the file."""
        ...


@runtime_checkable
class Drawable(Protocol):
    """An entropy model that is a distribution which can be drawn from; not every kind need be."""

    def draw(
        self, chance: np.random.Generator, height: int, width: int, quality_step: int, how: Evaluation = PLAIN
    ) -> npt.NDArray[np.int32]:
        """Latents as the model expects them, y_int of height x width: what random bits decode to. BitstreamError for a
        draw that no file could hold, which is rare."""
        ...


@runtime_checkable
class Quantizer(Protocol):
    """An entropy model that says what decoding gives, for less than coding costs; not every kind need."""

    def quantize(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> npt.NDArray[np.int32]:
        """The y_int of `encode`, without its bits."""
        ...
