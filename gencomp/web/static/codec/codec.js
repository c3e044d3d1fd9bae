// Images to .gnc files and back: the only place where bytes, integers and floats meet (gencomp/codec.py).

import { pack, STEPS, storedCrc, unpack } from "./bitstream.js";
import { hex } from "./bytes.js";
import { entropyModel, modelId } from "./entropy.js";
import { BitstreamError, Cancelled, ModelError, RateError } from "./errors.js";
import { Floats } from "./floats.js";
import { HyperAnalysis } from "./hyper.js";
import { Kernel } from "./kernel.js";
import { checksum, free, scatter } from "./numbers.js";
import { RangeCoder } from "./rangecoder.js";
import { Safetensors } from "./safetensors.js";
import { latentSize, STRIDE } from "./tiles.js";
import { Analysis, Synthesis } from "./transforms.js";

const idle = async () => {};

export class Codec {
  #kernel;
  #file;
  #entropy;
  #config;
  #floats;
  #engine; // of the transforms: #floats, or a GPU
  #nets = new Map(); // transforms on either
  #hyper = null;
  getHelpers = async () => []; // who performs jobs of large images beside this codec: [{perform(job, progress), cancel()}]

  // From kernel.wasm, its bytes or compiled, and the bytes of a model file. ModelError unless this browser computes the
  // model's known answer, that is decodes exactly. gpu: of gpu.js, or null.
  static async load(kernel, model, gpu = null) {
    const module = kernel instanceof WebAssembly.Module ? kernel : await WebAssembly.compile(kernel);
    const codec = new Codec(await Kernel.load(module), await RangeCoder.load(module), new Safetensors(model));
    if ((await codec.#entropy.knownAnswer()) !== codec.answer) {
      throw new ModelError("the model fails its known-answer test here: it is damaged, or this browser is not exact");
    }
    if (gpu && (await codec.#serves(gpu))) codec.#engine = gpu;
    else gpu?.device.destroy();
    return codec;
  }

  constructor(kernel, coder, file) {
    const stated = JSON.parse(file.metadata.gencomp ?? "{}");
    if (!["gencomp-model-1", "gencomp-model-2"].includes(stated.format))
      throw new ModelError("not a model file that this page knows");
    // The first form has them as text.
    const [config, facts] = [stated.config, stated.facts].map((v) => (typeof v === "string" ? JSON.parse(v) : v));
    if (stated.kind === "hybrid")
      throw new ModelError("files of the kind hybrid hold JPEG scans, which this page cannot decode: use gencomp itself");
    if ((stated.family ?? "hyperprior") !== "hyperprior")
      throw new ModelError("the page knows the transforms of the family hyperprior alone");
    this.name = stated.name;
    this.answer = stated.known_answer;
    this.id = modelId(file, stated.kind ?? "context");
    this.knowsRealism = Boolean(facts.realism);
    this.#config = config.transform;
    this.#kernel = kernel;
    this.#engine = this.#floats = new Floats(kernel);
    this.#file = file;
    this.#entropy = entropyModel(kernel, coder, file);
  }

  // A file's integers: {header, sections, extras, latents, bits, crc, latentsOk}; crc is over what was decoded.
  // BitstreamError for what cannot be decoded.
  async read(file, { maxPixels = Infinity, tick = idle } = {}) {
    const { header, payload, sections, extras } = unpack(file);
    const { width, height, step } = header;
    if (hex(header.modelId) !== this.id) {
      throw new BitstreamError(
        `written by another model (id ${hex(header.modelId)}); this page has ${this.name} (${this.id})`,
      );
    }
    if (width * height > maxPixels) {
      throw new BitstreamError(`the file claims ${width}x${height} pixels, too many for this page`);
    }
    const latents = await this.#entropy.decode(payload, ...latentSize(height, width), step, this.getHelpers, tick);
    const crc = storedCrc(header, checksum(latents));
    const { bits } = this.#entropy.coder;
    return { header, sections, extras, latents, bits, crc, latentsOk: crc === header.latentsCrc };
  }

  // The image of integers that `read` gave: RGBA, Uint8ClampedArray. With onPart({index, data: RGBA, left, top, width,
  // height}) in parts instead: those of `visible`, a rectangle in pixels, first, and none whose index is in `skip`.
  async show({ header: { width, height, step }, latents }, realism, { tick = idle, ...parts } = {}) {
    const strength = this.knowsRealism ? realism : 0;
    const rest = [this.perform, this.#helpersOfTransforms, tick, parts];
    return this.#net("synthesis").run(latents, height, width, step, strength, ...rest);
  }

  // What the transforms run on: "WebGPU", as long as a GPU does what it is asked to, or "WebAssembly".
  get engine() {
    return this.#engine.name;
  }

  // A job of this codec, or for a helper of another of the same model. A GPU that fails once is not asked again.
  perform = async (job, tick) => {
    if (job.task === "integers") return this.#entropy.net(job.net).perform(job, tick);
    try {
      return await this.#transform(job, tick);
    } catch (error) {
      if (error instanceof Cancelled || this.#engine === this.#floats) throw error;
      this.#engine.device.destroy();
      this.#engine = this.#floats;
      return this.#transform(job, tick);
    }
  };

  #transform(job, tick, engine = this.#engine) {
    const net = this.#net(job.task, engine);
    return engine.job(() => net.perform(job, tick));
  }

  // Is a GPU to be used? It must show 4 x 4 latents of noise as the kernel does, to a level, since drivers have errors, and
  // 16 x 16 sooner than all workers would together. One that was asked for need not be quick.
  async #serves(gpu) {
    const job = (side) => {
      const [, channels] = this.#file.shape("network.gains.log_decode");
      const latents = scatter(side ** 2 * channels, 1).map((value) => (value % 512) - 256);
      const place = { top: 0, left: 0, height: side, width: side };
      const size = { yields: place, sees: place, rows: side * STRIDE, columns: side * STRIDE };
      return { task: "synthesis", latents, ...size, step: STEPS / 2, realism: this.knowsRealism ? 1 : 0 };
    };
    const seconds = async (engine) => {
      const begun = performance.now();
      await this.#transform(job(16), idle, engine);
      return (performance.now() - begun) / 1000;
    };
    try {
      const [ours, kernels] = [await this.#transform(job(4), idle, gpu), await this.#transform(job(4), idle)];
      if (!ours.every((level, i) => Math.abs(level - kernels[i]) <= 1)) return false;
      const workers = Math.min(navigator.hardwareConcurrency ?? 1, 8); // of crew.js
      return gpu.software || (await seconds(gpu)) < (await seconds(this.#floats)) / workers;
    } catch {
      return false;
    }
  }

  // {width, height, read(): its RGBA, later, for this alone} -> the file: its `bytes`, and what `read` gives of them. extras: sections by kind.
  // `tick(share)` is awaited now and then.
  async encode(image, step, tick = idle, extras = new Map()) {
    const { width, height } = image;
    const [h, w] = latentSize(height, width);
    const rest = [this.perform, this.#helpersOfTransforms, (share) => tick(0.8 * share)];
    const y = await this.#net("analysis").run(image, step, ...rest);
    this.#hyper ??= new HyperAnalysis(this.#kernel, this.#file);
    const z = await this.#hyper.run(y, h, w, () => tick(0.8));
    const last = (share) => tick(0.8 + 0.2 * share);
    const { payload, latents, bits } = await this.#entropy.encode(y, z, h, w, step, this.getHelpers, last);
    free(y);
    const modelId = Uint8Array.from(this.id.match(/../g), (byte) => parseInt(byte, 16));
    const bytes = pack({ modelId, width, height, step }, checksum(latents), payload, extras);
    const { header, sections, extras: kept } = unpack(bytes);
    return { bytes, header, sections, extras: kept, latents, bits, crc: header.latentsCrc, latentsOk: true };
  }

  // The file of the largest step found that has at most `bytes` bytes. `known` remembers sizes between calls: a Map
  // of step to bytes, for this image and these sections alone.
  async encodeToSize(image, bytes, known = new Map(), tick = idle, extras = new Map()) {
    let best = null;
    const size = async (step) => {
      if (known.has(step)) return known.get(step);
      const file = await this.encode(image, step, (share) => tick((tried + share) / (tried + 2)), extras);
      tried++;
      known.set(step, file.bytes.length);
      if (file.bytes.length <= bytes && (!best || step > best.header.step)) best = file;
      return file.bytes.length;
    };
    let tried = 0;
    const step = await largestStep(size, known, bytes);
    return best?.header.step === step ? best : this.encode(image, step, tick, extras);
  }

  // Those who help the kernel would keep a GPU waiting for the last of their tiles.
  #helpersOfTransforms = async () => (this.#engine === this.#floats ? this.getHelpers() : []);

  // The weights of one side are made ready when they are first needed.
  #net(task, engine = this.#engine) {
    const key = `${task} ${engine.name}`;
    const Net = task === "analysis" ? Analysis : Synthesis;
    if (!this.#nets.has(key)) this.#nets.set(key, new Net(engine, this.#file, this.#config));
    return this.#nets.get(key);
  }
}

// The largest step 0..1024 found whose size is at most `limit`: none larger fits, or what is found fills 99 % of it. By
// interpolation on log(size), which rises about linearly with the step. RateError where even step 0 is larger.
async function largestStep(size, known, limit) {
  let slope = 0.003; // of log(bytes) a step: about what photographs have
  for (;;) {
    const tried = [...known].sort((a, b) => a[0] - b[0]);
    const below = tried.findLast(([, bytes]) => bytes <= limit);
    const above = tried.find(([, bytes]) => bytes > limit);
    if (above?.[0] === 0) throw new RateError(`the smallest file of this image has ${above[1]} bytes (quality 1)`);
    const [low, high] = [below?.[0] ?? -1, above?.[0] ?? STEPS + 1];
    if (below && (high - low <= 2 || below[1] >= 0.99 * limit)) return low;
    const pair = below && above ? [below, above] : (below ? tried.slice(-2) : tried.slice(0, 2));
    if (pair.length === 2) slope = Math.max(Math.log(pair[1][1] / pair[0][1]) / (pair[1][0] - pair[0][0]), 1e-4);
    const [from, bytes] = below ?? above ?? [456, limit];
    let guess = Math.round(from + Math.log((0.996 * limit) / bytes) / slope);
    if (tried.length > 8) guess = (low + high) >> 1;
    if (guess > STEPS - 40 && !above) guess = STEPS;
    await size(Math.min(Math.max(guess, low + 1), high - 1));
  }
}
