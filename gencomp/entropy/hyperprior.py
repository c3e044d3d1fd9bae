"""The kinds "hyperprior" (one pass) and "context" (four passes): latents coded under predicted means and levels.

    z --tables--> stream;   z, quality weights --synthesis--> features
    pass p: features, latents known so far --context network p--> mean (in 1/64), level --> residuals --> stream

A hyperprior may have no context network: the features are then its means and levels (Minnen et al. 2018). Integers
cross these borders and nothing else: residuals r, means, and y_int = 64 r + mean; y_hat = y_int / 64 is exact in
float32, and is all that a synthesis sees.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import ModelError
from gencomp.regions import region

from . import intnet
from . import tables as T
from .check import answer, scatter, verify_stream
from .coder import Decoder, Draws, Encoder, SymbolSource
from .constants import HYPER_UNIT, KNOTS, LEVELS, MEAN_UNIT, PASSES
from .contract import PLAIN, Arithmetic, Coded, Evaluation, IntArray, Latents
from .evaluate import evaluate, evaluate_whole, tiles
from .intnet import IntNet, is_pointwise, receptive_field
from .latent import Levels, clamp_residuals, clamp_z, decode_pass, decode_z, encode_pass, encode_z, least_bits
from .passes import Pass, from_origin, quality_weights, trunk_and_heads

MAX_CHANNELS = 1024  # of latents, and of hyper-latents
MAX_STRIDE = 16  # latents a side for one hyper-latent
NO_INTEGERS = np.zeros((0,), np.int64)

Plane = npt.NDArray[np.int32]  # [h, w, channels]


@dataclass(frozen=True, eq=False)
class Hyperprior:
    """All that decides bits.

    tables: of the scale levels, of z and of escapes. synthesis: z in units of 1 / HYPER_UNIT, and the quality weights
    if it takes KNOTS more channels, to features. contexts: 4 networks, 1, or none. thresholds: int64 [LEVELS - 1],
    rising; the level of a raw output is the number of thresholds at or below it. Without, it is the output itself,
    clamped to 0..LEVELS - 1.
    """

    tables: T.Tables
    synthesis: IntNet
    contexts: tuple[IntNet, ...] = ()
    thresholds: IntArray = field(default_factory=lambda: NO_INTEGERS)

    @property
    def kind(self) -> str:
        """ "context" or "hyperprior"."""
        return "context" if self.passes > 1 else "hyperprior"

    @property
    def passes(self) -> int:
        """4 or 1."""
        return max(1, len(self.contexts))

    @property
    def latent_channels(self) -> int:
        """M: half of the outputs of what gives means and levels."""
        return (*self.contexts, self.synthesis)[0].outputs // 2

    @property
    def hyper_channels(self) -> int:
        """Z."""
        return len(self.tables.z)

    @property
    def quality_inputs(self) -> int:
        """KNOTS, or 0 for a family that does not know quality."""
        return self.synthesis.inputs - self.hyper_channels

    @cached_property
    def hyper_stride(self) -> int:
        """Latents a side for one hyper-latent."""
        return receptive_field(self.synthesis).scale

    @cached_property
    def _split(self) -> tuple[tuple[IntNet, tuple[IntNet, ...]], ...]:
        """Of each context network of four: its trunk, and its last layer for each channel group alone."""
        return tuple(trunk_and_heads(net) for net in self.contexts) if self.passes > 1 else ()

    def encode(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        encoder = Encoder(keep=how.check)
        z, y_int = self._rounded(latents)
        with region("range coder"):
            encode_z(encoder, z, self.tables)
        for residuals, levels in self._passes(latents.y, z, quality_step, y_int, how):
            with region("range coder"):
                encode_pass(encoder, residuals, levels, self.tables)
        payload = encoder.finish()
        with region("check"):
            verify_stream(payload, encoder)
        return Coded(payload, _channels_first(y_int), encoder.bits)

    def quantize(self, latents: Latents, quality_step: int, how: Evaluation = PLAIN) -> npt.NDArray[np.int32]:
        z, y_int = self._rounded(latents)
        for _ in self._passes(latents.y, z, quality_step, y_int, how):
            pass  # y_int is filled on the way
        return _channels_first(y_int)

    def symbols(self, latents: Latents, quality_step: int) -> list[tuple[IntArray, Levels]]:
        """Residuals [n] and scale levels [n] of each pass, as `encode` writes them: what tables are fitted to."""
        z, y_int = self._rounded(latents)
        return list(self._passes(latents.y, z, quality_step, y_int, PLAIN))

    def _rounded(self, latents: Latents) -> tuple[IntArray, Plane]:
        """z [Z, h', w'], and zeros [h, w, M] for the latents to come."""
        if latents.z is None or len(latents.z) != self.hyper_channels or len(latents.y) != self.latent_channels:
            raise ValueError("these latents are not this model's")
        z = clamp_z(np.rint(np.nan_to_num(latents.z)), self.tables)
        return z, np.zeros((*latents.y.shape[1:], len(latents.y)), np.int32)

    def _passes(
        self, y: npt.NDArray[np.float32], z: IntArray, quality_step: int, y_int: Plane, how: Evaluation
    ) -> Iterator[tuple[IntArray, Levels]]:
        """What is to be written of y [M, h, w], pass by pass; y_int [h, w, M] is filled with what a decoder knows."""
        features, y = self.features(z, quality_step, how), y.transpose(1, 2, 0)
        for index in range(self.passes):
            part = Pass(self.passes, index, self.latent_channels)
            with region("integer networks"):
                mean, level = self.mean_and_level(index, features, y_int, how)
            here = np.empty(mean.shape, np.float32)
            part.take(y, here)
            residuals = clamp_residuals(np.rint(np.nan_to_num(here - mean / MEAN_UNIT)))
            yield part.to_stream(residuals), part.to_stream(level)
            part.put(y_int, MEAN_UNIT * residuals + mean)

    def decode(self, payload: bytes, height: int, width: int, quality_step: int, how: Evaluation = PLAIN) -> Coded:
        decoder = Decoder(payload)
        likeliest = min(least_bits([table]) for table in self.tables.y)
        hyper = math.prod(self._hyper_size(height, width)) * least_bits(self.tables.z)
        decoder.require(self.latent_channels * height * width * likeliest + hyper)
        y_int = self._read(decoder, height, width, quality_step, how)
        decoder.finish()
        return Coded(payload, y_int, decoder.bits)

    def draw(
        self, chance: np.random.Generator, height: int, width: int, quality_step: int, how: Evaluation = PLAIN
    ) -> npt.NDArray[np.int32]:
        return self._read(Draws(chance), height, width, quality_step, how)

    def _read(
        self, source: SymbolSource, height: int, width: int, quality_step: int, how: Evaluation
    ) -> npt.NDArray[np.int32]:
        """y_int [M, height, width] from the symbols that a source gives."""
        with region("range coder"):
            z = decode_z(source, (self.hyper_channels, *self._hyper_size(height, width)), self.tables)
        features = self.features(z, quality_step, how)[:height, :width]
        y_int = np.zeros((height, width, self.latent_channels), np.int32)
        for index in range(self.passes):
            part = Pass(self.passes, index, self.latent_channels)
            with region("integer networks"):
                mean, level = self.mean_and_level(index, features, y_int, how)
            residuals = np.empty_like(mean)
            with region("range coder"):
                part.from_stream(decode_pass(source, part.to_stream(level), self.tables), residuals)
            part.put(y_int, MEAN_UNIT * residuals + mean)
        return _channels_first(y_int)

    def _hyper_size(self, height: int, width: int) -> tuple[int, int]:
        return -(-height // self.hyper_stride), -(-width // self.hyper_stride)

    def features(self, z: IntArray, quality_step: int, how: Evaluation) -> Plane:
        """z int32 [Z, h', w'] at a quality step -> features int32 [h' stride, w' stride, F]."""
        inputs = [HYPER_UNIT * z.transpose(1, 2, 0)]
        if self.quality_inputs:
            inputs.append(np.broadcast_to(quality_weights(quality_step), (*z.shape[1:], KNOTS)))
        with region("integer networks"):
            return evaluate(self.synthesis, inputs, how._replace(tile=max(1, how.tile // self.hyper_stride)))

    def mean_and_level(
        self, index: int, features: Plane, y_int: Plane, how: Evaluation
    ) -> tuple[Plane, npt.NDArray[np.uint8]]:
        """Pass `index`: features [h, w, F], latents known so far [h, w, M] (else 0) -> mean int32 and level uint8, both
        [h, w, M / passes], of the latents of the pass."""
        height, width, channels = y_int.shape
        part = Pass(self.passes, index, channels)
        mean = np.empty((height, width, part.width), np.int32)
        level = np.empty((height, width, part.width), np.uint8)
        if self.passes == 1:
            raw = self.raw(index, features, y_int, how)
            return raw[..., :channels], self.level_of(raw[..., channels:])
        trunk, heads = self._split[index]
        for rows, columns, values in tiles(trunk, self._inputs(index, features, y_int), how):
            for head, (down, across) in zip(heads, part.classes):
                y, x = from_origin(down, rows.start), from_origin(across, columns.start)
                if (known := values[y, x]).size:
                    raw = evaluate_whole(head, [known], how)
                    mean[rows, columns][y, x] = raw[..., : part.width]
                    level[rows, columns][y, x] = self.level_of(raw[..., part.width :])
        return mean, level

    def raw(self, index: int, features: Plane, y_int: Plane, how: Evaluation) -> Plane:
        """Means and raw levels of all latents, int32 [h, w, 2 M], as pass `index` sees them."""
        if not self.contexts:
            return features[: y_int.shape[0], : y_int.shape[1]]
        return evaluate(self.contexts[index], self._inputs(index, features, y_int), how)

    def _inputs(self, index: int, features: Plane, y_int: Plane) -> list[Plane]:
        features = features[: y_int.shape[0], : y_int.shape[1]]
        return [features] if index == 0 else [features, y_int]

    def level_of(self, raw: IntArray) -> npt.NDArray[np.uint8]:
        """The scale level of raw outputs, of any shape."""
        if len(self.thresholds):
            return np.searchsorted(self.thresholds, raw, side="right").astype(np.uint8)
        return np.clip(raw, 0, LEVELS - 1).astype(np.uint8)

    def arrays(self) -> dict[str, IntArray]:
        arrays: dict[str, IntArray] = {f"tables.{k}": v for k, v in T.to_arrays(self.tables).items()}
        arrays |= intnet.to_arrays(self.synthesis, "synthesis")
        for index, context in enumerate(self.contexts):
            arrays |= intnet.to_arrays(context, f"context{index}")
        return arrays | ({"thresholds": self.thresholds} if len(self.thresholds) else {})

    def known_answer(self, arithmetic: Arithmetic = "float64") -> str:
        """SHA-256 over features, means and levels of fixed hyper-latents, of odd sizes and with extremes, at several
        quality steps."""
        how, widest = Evaluation(arithmetic=arithmetic), self.tables.z_half_widths[:, None, None]
        seen: list[npt.NDArray[np.int32]] = []
        for seed, (height, width, quality_step) in enumerate(((1, 1, 0), (2, 3, 300), (3, 2, 777), (1, 4, 1024))):
            chance = scatter((self.hyper_channels, height, width), seed)
            z = clamp_z(np.where(chance % 11 == 0, widest, (chance >> 8) % 5 - 2), self.tables)
            features = self.features(z, quality_step, how)
            y_int = np.zeros((*features.shape[:2], self.latent_channels), np.int32)
            chance = scatter((self.latent_channels, *features.shape[:2]), seed + 100).transpose(1, 2, 0)
            residuals = (((chance >> 8) % 7 - 3) * np.where(chance % 101 == 0, 1000, 1)).astype(np.int32)
            for index in range(self.passes):
                mean, level = np.split(self.raw(index, features, y_int, how), 2, axis=2)
                parts = features, mean, self.level_of(level).astype(np.int32)
                seen += [part.transpose(2, 0, 1) for part in parts]
                part = Pass(self.passes, index, self.latent_channels)
                plane = np.empty((*y_int.shape[:2], part.width), np.int32)
                part.take(MEAN_UNIT * residuals + mean, plane)
                part.put(y_int, plane)
        return answer(seen)


def _channels_first(y_int: Plane) -> npt.NDArray[np.int32]:
    return np.ascontiguousarray(y_int.transpose(2, 0, 1))


def from_arrays(arrays: Mapping[str, IntArray]) -> Hyperprior:
    """The reverse of `Hyperprior.arrays`, of a model file that may hold anything: ModelError unless whole and exact."""
    names = sorted({name.split(".")[0] for name in arrays if name.startswith("context")})
    if names not in ([], ["context0"], [f"context{index}" for index in range(PASSES)]):
        raise ModelError(f"the integer model has {len(names)} context networks, expected none, 1 or {PASSES}")
    known = {"tables", "synthesis", "thresholds", *names}
    if unknown := sorted(name for name in arrays if name.split(".")[0] not in known):
        raise ModelError(f"unknown array {unknown[0]!r}")
    tables, synthesis = T.from_arrays(T.below("tables", arrays)), intnet.from_arrays(arrays, "synthesis")
    contexts, thresholds = tuple(intnet.from_arrays(arrays, name) for name in names), NO_INTEGERS
    if "thresholds" in arrays:
        thresholds = T.checked_integers(arrays, "thresholds", 1, -intnet.MAX_ACTIVATION, intnet.MAX_ACTIVATION)
        if len(thresholds) != LEVELS - 1 or (np.diff(thresholds) < 0).any():
            raise ModelError(f"the thresholds of the scale levels are not {LEVELS - 1} rising integers")
    model = Hyperprior(tables, synthesis, contexts, thresholds)
    _check_fit(model)
    return model


def _check_fit(model: Hyperprior) -> None:
    """ModelError unless the networks and tables fit one another."""
    channels, heads = model.latent_channels, model.contexts or (model.synthesis,)
    if len(model.tables.y) != LEVELS or not model.tables.z:
        raise ModelError(f"{len(model.tables.y)} tables of scale levels, expected {LEVELS}, and tables of z")
    if model.hyper_stride > MAX_STRIDE:
        raise ModelError(f"the hyper-synthesis enlarges by {model.hyper_stride}, more than {MAX_STRIDE}")
    if model.quality_inputs not in (0, KNOTS):
        raise ModelError(f"the hyper-synthesis takes {model.quality_inputs} quality weights, expected 0 or {KNOTS}")
    if not 1 <= channels <= MAX_CHANNELS or channels % model.passes or model.hyper_channels > MAX_CHANNELS:
        raise ModelError(f"{channels} latent channels, expected up to {MAX_CHANNELS} and a multiple of {model.passes}")
    if any(net.outputs != 2 * channels or (model.contexts and receptive_field(net).scale != 1) for net in heads):
        raise ModelError("a context network does not give a mean and a level for each latent")
    if model.passes > 1 and any(len(net.layers) < 2 or not is_pointwise(net.layers[-1]) for net in model.contexts):
        raise ModelError("a context network does not end in a 1x1 convolution")
    features = model.synthesis.outputs
    takes = [features] + [features + channels] * (len(model.contexts) - 1)
    if [net.inputs for net in model.contexts] != takes[: len(model.contexts)]:
        raise ModelError("a context network does not take the features and the latents known before")
