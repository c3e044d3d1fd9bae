"""A second decoder of payloads, from the text of FORMAT.md alone, in plain Python integers."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gencomp.bitstream import unpack
from gencomp.entropy import KINDS
from gencomp.entropy.contract import Latents

from .models import MODELS

GOLDEN = Path(__file__).parents[2] / "golden"


class Reader:
    """Section 1."""

    def __init__(self, payload: bytes) -> None:
        self.data, self.at = payload, 8
        self.offset, self.range = int.from_bytes(payload[:8].ljust(8, b"\0"), "big"), 2**64 - 1
        self.states = [(self.offset, self.range)]

    def symbol(self, weights: list[int]) -> int:
        number, s, c = self.offset // (self.range >> 24), 0, 0
        while c + 256 * weights[s] <= number:
            c += 256 * weights[s]
            s += 1
        self.narrow(c, 256 * weights[s])
        return s

    def narrow(self, c: int, w: int) -> None:
        scale = self.range >> 24
        self.offset -= scale * c
        self.range = scale * w
        if self.range < 2**32:
            self.range <<= 32
            self.offset = self.offset << 32 | int.from_bytes(self.data[self.at : self.at + 4].ljust(4, b"\0"), "big")
            self.at += 4
        self.states.append((self.offset, self.range))

    def bits(self, k: int) -> int:
        value = self.offset // (self.range >> 24) >> (24 - k)
        if k:
            self.narrow(value << (24 - k), 1 << (24 - k))
        return value


class Model:
    """Section 6."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = {name: array.astype(object) for name, array in arrays.items()}

    def tables(self, name: str, last: int) -> list[list[int]]:
        half_widths: list[int] = list(self.arrays.get(f"tables.{name}_half_widths", []))
        weights: list[int] = list(self.arrays.get(f"tables.{name}_weights", []))
        tables, at = [], 0
        for half_width in half_widths:
            tables.append(weights[at : at + 2 * half_width + last])
            at += 2 * half_width + last
        return tables

    def layers(self, net: str) -> int:
        return sum(name.startswith(f"{net}.") and name.endswith(".form") for name in self.arrays)

    def evaluate(self, net: str, x: np.ndarray) -> np.ndarray:
        """Section 5: x [C, h, w]."""
        bound = self.arrays[f"{net}.input_bound"]
        bounds = [int(bound[c if len(bound) > 1 else 0]) for c in range(len(x))]
        x = np.array([np.clip(plane, -b, b) for plane, b in zip(x, bounds)], object)
        for l in range(self.layers(net)):
            weight, bias, multiplier, shift, form = (
                self.arrays[f"{net}.{l}.{part}"] for part in ("weight", "bias", "multiplier", "shift", "form")
            )
            lo, hi, groups, shuffle = form
            outputs, inputs, k, _ = weight.shape
            _, height, width = x.shape
            padded = np.zeros((len(x), height + k - 1, width + k - 1), object)
            padded[:, k // 2 : k // 2 + height, k // 2 : k // 2 + width] = x
            y = np.empty((outputs, height, width), object)
            for o, row, column in np.ndindex(y.shape):
                first = o // (outputs // groups) * inputs
                window = padded[first : first + inputs, row : row + k, column : column + k]
                acc = bias[o] + (weight[o] * window).sum()
                y[o, row, column] = min(max((acc * multiplier[o] + 2 ** (shift[o] - 1)) >> shift[o], lo), hi)
            x = y
            if shuffle == 2:
                x = np.empty((outputs // 4, 2 * height, 2 * width), object)
                for c, row, column in np.ndindex(y.shape):
                    x[c // 4, 2 * row + c % 4 // 2, 2 * column + c % 2] = y[c, row, column]
        return x


def read_residuals(reader: Reader, model: Model, levels: list[int]) -> list[int]:
    """Section 2."""
    tables, residuals, escaped = model.tables("y", 2), [0] * len(levels), []
    for level in sorted(set(levels)):
        half_width = len(tables[level]) // 2 - 1
        for place in [n for n, l in enumerate(levels) if l == level]:
            s = reader.symbol(tables[level])
            residuals[place] = s - half_width
            if s == 2 * half_width + 1:
                escaped.append((place, half_width))
    classes = [reader.symbol(list(model.arrays["tables.escape_weights"])) for _ in escaped]
    for (place, half_width), k in zip(escaped, classes):
        o = 2**k + reader.bits(k) - 1
        residuals[place] = -half_width - 1 - o // 2 if o % 2 else half_width + 1 + o // 2
    return residuals


def decode(model: Model, payload: bytes, height: int, width: int, quality_step: int) -> tuple[np.ndarray, Reader]:
    """Sections 3 and 4: y_int [M, h, w]."""
    reader = Reader(payload)
    if "centres" in model.arrays:
        centres, first = model.arrays["centres"], 0
        if centres.ndim == 2:
            s = (quality_step * (len(centres) - 1) + 512) // 1024
            first, centres = s * centres.shape[1], centres[s]
        levels = [c for c in range(len(centres)) for _ in range(height * width)]
        read = read_residuals(reader, model, [first + c for c in levels])
        values = [64 * r + centres[c] for r, c in zip(read, levels)]
        return np.array(values, object).reshape(len(centres), height, width), reader
    shuffles = [model.arrays[f"synthesis.{l}.form"][3] for l in range(model.layers("synthesis"))]
    hyper = [-(-size // int(np.prod(shuffles))) for size in (height, width)]
    z = [[reader.symbol(t) - len(t) // 2 for _ in range(hyper[0] * hyper[1])] for t in model.tables("z", 1)]
    planes = 16 * np.array(z, object).reshape(-1, *hyper)
    if model.arrays["synthesis.0.weight"].shape[1] > len(planes):
        knots = [max(0, 128 - abs(quality_step - 128 * k)) for k in range(9)]
        planes = np.concatenate([planes, [np.full(hyper, knot, object) for knot in knots]])
    features = model.evaluate("synthesis", planes)[:, :height, :width]
    contexts = sum(f"context{p}.input_bound" in model.arrays for p in range(4))
    passes = max(1, contexts)
    known = np.zeros((0, height, width), object)
    for p in range(passes):
        raw = features
        if contexts:
            raw = model.evaluate(f"context{p}", np.concatenate([features, known]))
        mean, raw_level = np.split(raw, 2)
        known = known if p else np.zeros(mean.shape, object)
        places = [
            (c, row, column)
            for c, row, column in np.ndindex(mean.shape)
            if passes == 1 or c // (len(mean) // 4) == (2 * (row % 2) + column % 2) ^ (0, 3, 1, 2)[p]
        ]
        thresholds = model.arrays.get("thresholds")
        raw_levels = [int(raw_level[place]) for place in places]
        levels = [min(max(t, 0), 63) if thresholds is None else int((thresholds <= t).sum()) for t in raw_levels]
        for place, r in zip(places, read_residuals(reader, model, levels)):
            known[place] = 64 * r + mean[place]
    return known, reader


def tiny_arrays() -> dict[str, np.ndarray]:
    tensors = load_file(GOLDEN / "tiny.safetensors")
    return {k.removeprefix("integer."): v for k, v in tensors.items() if k.startswith("integer.")}


def tiny() -> Model:
    return Model(tiny_arrays())


@pytest.mark.parametrize("name", ["dot", "strip", "odd"])
def test_golden_files_decode_by_the_text_alone(name: str) -> None:
    header, payload = unpack((GOLDEN / f"{name}.gnc").read_bytes())
    y_int, _ = decode(tiny(), payload, -(-header.height // 16), -(-header.width // 16), header.quality_step)
    digest = hashlib.sha256(y_int.astype("<i4").tobytes()).hexdigest()
    assert digest == json.loads((GOLDEN / "golden.json").read_text())[name]["latents"]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_kind_decodes_by_the_text_alone(name: str) -> None:
    model, draw = MODELS[name](), np.random.default_rng(1)
    y = (draw.normal(size=(model.latent_channels, 3, 5)) * 20).astype(np.float32)
    z = draw.normal(size=(model.hyper_channels, 1, 2)).astype(np.float32) if model.hyper_channels else None
    coded = model.encode(Latents(y, z), 333)
    y_int, _ = decode(Model(dict(model.arrays())), coded.payload, 3, 5, 333)
    assert np.array_equal(y_int.astype(np.int32), coded.y_int)


def test_the_example_is_what_happens() -> None:
    header, payload = unpack((GOLDEN / "dot.gnc").read_bytes())
    y_int, reader = decode(tiny(), payload, 1, 1, header.quality_step)
    text, flat = " ".join((GOLDEN.parents[1] / "FORMAT.md").read_text().split()), [int(v) for v in y_int.ravel()]
    place = text.index("8. Example")
    for at in range(0, len(payload), 4):
        place = text.index(payload[at : at + 4].hex().upper(), place) + 8
    assert reader.at == 52  # four bytes beyond the last ones
    assert [f"{v:016X}" for v in reader.states[0]] == ["32EDDCFE5CAB3BFA", "FFFFFFFFFFFFFFFF"]
    assert [f"{v:016X}" for v in reader.states[1]] == ["0B4BDCFE5CD2DDFA", "1F8DFFFFFFE07200"]
    assert f"y_int is {' '.join(map(str, flat))}." in text
    tensors = tiny_arrays()
    bits = KINDS["context"](tensors).decode(payload, 1, 1, header.quality_step).bits
    assert f"{bits:.2f} bits" in text
