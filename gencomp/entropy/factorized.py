"""The kind "factorized": tables alone (Balle et al. 2017). Each channel has one table and one centre; no z.

Latents that are scaled by the quality are spread otherwise at each quality: a model may have S sets of tables and
centres, for S qualities spread evenly. A file uses the set nearest to its quality step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import STEPS, ModelError

from . import tables as T
from .check import answer, verify_stream
from .coder import Decoder, Draws, Encoder, SymbolSource
from .constants import MEAN_UNIT
from .contract import PLAIN, Arithmetic, Coded, Evaluation, IntArray, Latents
from .intnet import MAX_ACTIVATION
from .latent import clamp_residuals, decode_pass, encode_pass, least_bits


@dataclass(frozen=True, eq=False)
class Factorized:
    """tables: y[s M + c] of channel c in set s, and of escapes; none of z. centres: int32 [M] of a single set, else
    [S, M], of each channel, in 1 / MEAN_UNIT."""

    tables: T.Tables
    centres: IntArray

    kind = "factorized"
    hyper_channels = 0

    @property
    def latent_channels(self) -> int:
        """M."""
        return self.centres.shape[-1]

    @cached_property
    def sets(self) -> tuple[tuple[T.Tables, npt.NDArray[np.int32]], ...]:
        """The S sets: tables of the channels and of escapes, and centres, int32 [M, 1, 1], in 1 / MEAN_UNIT."""
        channels, rows = self.latent_channels, self.centres.reshape(-1, self.latent_channels)
        cut = (self.tables.y[s * channels : (s + 1) * channels] for s in range(len(rows)))
        return tuple(
            (T.Tables(y, (), self.tables.escape), row[:, None, None].astype(np.int32)) for y, row in zip(cut, rows)
        )

    def set_of(self, quality_step: int) -> tuple[T.Tables, npt.NDArray[np.int32]]:
        """The set nearest to a quality step in 0..STEPS, the upper one of two."""
        return self.sets[(quality_step * (len(self.sets) - 1) + STEPS // 2) // STEPS]

    def encode(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        encoder, (tables, centres) = Encoder(keep=how.check), self.set_of(quality_step)
        residuals = self._residuals(latents, centres)
        encode_pass(encoder, residuals.ravel(), self._levels(*latents.y.shape[1:]), tables)
        payload = encoder.finish()
        verify_stream(payload, encoder)
        return Coded(payload, MEAN_UNIT * residuals + centres, encoder.bits)

    def decode(self, payload: bytes, height: int, width: int, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        decoder = Decoder(payload)
        decoder.require(height * width * least_bits(self.set_of(quality_step)[0].y))
        y_int = self._read(decoder, height, width, quality_step)
        decoder.finish()
        return Coded(payload, y_int, decoder.bits)

    def quantize(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> npt.NDArray[np.int32]:
        _, centres = self.set_of(quality_step)
        return MEAN_UNIT * self._residuals(latents, centres) + centres

    def draw(
        self, chance: np.random.Generator, height: int, width: int, quality_step: int, how: Evaluation = PLAIN
    ) -> npt.NDArray[np.int32]:
        return self._read(Draws(chance), height, width, quality_step)

    def _read(self, source: SymbolSource, height: int, width: int, quality_step: int) -> npt.NDArray[np.int32]:
        tables, centres = self.set_of(quality_step)
        residuals = decode_pass(source, self._levels(height, width), tables)
        return MEAN_UNIT * residuals.reshape(-1, height, width) + centres

    def _residuals(self, latents: Latents, centres: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        if latents.z is not None or len(latents.y) != self.latent_channels:
            raise ValueError("these latents are not this model's")
        return clamp_residuals(np.rint(np.nan_to_num(latents.y - centres / MEAN_UNIT)))

    def _levels(self, height: int, width: int) -> npt.NDArray[np.uint16]:
        return np.repeat(np.arange(self.latent_channels, dtype=np.uint16), height * width)

    def arrays(self) -> dict[str, IntArray]:
        return {**{f"tables.{k}": v for k, v in T.to_arrays(self.tables).items()}, "centres": self.centres}

    def known_answer(self, arithmetic: Arithmetic = "float64") -> str:
        """There is nothing to evaluate: the digest of the tables and centres."""
        return answer([*self.tables.y, self.tables.escape, self.centres])


def from_arrays(arrays: Mapping[str, IntArray]) -> Factorized:
    """The reverse of `Factorized.arrays`, of a model file that may hold anything: ModelError unless whole."""
    if unknown := sorted(name for name in arrays if name != "centres" and not name.startswith("tables.")):
        raise ModelError(f"unknown array {unknown[0]!r}")
    tables = T.from_arrays(T.below("tables", arrays))
    dimensions = 2 if getattr(arrays.get("centres"), "ndim", 1) == 2 else 1
    centres = T.checked_integers(arrays, "centres", dimensions, -MAX_ACTIVATION, MAX_ACTIVATION)
    if centres.size != len(tables.y) or tables.z:
        raise ModelError(f"{centres.size} centres of {len(tables.y)} tables, and {len(tables.z)} tables of z")
    if dimensions == 2 and len(centres) == 1:
        raise ModelError("a single set of centres has one dimension")
    return Factorized(tables, centres.astype(np.int32))
