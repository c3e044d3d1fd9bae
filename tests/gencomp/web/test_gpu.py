"""The transforms by WebGPU, on SwiftShader: a program that Chromium brings, which imitates a GPU slowly."""

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.codec import load
from gencomp.model import save_model

from .conftest import DONE, TESTS, TINY, downloaded, fact, give, served
from .test_conformance import sent

pytestmark = pytest.mark.slow
SWITCHES = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
SWIFTSHADER = [Path(at) / "libvk_swiftshader.so" for at in ("/usr/lib/chromium", "/usr/lib/chromium-browser")]
SECONDS = 300  # for one thing on a busy machine
PRELUDE = """
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const module = await WebAssembly.compileStreaming(fetch("codec/kernel.wasm"));
const { openGpu } = await import("./codec/gpu.js");
const most = (a, b) => a.reduce((found, value, i) => Math.max(found, Math.abs(value - b[i])), 0);
const apart = (a, b) => (a.length === b.length ? most(a, b) : Infinity);
const check = (holds, what) => { if (!holds) throw new Error(what); };
const gpu = await openGpu(true);
check(gpu && !(await openGpu()), "a program is a GPU only for who asks for it");
"""
LAYERS = """async (shapes) => {%s
  const { Floats } = await import("./codec/floats.js");
  const { Kernel, MODE } = await import("./codec/kernel.js");
  let state = 1;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
  const random = (length) => Float32Array.from({ length }, next);
  const engines = [gpu, new Floats(await Kernel.load(module))];
  const out = [];
  for (const [outputs, inputs, size, height, width, how] of shapes) {
    const { unshuffle, residual, crop } = how;
    const f = unshuffle ? 2 : 1;
    const weights = [random(outputs * inputs * size ** 2), random(outputs), [outputs, inputs, size, size]];
    const [x, before, gain] = [random(inputs * height * width), random(outputs * height * width), random(outputs)];
    const made = [];
    for (const engine of engines) {
      const layer = engine.conv(...weights);
      const row = engine.row(outputs);
      engine.fill(row, gain);
      made.push(await engine.job(async () => {
        const seen = engine.tensor(inputs / f ** 2, height * f, width * f, x);
        const out = residual ? engine.tensor(outputs, height, width, before) : null;
        const result = layer.run(seen, { ...how, mode: residual ? MODE.residual : MODE.leaky, gain: row, out });
        if (crop) engine.crop(result, 1, 2, height - 3, width - 4);
        return engine.read(result);
      }));
    }
    out.push(apart(...made));
  }
  return out;
}"""
FILES = """async ([rgba, width, height, step]) => {%s
  const { Codec } = await import("./codec/codec.js");
  const { Floats } = await import("./codec/floats.js");
  const { Kernel } = await import("./codec/kernel.js");
  const model = await (await fetch("model.safetensors")).arrayBuffer();
  const load = (...on) => Codec.load(module, model, ...on);
  const tick = async () => {};
  const [ours, kernels] = [await load(gpu), await load()];
  const slow = Object.assign(await openGpu(true), { software: false });
  check((await load(slow)).engine === "WebAssembly", "a GPU that is slower than the kernel is used");
  const image = { read: async () => new Uint8ClampedArray(bytes(rgba)), width, height };
  const coded = [await ours.encode(image, step), await kernels.encode(image, step)];
  const shown = [];
  for (const realism of [0, 1]) {
    const read = await kernels.read(coded[0].bytes);
    check(read.latentsOk, "the file is not what the kernel reads");
    shown.push([await ours.show(read, realism), await kernels.show(read, realism)]);
  }

  // a tile with more around it than is shown, at a place of its own
  const [yields, sees] = [{ top: 70, left: 40, height: 2, width: 3 }, { top: 66, left: 35, height: 10, width: 13 }];
  const latents = Int32Array.from({ length: 16 * 130 }, (_, i) => ((i * 2654435761) % 512) - 256);
  const tile = { task: "synthesis", latents, yields, sees, rows: 30, columns: 48, step, realism: 1 };
  shown.push(await Promise.all([ours, kernels].map((codec) => codec.perform(tile, tick))));
  check(ours.engine === "WebGPU", "the GPU failed");

  // one that computes wrongly is not taken
  const changes = { name: "WebGPU", add: () => {}, device: { destroy: () => {} } };
  const wrong = await load(Object.assign(new Floats(await Kernel.load(module)), changes));
  check(wrong.engine === "WebAssembly", "a GPU that is wrong was taken");

  // the GPU is lost in the middle, and then there is none
  const lose = async (share) => share > 0 && gpu.device.destroy();
  shown.push(await Promise.all([ours.perform(tile, lose), kernels.perform(tile, tick)]));
  const after = [await ours.encode(image, step), await kernels.encode(image, step)];
  return {
    engines: [ours.engine, kernels.engine],
    apart: shown.map(([a, b]) => apart(a, b)),
    differ: apart(shown[0][1], shown[1][1]),
    latents: [coded, after].map(([a, b]) => apart(a.latents, b.latents)),
    bytes: [coded, after].map(([a, b]) => apart([a.bytes.length], [b.bytes.length])),
    file: btoa(String.fromCharCode(...coded[0].bytes)),
  };
}"""


@pytest.fixture(scope="module")
def browser(chromium: str, tiny_url: str) -> Iterator[Any]:
    """With SwiftShader as its GPU. Where it lies beside a Chromium that does not use it, the test fails in CI."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", *SWITCHES])
        page = running.new_page()
        page.goto(tiny_url, timeout=1000 * SECONDS)
        there = page.evaluate("async () => Boolean(await navigator.gpu?.requestAdapter())")
        page.close()
        if not there and os.environ.get("CI") and any(path.exists() for path in SWIFTSHADER):
            pytest.fail("SwiftShader is here, but Chromium gives no WebGPU adapter")
        if not there:
            pytest.skip("this Chromium has no SwiftShader for WebGPU")
        yield running
        running.close()


@pytest.fixture(scope="module")
def grainy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model of the golden files with positional noise, and with realism."""
    rng = np.random.default_rng(0)
    model = load(TINY, device="cpu").model
    grain = {}
    for index, channels in enumerate((16, 8)):
        for name, shape in {"project.weight": (channels, 4), "gate.weight": (channels, channels)}.items():
            grain[f"synthesis.grain.{index}.{name}"] = rng.normal(0, 0.3, (*shape, 1, 1)).astype(np.float16)
        grain[f"synthesis.grain.{index}.gate.bias"] = rng.normal(0, 0.3, channels).astype(np.float16)
    changed = model._replace(
        config={**model.config, "transform": {**model.config["transform"], "grain": True}},
        facts={**model.facts, "realism": True},
        weights={**model.weights, **grain},
    )
    path = tmp_path_factory.mktemp("model") / "grainy.safetensors"
    save_model(changed, path)
    return path


def evaluated(page: Any, script: str, argument: Any) -> Any:
    return page.evaluate(script.replace("%s", PRELUDE, 1), argument)


def test_layers_give_what_the_kernel_gives(opened: Callable[..., Any], tiny_url: str) -> None:
    """Of few and many channels, that fill the work of a group and do not, at the edges of images of any size."""
    shapes = [
        [12, 32, 3, 5, 67, {}],
        [5, 3, 1, 9, 70, {"residual": True, "crop": True}],
        [96, 33, 3, 7, 33, {"residual": True}],
        [40, 18, 1, 6, 40, {"shuffle": True}],
        [64, 20, 3, 11, 18, {"crop": True}],
        [128, 48, 1, 5, 17, {"unshuffle": True}],
    ]
    assert max(evaluated(opened(tiny_url), LAYERS, shapes)) < 1e-4


def test_files_are_coded_and_decoded_as_by_the_kernel_also_when_the_gpu_is_lost(
    opened: Callable[..., Any], grainy: Path
) -> None:
    image = Image.open(TESTS / "golden" / "odd.png").convert("RGBA")
    with served(grainy) as url:
        seen = evaluated(opened(url), FILES, [sent(image.tobytes()), image.width, image.height, 500])
    assert load(grainy, device="cpu").verify(base64.b64decode(seen["file"])).latents_ok
    assert seen["engines"] == ["WebAssembly", "WebAssembly"]  # the GPU was lost in the end
    assert max(seen["apart"][:3]) <= 1
    assert seen["apart"][3] == 0
    assert seen["differ"] > 1  # realism shows
    assert seen["latents"][0] <= 64  # rounding ties alone may differ, by a level
    assert seen["bytes"][0] <= 2
    assert seen["latents"][1] == seen["bytes"][1] == 0


def test_the_page_says_what_it_computes_on(opened: Callable[..., Any], tiny_url: str, tmp_path: Path) -> None:
    coded = TESTS / "golden" / "dot.gnc"
    shown = []
    for query, says in (("?gpu=force", "the graphics processor (WebGPU)"), ("", "the processor (WebAssembly)")):
        page = opened(tiny_url + query)
        page.set_default_timeout(1000 * SECONDS)
        give(page, coded)
        page.locator(DONE).wait_for()
        assert fact(page, "pixels by") == says
        shown.append(np.asarray(Image.open(downloaded(page, "#save-png", tmp_path / "seen.png")).convert("RGB"), int))
    assert np.abs(shown[0] - shown[1]).max() <= 1
