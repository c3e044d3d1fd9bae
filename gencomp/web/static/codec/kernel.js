// kernel.wasm with its memory, and a stack of tensors in it.

const PAGE = 65536;

// A tensor in the kernel's memory, [channels, height, width] of float32 or float64.
//   {at, channels, height, width}

export class Kernel {
  #top;
  #memory;

  // From the bytes of kernel.wasm, or the compiled module.
  static async load(source) {
    const module = source instanceof WebAssembly.Module ? source : await WebAssembly.compile(source);
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 });
    const instance = await WebAssembly.instantiate(module, { env: { memory } });
    return new Kernel(instance.exports, memory);
  }

  constructor(exports, memory) {
    this.call = exports;
    this.#memory = memory;
    this.#top = exports.__heap_base.value;
  }

  // Room for so many bytes, until `release` of an earlier mark; RangeError where the browser gives no more memory.
  take(bytes) {
    const at = Math.ceil(this.#top / 16) * 16;
    this.#top = at + bytes;
    this.reserve(this.#top);
    return at;
  }

  // Make the memory reach to an address at least.
  reserve(end) {
    const missing = end - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / PAGE));
  }

  mark() {
    return this.#top;
  }

  release(mark) {
    this.#top = mark;
  }

  // Views of the memory as it is now: any `take` may make them stale.
  f32 = (at, count) => new Float32Array(this.#memory.buffer, at, count);
  f64 = (at, count) => new Float64Array(this.#memory.buffer, at, count);
  i32 = (at, count) => new Int32Array(this.#memory.buffer, at, count);
  u32 = (at, count) => new Uint32Array(this.#memory.buffer, at, count);
  u8 = (at, count) => new Uint8Array(this.#memory.buffer, at, count);

  // A tensor, not cleared, of floats of `width` 4 or 8 bytes.
  tensor(channels, height, width, size = 4) {
    return { at: this.take(channels * height * width * size), channels, height, width };
  }

  // Constants that stay: a copy of a Float32Array or Float64Array.
  keep(values) {
    const at = this.take(values.byteLength);
    (values instanceof Float64Array ? this.f64 : this.f32)(at, values.length).set(values);
    return at;
  }
}

export const MODE = { linear: 0, leaky: 1, residual: 2, integer: 3 };

// A convolution whose weights lie in the kernel's memory. weight [O, I, k, k], a Float32Array or Float64Array, which
// decides the arithmetic; bias [O].
export class Conv {
  #kernel;
  #weight;
  #bias;
  #double;

  constructor(kernel, weight, bias, [outputs, inputs, size]) {
    Object.assign(this, { outputs, inputs, size });
    this.#kernel = kernel;
    this.#double = weight instanceof Float64Array;
    const taps = inputs * size * size;
    const packed = new weight.constructor(Math.ceil(outputs / 4) * 4 * taps); // four output channels side by side
    for (let o = 0; o < outputs; o++) {
      const to = (o >> 2) * 4 * taps + (o & 3);
      for (let i = 0; i < taps; i++) packed[to + 4 * i] = weight[o * taps + i];
    }
    this.#weight = kernel.keep(packed);
    this.#bias = kernel.keep(bias);
  }

  // x -> a new tensor, or into `out`; what the modes do stands in conv.h. gain: where O values of it lie.
  run(x, { stride = 1, mode = MODE.linear, out = null, gain = 0, lo = 0, hi = 0 } = {}) {
    const { call } = this.#kernel;
    const bytes = this.#double ? 8 : 4;
    out ??= this.#kernel.tensor(this.outputs, Math.ceil(x.height / stride), Math.ceil(x.width / stride), bytes);
    const mark = this.#kernel.mark();
    const scratch = this.#kernel.take(4 * 32 * this.inputs * this.size ** 2);
    const conv = this.#double ? call.conv_f64 : call.conv_f32;
    conv(x.at, this.#weight, this.#bias, out.at, scratch, this.inputs, x.height, x.width, this.outputs, this.size,
      stride, mode, gain, lo, hi);
    this.#kernel.release(mark);
    return out;
  }
}
