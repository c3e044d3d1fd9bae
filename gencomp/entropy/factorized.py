"""The kind "factorized": tables alone (Balle et al. 2017). Each channel has one table and one centre; no z.

    r = round(y - centre / 64),   y_int = 64 r + centre

Residuals are coded channel by channel, rows from the top, columns from the left, escapes after all (`latent.py`, with
the channel's number for the level).

Latents that are scaled by the quality are spread otherwise at each quality: a model may have S sets of tables and
centres, for S qualities spread evenly. A file uses the set nearest to its quality step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import STEPS, ModelError

from . import intnet
from .answers import answer
from .check import verify_stream
from .coder import Decoder, Encoder
from .constants import MEAN_UNIT, TILE
from .contract import Arithmetic, Coded, IntArray, Latents
from .draw import Draws
from .latent import clamp_residuals, decode_pass, encode_pass, least_bits
from .tables import Tables, below
from .tables import from_arrays as tables_from_arrays
from .tables import to_arrays as tables_to_arrays


class ChannelTables(NamedTuple):
    """One set. tables: y[c] of channel c, and of escapes; centres: int32 [M, 1, 1], in 1 / MEAN_UNIT."""

    tables: Tables
    centres: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Factorized:
    """tables: y[s M + c] of channel c in set s, and of escapes; none of z. centres: int32 [M] of a single set, else
    [S, M], of each channel, in 1 / MEAN_UNIT."""

    tables: Tables
    centres: IntArray

    kind = "factorized"
    hyper_channels = 0

    @property
    def latent_channels(self) -> int:
        """M."""
        return self.centres.shape[-1]

    @cached_property
    def sets(self) -> tuple[ChannelTables, ...]:
        """The S sets."""
        channels, rows = self.latent_channels, self.centres.reshape(-1, self.latent_channels)
        cut = (self.tables.y[s * channels : (s + 1) * channels] for s in range(len(rows)))
        return tuple(
            ChannelTables(Tables(y, (), self.tables.escape), row[:, None, None].astype(np.int32))
            for y, row in zip(cut, rows)
        )

    def set_of(self, quality_step: int) -> ChannelTables:
        """The set nearest to a quality step in 0..STEPS, the upper one of two."""
        return self.sets[(quality_step * (len(self.sets) - 1) + STEPS // 2) // STEPS]

    def encode(
        self,
        latents: Latents,
        quality_step: int,
        *,
        tile: int = TILE,
        arithmetic: Arithmetic = "float64",
        check: bool = False,
    ) -> Coded:
        """See `EntropyModel.encode`."""
        encoder = Encoder(keep=check)
        tables, centres = self.set_of(quality_step)
        residuals = self._residuals(latents, centres)
        encode_pass(encoder, residuals.ravel(), self._levels(*latents.y.shape[1:]), tables)
        payload = encoder.finish()
        if check:
            verify_stream(payload, encoder)
        return Coded(payload, MEAN_UNIT * residuals + centres, encoder.bits)

    def decode(
        self,
        payload: bytes,
        height: int,
        width: int,
        quality_step: int,
        *,
        tile: int = TILE,
        arithmetic: Arithmetic = "float64",
    ) -> Coded:
        """See `EntropyModel.decode`."""
        decoder = Decoder(payload)
        tables, centres = self.set_of(quality_step)
        decoder.require(height * width * least_bits(tables.y))
        residuals = decode_pass(decoder, self._levels(height, width), tables)
        decoder.finish()
        return Coded(payload, MEAN_UNIT * residuals.reshape(-1, height, width) + centres, decoder.bits)

    def quantize(
        self, latents: Latents, quality_step: int, *, tile: int = TILE, arithmetic: Arithmetic = "float64"
    ) -> npt.NDArray[np.int32]:
        """See `Quantizer.quantize`."""
        centres = self.set_of(quality_step).centres
        return MEAN_UNIT * self._residuals(latents, centres) + centres

    def draw(
        self,
        chance: np.random.Generator,
        height: int,
        width: int,
        quality_step: int,
        *,
        tile: int = TILE,
        arithmetic: Arithmetic = "float64",
    ) -> npt.NDArray[np.int32]:
        """See `Drawable.draw`."""
        tables, centres = self.set_of(quality_step)
        residuals = decode_pass(Draws(chance), self._levels(height, width), tables)
        return MEAN_UNIT * residuals.reshape(-1, height, width) + centres

    def _residuals(self, latents: Latents, centres: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        if latents.z is not None or len(latents.y) != self.latent_channels:
            raise ValueError("these latents are not this model's")
        return clamp_residuals(np.rint(np.nan_to_num(latents.y - centres / MEAN_UNIT)))

    def _levels(self, height: int, width: int) -> npt.NDArray[np.uint16]:
        return np.repeat(np.arange(self.latent_channels, dtype=np.uint16), height * width)

    def arrays(self) -> dict[str, IntArray]:
        """See `EntropyModel.arrays`."""
        arrays: dict[str, IntArray] = {f"tables.{k}": v for k, v in tables_to_arrays(self.tables).items()}
        return arrays | {"centres": self.centres}

    def known_answer(self, arithmetic: Arithmetic = "float64") -> str:
        """There is nothing to evaluate: the digest of the tables and centres."""
        return answer([*self.tables.y, self.tables.escape, self.centres])


def from_arrays(arrays: Mapping[str, IntArray]) -> Factorized:
    """The reverse of `Factorized.arrays`, of a model file that may hold anything: ModelError unless whole."""
    if unknown := sorted(name for name in arrays if name != "centres" and not name.startswith("tables.")):
        raise ModelError(f"unknown array {unknown[0]!r}")
    tables = tables_from_arrays(below("tables", arrays))
    dimensions = 2 if getattr(arrays.get("centres"), "ndim", 1) == 2 else 1
    centres = intnet.checked_integers(arrays, "centres", dimensions, -intnet.MAX_ACTIVATION, intnet.MAX_ACTIVATION)
    if centres.size != len(tables.y) or tables.z:
        raise ModelError(f"{centres.size} centres of {len(tables.y)} tables, and {len(tables.z)} tables of z")
    if dimensions == 2 and len(centres) == 1:
        raise ModelError("a single set of centres has one dimension")
    return Factorized(tables, centres.astype(np.int32))
