"""Mutations of model files: bytes at random, and metadata and tensors at will with the digest set right again."""

import json
import random
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from mutate_file import TESTS, mutate_bytes
from safetensors.numpy import load, save

from gencomp.model import _digest

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 16, 4096, 4097, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "hific", "hyperprior", "context", "direct", "factorized", "\ud800", [], {}, [0], [1, 1],
    [16, 16, 16], [10**9, 1, 1], [[]], {"a": []}, [1] * 100,
)  # fmt: skip
DTYPES = (np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64, np.bool_)


def corpus() -> list[bytes]:
    """The tests' models, of the present form and of the first."""
    return [(TESTS / "golden" / name).read_bytes() for name in ("tiny.safetensors", "tiny-first-form.safetensors")]


def mutate(draw: random.Random, files: Sequence[bytes]) -> bytes:
    """A mutant of one of the files."""
    data = files[0] if draw.random() < 0.8 else draw.choice(files)
    match draw.randrange(6):
        case 0:
            return mutate_bytes_of(draw, data)
        case 1:
            return _layout(draw, data)
        case _:
            return _contents(draw, data)


def mutate_bytes_of(draw: random.Random, data: bytes) -> bytes:
    """One bit flipped, or pieces at the front, where lengths and names stand, cut, set and spliced."""
    if draw.random() < 0.5:
        return flipped(data, draw.randrange(8 * len(data)))
    front = draw.choice((8, 16, 64, 1024, 16384))
    return mutate_bytes(draw, data[:front], [data[-1024:]]) + data[front:]


def flipped(data: bytes, bit: int) -> bytes:
    """The data with one bit changed."""
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def tensors_and_metadata(data: bytes) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """What a sound model file holds; metadata parsed."""
    metadata = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
    return load(data), json.loads(metadata["gencomp"]) if "gencomp" in metadata else metadata


def sealed(tensors: dict[str, np.ndarray[Any, Any]], metadata: dict[str, Any]) -> bytes:
    """A model file with the digest of what it holds."""
    plain = {key: value for key, value in metadata.items() if key != "digest"}
    plain["digest"] = _digest(plain, tensors)
    return save(tensors, {"gencomp": json.dumps(plain)})


def _layout(draw: random.Random, data: bytes) -> bytes:
    """The file's table of tensors changed: types, shapes and offsets that do not fit; unsealed."""
    length = struct.unpack("<Q", data[:8])[0]
    table = json.loads(data[8 : 8 + length])
    for _ in range(draw.randint(1, 3)):
        entry = table[draw.choice(list(table))]
        if "dtype" in entry:
            match draw.randrange(3):
                case 0:
                    entry["dtype"] = draw.choice(("F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "F64", "X", ""))
                case 1:
                    entry["shape"] = draw.choice(([], [0], [2**62], [-1], [1, 1], [2**32, 2**32], [10**30], "x"))
                case _:
                    entry["data_offsets"] = draw.choice(([0, 0], [0, 2**40], [8, 0], [0], [-1, 1], [0, len(data)]))
        else:
            entry["gencomp"] = draw.choice(("", "{}", "[]", "null", "[" * 100_000, '{"format": 1}', "\u0000"))
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def _contents(draw: random.Random, data: bytes) -> bytes:
    """Metadata or tensors changed, and sealed."""
    tensors, metadata = tensors_and_metadata(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if draw.random() < 0.4:
            _change_value(draw, metadata)
        else:
            _change_tensor(draw, tensors)
    return sealed(tensors, metadata)


def _change_value(draw: random.Random, metadata: dict[str, Any]) -> None:
    """One value anywhere in the metadata replaced, removed or added."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            places.append((node, key))
            walk(node[key])

    walk(metadata)
    if not places or draw.random() < 0.05:
        metadata[draw.choice(("x", "family", "graphs", "stride"))] = draw.choice(VALUES)
        return
    node, key = draw.choice(places)
    if draw.random() < 0.15:
        del node[key]
    elif isinstance(node[key], int) and draw.random() < 0.5:
        node[key] += draw.choice((-1, 1, 16, 1000))
    else:
        node[key] = draw.choice(VALUES)


def _change_tensor(draw: random.Random, tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    """One tensor with other values, type, shape or name, or gone."""
    if not tensors:
        return
    prefix = draw.choice(("network.", "integer.", "integer.", "graph."))
    name = draw.choice([n for n in sorted(tensors) if n.startswith(prefix)] or sorted(tensors))
    array = tensors[name]
    match draw.randrange(8):
        case 0:
            del tensors[name]
        case 1:
            with np.errstate(all="ignore"):
                tensors[name] = array.astype(draw.choice(DTYPES))
        case 2:
            tensors[name] = _reshaped(draw, array)
        case 3:
            tensors[draw.choice((name + "x", "network.x", "integer.x", "graph.x", "x", prefix))] = tensors.pop(name)
        case 4:
            tensors[name] = tensors[draw.choice(sorted(tensors))].copy()
        case _:
            tensors[name] = _spoilt(draw, array)


def _reshaped(draw: random.Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not array.ndim:
        return array[None]
    shapes = (array.T, array[None], array.reshape(-1), array[:0], array[:1], np.concatenate([array, array]))
    return np.ascontiguousarray(draw.choice(shapes))


def _spoilt(draw: random.Random, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Some values, or all, at a limit of their type or at random."""
    if not array.size:
        return array
    out = array.reshape(-1).copy()
    where = slice(None) if draw.random() < 0.2 else [draw.randrange(out.size) for _ in range(draw.choice((1, 2, 16)))]
    if draw.random() < 0.3:
        raw = np.frombuffer(draw.randbytes(len(out[where]) * out.itemsize), np.uint8)
        out[where] = (raw & 1).astype(bool) if out.dtype == np.bool_ else raw.view(out.dtype)
    elif np.issubdtype(out.dtype, np.floating):
        out[where] = draw.choice((0.0, -0.0, np.nan, np.inf, 6e4, -6e4, 1e-7))
    elif out.dtype != np.bool_:
        limits = np.iinfo(out.dtype)
        with np.errstate(over="ignore"):
            out[where] = draw.choice((limits.min, limits.max, 0, 1, limits.max // 2))
    return out.reshape(array.shape)
