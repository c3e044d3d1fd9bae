"""The kind "factorized": tables alone (Balle et al. 2017). Each channel has one table and one centre; no z.

    r = round(y - centre / 64),   y_int = 64 r + centre

Residuals are coded channel by channel, rows from the top, columns from the left, escapes after all (`latent.py`, with
the channel's number for the level).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import ModelError

from . import intnet
from .answers import answer
from .check import verify_stream
from .coder import Decoder, Encoder
from .constants import MEAN_UNIT, TILE
from .contract import Arithmetic, Coded, IntArray, Latents
from .latent import clamp_residuals, decode_pass, encode_pass, least_bits
from .tables import Tables, below
from .tables import from_arrays as tables_from_arrays
from .tables import to_arrays as tables_to_arrays


@dataclass(frozen=True, eq=False)
class Factorized:
    """tables: y[c] of channel c, and of escapes; none of z. centres: int32 [M], of each channel, in 1 / MEAN_UNIT."""

    tables: Tables
    centres: IntArray

    kind = "factorized"
    hyper_channels = 0

    @property
    def latent_channels(self) -> int:
        """M."""
        return len(self.centres)

    def encode(
        self,
        latents: Latents,
        quality_step: int,
        *,
        tile: int = TILE,
        arithmetic: Arithmetic = "float64",
        check: bool = False,
    ) -> Coded:
        """See `EntropyModel.encode`; the tables are those of every quality step."""
        if latents.z is not None or len(latents.y) != self.latent_channels:
            raise ValueError("these latents are not this model's")
        encoder = Encoder(keep=check)
        centres = self.centres[:, None, None].astype(np.int32)
        residuals = clamp_residuals(np.rint(np.nan_to_num(latents.y - centres / MEAN_UNIT)))
        encode_pass(encoder, residuals.ravel(), self._levels(*latents.y.shape[1:]), self.tables)
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
        decoder.require(height * width * least_bits(self.tables.y))
        residuals = decode_pass(decoder, self._levels(height, width), self.tables)
        decoder.finish()
        centres = self.centres[:, None, None].astype(np.int32)
        return Coded(payload, MEAN_UNIT * residuals.reshape(-1, height, width) + centres, decoder.bits)

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
    centres = intnet.checked_integers(arrays, "centres", 1, -intnet.MAX_ACTIVATION, intnet.MAX_ACTIVATION)
    if len(centres) != len(tables.y) or tables.z:
        raise ModelError(f"{len(centres)} centres of {len(tables.y)} tables, and {len(tables.z)} tables of z")
    return Factorized(tables, centres.astype(np.int32))
