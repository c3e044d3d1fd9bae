// The page's workers: the first, which what is on the screen is made by, and as many more as cores and memory allow,
// which code other files and help the first with large images. These start when there is something for them to do.

import { Work } from "./work.js";

const MOST = 8;

// Workers beside the first; each takes up to about 150 MB, deviceMemory says GB (8 at most).
function others() {
  const cores = Math.min(navigator.hardwareConcurrency ?? 1, MOST);
  return (navigator.deviceMemory ?? 8) < 4 ? 0 : cores - 1;
}

export class Crew {
  #started = null;
  #grown = null;
  #model;

  // model: {url, bytes}
  constructor(model) {
    this.#model = model;
    this.first = new Work();
    this.others = [];
  }

  // The model's facts, once it is ready in the first worker; progress(share) while it is fetched.
  start(progress) {
    const kernels = ["kernel-relaxed", "kernel"].map((name) => new URL(`codec/${name}.wasm`, import.meta.url).href);
    const softwareGpu = new URLSearchParams(location.search).get("gpu") === "force"; // for tests on machines without a GPU
    this.#started ??= this.first.run("start", { kernels, model: this.#model, softwareGpu }, progress);
    this.#started.catch(() => (this.#started = null));
    return this.#started;
  }

  // The other workers, ready.
  grow() {
    this.#grown ??= this.#grow();
    return this.#grown;
  }

  async #grow() {
    await this.start();
    const shared = others() ? await this.first.run("share") : null;
    this.others = await Promise.all(Array.from({ length: others() }, async () => {
      const work = new Work();
      await work.run("start", shared);
      const { port1, port2 } = new MessageChannel();
      work.run("join", { asks: port1 }, undefined, undefined, [port1]);
      await this.first.run("join", { gives: port2 }, undefined, undefined, [port2]);
      return work;
    }));
    shared?.bytes.transfer?.(0); // 24 MB that would wait to be collected
    return this.others;
  }
}
