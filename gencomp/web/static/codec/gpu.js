// The engine of the transforms on a GPU, by WebGPU: the methods of floats.js. Weights are uploaded once; what a tile needs
// stays on the GPU until its result is read, and is given back then.

import { MODE } from "./kernel.js";
import { convolution, OTHERS } from "./shaders.js";

const SLOTS = 16; // dispatches handed over at a time: all of a large tile at once could look like a hang
const SLOT = 256; // bytes from the numbers of one dispatch to the next
const ERRORS = ["validation", "out-of-memory", "internal"];

// A GPU, or null where there is none, or one that a program imitates, which is slower than the kernel. `software`: take such
// a one, too, for tests.
export async function openGpu(software = false) {
  try {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!software && (adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter)) return null;
    return new Gpu(await adapter.requestDevice(), software);
  } catch {
    return null;
  }
}

// A tensor: {buffer, channels, height, width}
class Gpu {
  name = "WebGPU";
  #pipelines = new Map();
  #layout;
  #numbers;
  #nothing;
  #encoder = null;
  #used = 0; // slots of #numbers, by dispatches not yet handed over
  #live = []; // buffers in the order in which a job took them
  #free = []; // and those it gave back: `tensor` takes them again
  #lost = false;

  constructor(device, software) {
    const fail = (event) => {
      event.preventDefault?.(); // the console need not know: the kernel takes over
      this.#lost = true;
    };
    Object.assign(this, { device, software });
    device.lost.then(fail);
    device.addEventListener("uncapturederror", fail);
    const types = ["uniform", "read-only-storage", "read-only-storage", "read-only-storage", "storage"];
    const entries = types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
    this.#layout = device.createBindGroupLayout({ entries });
    this.#numbers = device.createBuffer({ size: SLOTS * SLOT, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.#nothing = this.row(4);
  }

  // An error of the GPU, of which its calls do not tell, is thrown at the end.
  async job(work) {
    const { device } = this;
    for (const kind of ERRORS) device.pushErrorScope(kind);
    try {
      return await work();
    } finally {
      const errors = await Promise.all(ERRORS.map(() => device.popErrorScope().catch((error) => error)));
      for (const buffer of [...this.#live.splice(0), ...this.#free.splice(0)]) buffer.destroy();
      this.#encoder = null;
      this.#used = 0;
      if (this.#lost || errors.some(Boolean)) throw new Error("the GPU failed");
    }
  }

  mark = () => this.#live.length;
  release = (mark) => void this.#free.push(...this.#live.splice(mark));

  keepOnly(x, mark) {
    this.release(mark);
    this.#free.splice(this.#free.indexOf(x.buffer), 1);
    this.#live.push(x.buffer);
    return x;
  }

  keep(values) {
    const buffer = this.#buffer(values.byteLength);
    this.device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  }

  row = (count) => this.#buffer(4 * count);
  fill = (row, values) => this.device.queue.writeBuffer(row, 0, Float32Array.from(values));

  conv(weight, bias, [outputs, inputs, size]) {
    const columns = Math.ceil(outputs / 4);
    const taps = inputs * size ** 2;
    const packed = new Float32Array(4 * columns * (1 + taps));
    packed.set(bias);
    for (let o = 0; o < outputs; o++) {
      for (let k = 0; k < taps; k++) packed[4 * columns * (1 + k) + o] = weight[o * taps + k];
    }
    const weights = this.keep(packed);
    const groups = [16, 8, 4].find((count) => columns % count === 0) ?? 4;
    const depth = size === 3 ? 4 : groups === 4 ? 8 : 16; // at most 12 of the 16 kB of memory that every GPU has
    const run = (x, { mode = MODE.linear, out, gain = this.#nothing, unshuffle = false, shuffle = false } = {}) => {
      const [height, width] = unshuffle ? [x.height / 2, x.width / 2] : [x.height, x.width];
      out ??= shuffle ? this.tensor(outputs / 4, 2 * height, 2 * width) : this.tensor(outputs, height, width);
      const pipeline = this.#pipeline("main", convolution({ size, groups, depth, shuffle, unshuffle }));
      const tiles = [width / (256 / groups), height / 4, columns / groups];
      this.#dispatch(pipeline, [x.buffer, weights, gain, out.buffer], [inputs, outputs, height, width, mode], tiles);
      return out;
    };
    return { inputs, outputs, size, run };
  }

  tensor(channels, height, width, values) {
    const bytes = 4 * channels * height * width;
    const fits = this.#free.filter(({ size }) => size >= bytes && size <= 2 * bytes).sort((a, b) => a.size - b.size);
    const buffer = fits.length ? this.#free.splice(this.#free.indexOf(fits[0]), 1)[0] : this.#buffer(bytes);
    this.#live.push(buffer);
    if (values) this.device.queue.writeBuffer(buffer, 0, values); // at a job's start, before anything else uses it
    return { buffer, channels, height, width };
  }

  read = async (x) => new Float32Array(await this.#read(x));

  fromPixels({ data, height: rows, width: columns }, height, width) {
    const pixels = this.tensor(1, rows, columns, data);
    const x = this.tensor(192, height / 8, width / 8);
    this.#other("from_pixels", pixels, null, x, { rows, columns });
    return x;
  }

  async toPixels(x, top, left, rows, columns) {
    const pixels = this.tensor(1, rows, columns);
    this.#other("to_pixels", x, null, pixels, { top, left, rows: x.height, columns: x.width });
    return new Uint8ClampedArray(await this.#read(pixels));
  }

  crop(x, top, left, height, width) {
    const part = this.tensor(x.channels, height, width);
    this.#other("crop", x, null, part, { top, left, rows: x.height, columns: x.width });
    this.#free.push(x.buffer);
    this.#live.pop();
    this.#live[this.#live.indexOf(x.buffer)] = part.buffer;
    Object.assign(x, part);
  }

  add(x, y) {
    this.#other("add", y, null, x, {});
  }

  grain(x, gate, project, numbers) {
    this.#other("grain", gate, project, x, numbers);
  }

  #buffer(size) {
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    return this.device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
  }

  #other(entry, x, weights, out, { top = 0, left = 0, rows = 0, columns = 0, factor = 0, channel = 0, realism = 0 }) {
    const bits = new Uint32Array(Float32Array.of(realism).buffer)[0];
    const numbers = [out.height, out.width, top, left, rows, columns, factor, channel, bits];
    const buffers = [x.buffer, weights ?? this.#nothing, this.#nothing, out.buffer];
    this.#dispatch(this.#pipeline(entry, OTHERS), buffers, numbers, [out.width / 16, out.height / 16, out.channels]);
  }

  #dispatch(pipeline, buffers, numbers, groups) {
    const { device } = this;
    const offset = SLOT * this.#used++;
    device.queue.writeBuffer(this.#numbers, offset, Uint32Array.from(numbers));
    const resources = [{ buffer: this.#numbers, offset, size: 64 }, ...buffers.map((buffer) => ({ buffer }))];
    const entries = resources.map((resource, binding) => ({ binding, resource }));
    const pass = this.#commands().beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: this.#layout, entries }));
    pass.dispatchWorkgroups(...groups.map(Math.ceil));
    pass.end();
    if (this.#used === SLOTS) this.#handOver();
  }

  #pipeline(entryPoint, code) {
    const key = entryPoint + code;
    if (!this.#pipelines.has(key)) {
      const module = this.device.createShaderModule({ code });
      const layout = this.device.createPipelineLayout({ bindGroupLayouts: [this.#layout] });
      this.#pipelines.set(key, this.device.createComputePipeline({ layout, compute: { module, entryPoint } }));
    }
    return this.#pipelines.get(key);
  }

  #commands() {
    this.#encoder ??= this.device.createCommandEncoder();
    return this.#encoder;
  }

  #handOver() {
    this.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = null;
    this.#used = 0;
  }

  async #read({ buffer, channels, height, width }) {
    const size = 4 * channels * height * width;
    const copy = this.device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    this.#live.push(copy);
    this.#commands().copyBufferToBuffer(buffer, 0, copy, 0, size);
    this.#handOver();
    await copy.mapAsync(GPUMapMode.READ);
    return copy.getMappedRange().slice(0);
  }
}
