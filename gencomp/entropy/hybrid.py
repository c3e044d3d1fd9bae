"""The kind "hybrid": planes of the reduced image as JPEG scans, and the latents of another kind beside them.

FORMAT.md, section 5, says how they are written. No bit of the inner payload depends on the planes, so that a JPEG
decoder that differs would change these channels alone, which the file's checksum sees; the model's known answer holds
what the decoder here makes of a fixed scan, so that such a machine is refused when the model is loaded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import BitstreamError, ModelError, read_varint, varint
from gencomp.regions import region

from . import hyperprior
from .check import answer
from .constants import KNOTS, MEAN_UNIT, SEGMENT
from .contract import PLAIN, Arithmetic, Coded, Evaluation, IntArray, Latents
from .hyperprior import Hyperprior
from .jpeg import PROBE, SIDE, check_length, decode_plane, encode_plane
from .passes import quality_weights
from .tables import below, checked_integers

PLANES = 3  # luma, blue and red difference
PER_PLANE = 4  # channels: 2 x 2 places of 1/8 in one of 1/16
CHANNELS = PLANES * PER_PLANE
CENTRE = 128  # of a byte
MAX_LENGTH = 5  # bytes of a varint

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Hybrid:
    """steps: quantiser's steps of JPEG at the quality knots, int [KNOTS] in 1..255; inner: of the other channels."""

    steps: IntArray
    inner: Hyperprior

    kind = "hybrid"

    @property
    def latent_channels(self) -> int:
        """12, and those of the inner model."""
        return CHANNELS + self.inner.latent_channels

    @property
    def hyper_channels(self) -> int:
        """Z of the inner model."""
        return self.inner.hyper_channels

    def step_at(self, quality_step: int) -> int:
        """The quantiser's step at a quality step, linear between the knots, half up."""
        return (int(quality_weights(quality_step) @ self.steps) + SEGMENT // 2) // SEGMENT

    def encode(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        if len(latents.y) != self.latent_channels:
            raise ValueError("these latents are not this model's")
        inner = self.inner.encode(Latents(latents.y[CHANNELS:], latents.z), quality_step, how)
        planes = to_planes(latents.y[:CHANNELS])
        with region("jpeg"):
            written = write_planes(planes, self.step_at(quality_step))
        y_int = np.concatenate([from_planes(planes), inner.y_int])
        return Coded(written + inner.payload, y_int, 8 * len(written) + inner.bits)

    def decode(self, payload: bytes, height: int, width: int, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        """JPEG scans are as strict as `jpeg.decode_plane` is."""
        size, at, scans = (2 * height, 2 * width), 0, list[bytes]()
        for _ in range(PLANES):
            for rows, columns in pieces(*size):
                length, at = read_varint(payload, at, MAX_LENGTH)
                scans.append(payload[at : at + length])
                if len(scans[-1]) < length:
                    raise BitstreamError("the coded data are damaged: they end within a JPEG scan")
                check_length(scans[-1], rows.stop - rows.start, columns.stop - columns.start)
                at += length
        inner = self.inner.decode(payload[at:], height, width, quality_step, how)
        step, rest = self.step_at(quality_step), iter(scans)
        planes = np.empty((PLANES, *size), np.uint8)
        with region("jpeg"):
            for plane in planes:
                for rows, columns in pieces(*size):
                    piece = plane[rows, columns]
                    piece[:] = decode_plane(next(rest), len(piece), piece.shape[1], step)
        return Coded(payload, np.concatenate([from_planes(planes), inner.y_int]), 8 * at + inner.bits)

    def arrays(self) -> dict[str, IntArray]:
        return {"steps": self.steps} | {f"inner.{name}": array for name, array in self.inner.arrays().items()}

    def known_answer(self, arithmetic: Arithmetic = "float64") -> str:
        """Of the inner model's answer, and of a fixed scan as this machine decodes it at every step of the model."""
        inner = np.frombuffer(bytes.fromhex(self.inner.known_answer(arithmetic)), np.uint8)
        seen = [decode_plane(PROBE, 8, 16, int(step)) for step in (*self.steps, 1, 255)]
        return answer([inner, self.steps, *seen])


def from_arrays(arrays: Mapping[str, IntArray]) -> Hybrid:
    """The reverse of `Hybrid.arrays`, of a model file that may hold anything: ModelError unless whole and exact."""
    if unknown := sorted(name for name in arrays if name != "steps" and not name.startswith("inner.")):
        raise ModelError(f"unknown array {unknown[0]!r}")
    steps = checked_integers(arrays, "steps", 1, 1, 255)
    if len(steps) != KNOTS:
        raise ModelError(f"{len(steps)} steps of JPEG's quantiser, expected {KNOTS}")
    return Hybrid(steps, hyperprior.from_arrays(below("inner", arrays)))


def pieces(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """The pieces of a plane, each a scan of its own, in reading order: rows and columns."""
    for top in range(0, height, SIDE):
        for left in range(0, width, SIDE):
            yield slice(top, min(top + SIDE, height)), slice(left, min(left + SIDE, width))


def write_planes(planes: Bytes, step: int) -> bytes:
    """All scans of planes [3, H, W], each after its length; `planes` become what is decoded from them."""
    parts = []
    for plane in planes:
        for rows, columns in pieces(*plane.shape):
            piece = plane[rows, columns]
            scan = encode_plane(piece, step)
            piece[:] = decode_plane(scan, len(piece), piece.shape[1], step)
            parts += [varint(len(scan)), scan]
    return b"".join(parts)


def to_planes(y: npt.NDArray[np.float32]) -> Bytes:
    """Channels [12, h, w] -> planes [3, 2 h, 2 w]; what no byte can hold is clamped."""
    levels = np.rint(MEAN_UNIT * np.clip(np.nan_to_num(y), -4, 4)) + CENTRE
    levels = np.clip(levels, 0, 255).astype(np.uint8)
    height, width = y.shape[1:]
    places = levels.reshape(PLANES, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(places.reshape(PLANES, 2 * height, 2 * width))


def from_planes(planes: Bytes) -> npt.NDArray[np.int32]:
    """Planes [3, 2 h, 2 w] -> y_int [12, h, w]."""
    height, width = planes.shape[1] // 2, planes.shape[2] // 2
    places = planes.reshape(PLANES, height, 2, width, 2).transpose(0, 2, 4, 1, 3)
    return places.reshape(CHANNELS, height, width).astype(np.int32) - CENTRE
