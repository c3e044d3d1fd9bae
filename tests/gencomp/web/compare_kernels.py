"""The page's kernel beside onnxruntime-web on the same synthesis, one thread each, in turns, in headless Chromium:

    python tests/gencomp/web/compare_kernels.py        (needs npm, chromium and the package onnx)

Prints sizes, start-up and the milliseconds of each round for a 768x512 image at realism 0 (without noise, which
onnxruntime-web would have to be fed).
"""

import base64
import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from playwright.sync_api import sync_playwright
from torch import Tensor, nn

import gencomp
from gencomp.codec import model_path
from gencomp.model import load_model
from gencomp.networks import network_of
from gencomp.web.site import export, site_of

ROUNDS = 12
PACKAGE = "onnxruntime-web@1.30.0"
SCRIPT = """async ([file, rounds]) => {
  const read = async (at) => (await fetch(at)).arrayBuffer();
  const timed = async (work) => {
    const from = performance.now();
    await work();
    return Math.round(performance.now() - from);
  };
  const ort = await import("/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
  let session, codec;
  const { Codec } = await import("/page/codec/codec.js");
  const [kernel, model] = [await read("/page/codec/kernel.wasm"), await read("/page/model.safetensors")];
  const start = {
    theirs: await timed(async () => (session = await ort.InferenceSession.create("/synthesis.onnx"))),
    ours: await timed(async () => (codec = await Codec.load(kernel, model))),
  };
  const coded = await codec.read(Uint8Array.from(atob(file), (c) => c.charCodeAt(0)));
  const y = Float32Array.from(coded.latents, (value) => value / 64);
  const feeds = {
    y: new ort.Tensor("float32", y, [1, y.length / 1536, 32, 48]),
    condition: new ort.Tensor("float32", Float32Array.of(0, 0, 0, 0, 1, 0, 0, 0, 0, 0), [1, 10]),
  };
  const [theirs, ours] = [[], []];
  for (let round = 0; round < rounds; round++) {
    theirs.push(await timed(() => session.run(feeds)));
    ours.push(await timed(() => codec.show(coded, 0)));
  }
  return { start, theirs, ours };
}"""


class WithoutNoise(nn.Module):
    """The synthesis at realism 0."""

    def __init__(self, synthesis: Any) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, y: Tensor, condition: Tensor) -> Tensor:
        """y [1, M, h, w], condition [1, K] -> [1, 3, 16 h, 16 w]."""
        s = self.synthesis
        x = s.stage8(s.up8(s.stage16(s.stem(y), condition)), condition)
        x = s.up2(s.stage4(s.up4(x), condition))
        return s.head(x + nn.functional.leaky_relu(s.refine(x), 0.01))


def prepare(folder: Path) -> None:
    """The package, the graph and the page below a folder."""
    subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), PACKAGE], check=True)
    synthesis: Any = network_of(load_model(model_path(None))).synthesis
    given = torch.zeros(1, synthesis.stem.in_channels, 32, 48), torch.zeros(1, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(folder / "synthesis.onnx")
        torch.onnx.export(WithoutNoise(synthesis), given, path, dynamo=False, input_names=["y", "condition"])
    export(site_of(model_path(None)), folder / "page")


def main() -> None:
    row, column = np.mgrid[:512, :768]
    waves = 128 + 90 * np.sin(row[..., None] / (9 + np.arange(3)) + column[..., None] / 23)
    coded = gencomp.load(device="cpu").compress(Image.fromarray(waves.astype(np.uint8)))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        prepare(Path(name))
        types = {".mjs": "text/javascript", ".wasm": "application/wasm"}
        http.server.SimpleHTTPRequestHandler.extensions_map |= types
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=name)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/page/icon.svg")
        found = page.evaluate(SCRIPT, [base64.b64encode(coded).decode(), ROUNDS])
        browser.close()
        server.shutdown()
    print(json.dumps(found | {"median": {who: float(np.median(found[who])) for who in ("theirs", "ours")}}))


if __name__ == "__main__":
    main()
