"""The page's codec, the second implementation of the format, passes the conformance set, in Chromium."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.codec import Codec
from gencomp.entropy.coder import Encoder
from gencomp.model import save_model
from gencomp.networks.int8 import quantised_weight

from .conftest import TESTS, TINY

SET = TESTS / "conformance"
CASES: dict[str, list[dict[str, Any]]] = json.loads((SET / "cases.json").read_text())
SAYS = {  # what this implementation says of each error
    "foreign": "not a gencomp file|empty file",
    "newer": "newer version of gencomp",
    "damaged": "^damaged file",
    "other-model": "another model",
    "too-large": "too many",
    "undecodable": "^damaged file|not those that were encoded",
}
PRELUDE = """
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const text = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const kernel = await (await fetch("codec/KERNEL.wasm")).arrayBuffer();
const { bytesOf } = await import("./codec/bytes.js");
"""
DECODE = """async ([model, files]) => {%s
  const { Codec } = await import("./codec/codec.js");
  const codec = await Codec.load(kernel, bytes(model).buffer);
  const out = [];
  for (const file of files) {
    try {
      const read = await codec.read(bytes(file), { maxPixels: 1e8 });
      if (!read.latentsOk) throw new Error("the decoded latents are not those that were encoded");
      const rgba = await codec.show(read, 0);
      out.push({ ...read.header, latents: text(bytesOf(read.latents)), rgba: text(rgba) });
    } catch (error) {
      out.push({ error: error.message });
    }
  }
  return out;
}"""
ENCODE = """async ([model, images]) => {%s
  const { Codec } = await import("./codec/codec.js");
  const codec = await Codec.load(kernel, bytes(model).buffer);
  const out = [];
  for (const { rgba, width, height, step } of images) {
    const image = { read: async () => new Uint8ClampedArray(bytes(rgba)), width, height };
    out.push(text((await codec.encode(image, step)).bytes));
  }
  return out;
}"""
ENTROPY = """async (cases) => {%s
  const { entropyModel } = await import("./codec/entropy.js");
  const { Kernel } = await import("./codec/kernel.js");
  const { RangeCoder } = await import("./codec/rangecoder.js");
  const { Safetensors } = await import("./codec/safetensors.js");
  const rest = [async () => [], async () => {}];
  const out = [];
  for (const { model, payload, height, width, quality_step } of cases) {
    const file = new Safetensors(bytes(model).buffer);
    const stated = JSON.parse(file.metadata.gencomp);
    const coder = await RangeCoder.load(kernel);
    const entropy = entropyModel(await Kernel.load(kernel), coder, file);
    const latents = await entropy.decode(bytes(payload), height, width, quality_step, ...rest);
    const y = Float32Array.from(latents, (value) => value / 64);
    const hyper = (length) => Math.ceil(length / (entropy.stride ?? 1));
    const z = new Float32Array(entropy.tables.z.length * hyper(height) * hyper(width));
    const again = await entropy.encode(y, z, height, width, quality_step, ...rest);
    const back = await entropy.decode(again.payload, height, width, quality_step, ...rest);
    out.push({
      answered: (await entropy.knownAnswer()) === stated.known_answer,
      kind: [entropy.kind, stated.kind],
      latents: text(bytesOf(latents)),
      comesBack: text(bytesOf(back)) === text(bytesOf(again.latents)),
    });
  }
  return out;
}"""
CODER = """async (streams) => {%s
  const { RangeCoder } = await import("./codec/rangecoder.js");
  const out = [];
  for (const { weights, symbols } of streams) {
    const coder = await RangeCoder.load(kernel);
    const table = coder.table(weights);
    coder.startWriting();
    coder.write(Int32Array.from(symbols), table);
    const written = coder.endWriting();
    coder.startReading(written);
    const back = coder.read(symbols.length, table);
    coder.endReading();
    out.push({ written: text(written), comesBack: back.every((symbol, i) => symbol === symbols[i]) });
  }
  return out;
}"""


def sent(data: bytes) -> str:
    return base64.b64encode(data).decode()


def evaluated(page: Any, script: str, argument: Any) -> Any:
    return page.evaluate(script.replace("%s", PRELUDE.replace("KERNEL", page.kernel), 1), argument)


def pixels(text: str, size: tuple[int, int]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(size[1], size[0], 4)[..., :3]


@pytest.fixture(params=["kernel", "kernel-relaxed"])
def page(opened: Callable[..., Any], tiny_url: str, request: pytest.FixtureRequest) -> Any:
    page = opened(tiny_url)
    page.kernel = request.param
    return page


def test_files_decode_to_their_latents_and_to_the_pixels_of_python(page: Any, codec: Codec) -> None:
    files = [(SET / case["file"]).read_bytes() for case in CASES["decode"]]
    found = evaluated(page, DECODE, [sent(TINY.read_bytes()), [sent(data) for data in files]])
    for case, data, seen in zip(CASES["decode"], files, found, strict=True):
        assert "error" not in seen, (case, seen)
        assert hashlib.sha256(base64.b64decode(seen["latents"])).hexdigest() == case["latents"], case
        assert (seen["width"], seen["height"], seen["step"]) == (case["width"], case["height"], case["quality_step"])
        shown = pixels(seen["rgba"], (case["width"], case["height"]))
        ours = np.asarray(codec.decompress(data))
        assert np.abs(shown.astype(int) - ours).max() <= 2, case


def test_invalid_files_are_refused_for_their_reason(page: Any) -> None:
    files = [sent((SET / case["file"]).read_bytes()) for case in CASES["refuse"]]
    found = evaluated(page, DECODE, [sent(TINY.read_bytes()), files])
    for case, seen in zip(CASES["refuse"], found, strict=True):
        assert re.search(SAYS[case["error"]], seen.get("error", "it was read")), (case, seen)


def test_payloads_of_every_kind_decode_to_their_latents(page: Any) -> None:
    files = [sent((SET / case["model"]).read_bytes()) for case in CASES["entropy"]]
    payloads = [sent(bytes.fromhex(case["payload"])) for case in CASES["entropy"]]
    cases = [case | {"model": f, "payload": p} for case, f, p in zip(CASES["entropy"], files, payloads)]
    for case, seen in zip(CASES["entropy"], evaluated(page, ENTROPY, cases), strict=True):
        assert seen["answered"], case
        assert seen["kind"][0] == seen["kind"][1], case
        assert hashlib.sha256(base64.b64decode(seen["latents"])).hexdigest() == case["latents"], case
        assert seen["comesBack"], case


def test_images_of_every_size_coded_in_the_page_decode_in_python(page: Any, codec: Codec) -> None:
    images = []
    for name in ("dot", "strip", "odd", "wide", "loud"):
        image = Image.open(TESTS / "golden" / f"{name}.png").convert("RGBA")
        images += [(image, step) for step in (0, 500, 1024)]
    given = [{"rgba": sent(i.tobytes()), "width": i.width, "height": i.height, "step": step} for i, step in images]
    coded = [base64.b64decode(file) for file in evaluated(page, ENCODE, [sent(TINY.read_bytes()), given])]
    for (image, step), data in zip(images, coded, strict=True):
        assert codec.verify(data).latents_ok
        assert codec.decompress(data).size == image.size
        ours = codec.compress(image.convert("RGB"), quality=1 + 99 * step / 1024)
        assert abs(len(data) - len(ours)) <= 2  # rounding ties alone may differ


def test_streams_are_those_of_python_to_the_last_byte(page: Any) -> None:
    """Short and long, likely and unlikely symbols, carries, and streams that would be far shorter than they cost."""
    rng = np.random.default_rng(0)
    streams = []
    for weights in ([1, 65535], [65535, 1], [1, 65534, 1], [32768, 32768], [16] * 4096, [65000, 500, 36]):
        chosen = [rng.choice(len(weights), n, p=np.array(weights) / 65536) for n in (0, 1, 2, 3, 5, 40, 3000)]
        chosen += [np.full(n, symbol) for n in (1, 17, 400) for symbol in (0, len(weights) - 1)]
        streams += [(weights, symbols) for symbols in chosen]
    asked = [{"weights": weights, "symbols": symbols.tolist()} for weights, symbols in streams]
    for (weights, symbols), seen in zip(streams, evaluated(page, CODER, asked), strict=True):
        encoder = Encoder()
        encoder.symbols(symbols, np.array(weights))
        assert base64.b64decode(seen["written"]) == encoder.finish(), (weights, symbols)
        assert seen["comesBack"]


def test_the_kernel_was_built_from_its_sources() -> None:
    folder = Path(__file__).parent.parent.parent.parent / "gencomp" / "web" / "kernel"
    sources = b"".join((folder / name).read_bytes() for name in ("kernel.c", "conv.h", "winograd.h", "build.sh"))
    stated = (folder / "kernel.sha256").read_text().strip()
    assert hashlib.sha256(sources).hexdigest() == stated, "run make web and commit kernel.wasm with its sources"


def test_a_narrower_decoder_in_eight_bits_shows_what_pytorch_shows(page: Any, codec: Codec, tmp_path: Path) -> None:
    left_out, weights = "synthesis.stage4.blocks.0.first.", codec.model.weights
    kept = {name: weight for name, weight in weights.items() if not name.startswith(left_out)}
    int8 = {
        name: quantised_weight(weight.astype(np.float32))
        for name, weight in kept.items()
        if re.fullmatch(r"synthesis\..*\.(reduce|spatial|expand)\.weight", name)
    }
    transform = {**codec.model.config["transform"], "decoder_inner": [8, 8, 8, 8, 0, 4]}
    changed = codec.model._replace(
        config={**codec.model.config, "transform": transform},
        weights={name: weight for name, weight in kept.items() if name not in int8},
        int8=int8,
    )
    save_model(changed, tmp_path / "int8.safetensors")
    data = (SET / CASES["decode"][0]["file"]).read_bytes()
    (seen,) = evaluated(page, DECODE, [sent((tmp_path / "int8.safetensors").read_bytes()), [sent(data)]])
    assert "error" not in seen, seen
    ours = np.asarray(Codec(changed, "cpu", runtime="torch").decompress(data)).astype(int)
    assert np.abs(pixels(seen["rgba"], (seen["width"], seen["height"])) - ours).max() <= 2
    assert np.abs(np.asarray(codec.decompress(data)) - ours).max() > 2
