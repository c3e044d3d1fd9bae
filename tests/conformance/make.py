"""Remakes the conformance set: `python tests/conformance/make.py`, only when the format grows.

What a case is stands in README.md beside. Nothing here reads a clock or draws at random: equal code gives equal files.
"""

import hashlib
import importlib
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from gencomp.bitstream import SECTION_KINDS, Header, pack, unpack
from gencomp.codec import Codec
from gencomp.entropy.contract import EntropyModel, Latents
from gencomp.model import load_model

HERE = Path(__file__).parent
TINY = "../golden/tiny.safetensors"
GOLDEN = ("dot", "strip", "odd", "wide", "loud")
SIZES = ((1, 1), (16, 16), (15, 17), (17, 15), (64, 64), (65, 63), (3, 200), (129, 5))  # width, height


def image(width: int, height: int, kind: str = "waves") -> Image.Image:
    """A made-up image: flat, waves, or noise over the whole range."""
    row, column = np.mgrid[:height, :width]
    noise = (((row * 7919 + column * 104729) * 2654435761) >> 7) % 256
    waves = 128 + 60 * np.sin(row / 5)[..., None] + 50 * np.cos(column[..., None] / (4 + np.arange(3)))
    flat, wild = np.full((height, width, 3), 90), np.stack([noise, noise, 255 - noise], -1)
    pixels = {"flat": flat, "waves": waves, "noise": wild}[kind]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def sha256(latents: np.ndarray) -> str:
    """Over integer latents as little-endian int32 in the order channel, row, column."""
    return hashlib.sha256(np.ascontiguousarray(latents, "<i4").tobytes()).hexdigest()


def good_files(codec: Codec) -> dict[str, bytes]:
    """Valid files by name."""
    files = {f"size-{w}x{h}": codec.compress(image(w, h), quality=60) for w, h in SIZES}
    for quality in (1, 100):
        for kind in ("flat", "waves", "noise"):
            files[f"quality-{quality}-{kind}"] = codec.compress(image(40, 24, kind), quality=quality)
    files |= {f"version-2-{name}": as_version_2(files["size-15x17"], extras) for name, extras in EXTRAS.items()}
    return files


EXTRAS: dict[str, dict[int, bytes]] = {
    "bare": {},
    "comment": {SECTION_KINDS["comment"]: "grüße".encode()},
    "all": {kind: b"\x01" * (8 if name == "dpi" else 200) for name, kind in SECTION_KINDS.items()},
    "unknown": {127: b"whatever a later writer puts here"},
}


def as_version_2(data: bytes, extras: dict[int, bytes]) -> bytes:
    """A file of version 1 again, as version 2 with sections."""
    header, payload = unpack(data)
    crc = header.latents_crc
    newer = Header(header.model_id, header.width, header.height, header.quality_step, 0, 2).sealed(crc)
    return pack(newer, payload, extras)


def resealed(data: bytes, head: int, change: Callable[[bytearray], object]) -> bytes:
    """A file changed on purpose, with a file CRC that fits again; head: bytes before the CRC."""
    changed = bytearray(data)
    changed[head : head + 4] = b""
    change(changed)
    changed[head:head] = struct.pack("<I", zlib.crc32(changed))
    return bytes(changed)


def set_at(at: int, *values: int) -> Callable[[bytearray], object]:
    """Write bytes at a place."""
    return lambda data: data.__setitem__(slice(at, at + len(values)), bytes(values))


def bad_files(good: dict[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """Invalid files by name, each with its error (README.md); one-byte width and height: the header has 16 bytes."""
    one, two = good["size-15x17"], good["version-2-comment"]
    head, comment = 16, 20  # of `one` and `two`; where the first section of `two` begins
    long = pack(Header(one[4:8], 2_097_151, 2_097_151, 512, 0), b"\x01")
    return {
        "empty": ("foreign", b""),
        "png": ("foreign", b"\x89PNG\r\n\x1a\n"),
        "magic-alone": ("damaged", one[:3]),
        "version-3": ("newer", resealed(one, head, set_at(3, 3))),
        "flags": ("newer", resealed(one, head, set_at(3, 0x11))),
        "cut-in-header": ("damaged", one[:11]),
        "cut-in-payload": ("damaged", one[:-1]),
        "longer": ("damaged", one + b"\x01"),
        "bit-in-payload": ("damaged", one[:-2] + bytes([one[-2] ^ 4]) + one[-1:]),
        "width-0": ("damaged", resealed(one, head, set_at(8, 0))),
        "step-1025": ("damaged", resealed(one, head, set_at(10, 1, 4))),
        "varint-long-form": ("damaged", long_varint(one, head)),
        "other-model": ("other-model", resealed(one, head, set_at(4, 1, 2, 3, 4))),
        "too-large": ("too-large", long),
        "latents-crc": ("undecodable", resealed(one, head, set_at(12, 1, 2, 3, 4))),
        "payload-cut-resealed": ("undecodable", resealed(one, head, lambda d: d.__delitem__(slice(-6, None)))),
        "payload-other-resealed": ("undecodable", resealed(one, head, set_at(20, 0x55, 0xAA, 0x55))),
        "payload-longer-resealed": ("undecodable", resealed(one, head, lambda d: d.extend(b"\x01" * 40))),
        "payload-ends-in-zero": ("undecodable", resealed(one, head, lambda d: d.append(0))),
        "width-exchanged": ("undecodable", resealed(two, head, set_at(8, 16))),
        "section-must-be-known": ("newer", resealed(two, head, set_at(comment - 4, 200))),
        "section-too-long": ("damaged", resealed(two, head, set_at(comment - 3, 0x7F))),
        "sections-out-of-order": ("damaged", with_sections(two, b"\x05\x01a\x04\x01b")),
        "after-payload": ("damaged", resealed(two, head, lambda d: d.append(7))),
    }  # fmt: skip


def long_varint(data: bytes, head: int) -> bytes:
    """The width in two bytes where one would do."""
    changed = bytearray(data[:head] + data[head + 4 :])
    changed[8:9] = bytes([changed[8] | 0x80, 0])
    return bytes(changed[: head + 1]) + struct.pack("<I", zlib.crc32(changed)) + bytes(changed[head + 1 :])


def with_sections(data: bytes, sections: bytes) -> bytes:
    """A file of version 2 whose optional sections are these bytes, valid or not."""
    header, payload = unpack(data)
    whole = bytearray(pack(header, payload))
    whole[16:20] = sections
    whole[16:16] = struct.pack("<I", zlib.crc32(whole))
    return bytes(whole)


def kind_cases(name: str, model: EntropyModel) -> list[dict[str, Any]]:
    """Latents of every spread, beyond the escapes too, coded by an entropy model of a kind alone."""
    cases = []
    stride = getattr(model, "hyper_stride", 1)
    for seed, (height, width, step) in enumerate(((1, 1, 0), (5, 7, 455), (9, 4, 1024))):
        rng = np.random.Generator(np.random.PCG64(seed))
        y = rng.normal(size=(model.latent_channels, height, width)) * np.array([0.1, 2, 30, 3000])[rng.integers(4)]
        y.flat[0] = 1e9
        z_shape = (model.hyper_channels, -(-height // stride), -(-width // stride))
        z = rng.normal(size=z_shape) * 3 if model.hyper_channels else None
        latents = Latents(y.astype(np.float32), None if z is None else z.astype(np.float32))
        coded = model.encode(latents, step)
        cases.append({"model": f"kinds/{name}.safetensors", "height": height, "width": width, "quality_step": step,
                      "payload": coded.payload.hex(), "latents": sha256(coded.y_int)})  # fmt: skip
    return cases


def main() -> None:
    codec = Codec(load_model(HERE / TINY), "cpu")
    for folder in ("files", "kinds"):
        (HERE / folder).mkdir(exist_ok=True)
    cases: dict[str, list[dict[str, Any]]] = {"decode": [], "refuse": [], "entropy": []}
    good = good_files(codec)
    for name, data in good.items():
        (HERE / "files" / f"{name}.gnc").write_bytes(data)
    for path in [*(f"../golden/{n}.gnc" for n in GOLDEN), *(f"files/{n}.gnc" for n in good)]:
        data = (HERE / path).read_bytes()
        header, _ = unpack(data)
        stated = {"width": header.width, "height": header.height, "quality_step": header.quality_step}
        cases["decode"].append({"file": path, "model": TINY, **stated, "latents": sha256(codec.latents(data))})
    for name, (error, data) in bad_files(good).items():
        (HERE / "files" / f"bad-{name}.gnc").write_bytes(data)
        cases["refuse"].append({"file": f"files/bad-{name}.gnc", "model": TINY, "error": error})
    sys.path.insert(0, str(HERE.parent / "gencomp"))
    for name, make in importlib.import_module("entropy.models").MODELS.items():
        model = make()
        arrays = {f"integer.{k}": np.ascontiguousarray(v) for k, v in model.arrays().items()}
        said = json.dumps({"kind": model.kind, "known_answer": model.known_answer()})
        save_file(arrays, HERE / "kinds" / f"{name}.safetensors", {"gencomp": said})  # one key: the order may change
        cases["entropy"] += kind_cases(name, model)
    (HERE / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    print({kind: len(rows) for kind, rows in cases.items()})


if __name__ == "__main__":
    main()
