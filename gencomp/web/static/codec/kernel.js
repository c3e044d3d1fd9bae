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

  // Give back all that was taken since a mark but a tensor of float32, which moves to the mark.
  keepOnly(x, mark) {
    const to = Math.ceil(mark / 16) * 16;
    const bytes = 4 * x.channels * x.height * x.width;
    new Uint8Array(this.#memory.buffer).copyWithin(to, x.at, x.at + bytes);
    x.at = to;
    this.#top = to + bytes;
    return x;
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
  #winograd;

  constructor(kernel, weight, bias, [outputs, inputs, size], stride = 1) {
    Object.assign(this, { outputs, inputs, size, stride });
    this.#kernel = kernel;
    this.#double = weight instanceof Float64Array;
    this.#winograd = !this.#double && size === 3 && stride === 1;
    this.#weight = kernel.keep(this.#winograd ? transformed(weight, outputs, inputs) : packed(weight, outputs, inputs * size ** 2));
    this.#bias = kernel.keep(bias);
  }

  // x -> a new tensor, or into `out`; what the modes do stands in conv.h. gain: where O values of it lie. from, outputs: of a
  // 1x1 convolution of float32 some outputs alone, by fours.
  run(x, { mode = MODE.linear, out = null, gain = 0, lo = 0, hi = 0, from = 0, outputs = this.outputs } = {}) {
    const { call } = this.#kernel;
    const { inputs, size, stride } = this;
    out ??= this.#kernel.tensor(outputs, Math.ceil(x.height / stride), Math.ceil(x.width / stride), this.#double ? 8 : 4);
    const mark = this.#kernel.mark();
    const [at, weight, bias] = [x.at, this.#weight + 4 * from * inputs, this.#bias + 4 * from];
    if (this.#winograd) {
      const scratch = this.#kernel.take(4 * 16 * 16 * (inputs + 4 * Math.ceil(outputs / 4)));
      call.conv3_f32(at, weight, bias, out.at, scratch, inputs, x.height, x.width, outputs, mode, gain);
    } else {
      const scratch = this.#kernel.take(4 * 32 * inputs * size ** 2);
      const conv = this.#double ? call.conv_f64 : call.conv_f32;
      conv(at, weight, bias, out.at, scratch, inputs, x.height, x.width, outputs, size, stride, mode, gain, lo, hi);
    }
    this.#kernel.release(mark);
    return out;
  }
}

// [O, K] -> [ceil(O / 4), K, 4]: four output channels side by side.
function packed(weight, outputs, taps) {
  const out = new weight.constructor(Math.ceil(outputs / 4) * 4 * taps);
  for (let o = 0; o < outputs; o++) {
    const to = (o >> 2) * 4 * taps + (o & 3);
    for (let i = 0; i < taps; i++) out[to + 4 * i] = weight[o * taps + i];
  }
  return out;
}

// G g G^T of every 3x3 kernel g (winograd.h): [O, I, 3, 3] -> [16, ceil(O / 4), I, 4].
function transformed(weight, outputs, inputs) {
  const once = (a, b, c) => [a, (a + b + c) / 2, (a - b + c) / 2, c];
  const blocks = Math.ceil(outputs / 4);
  const out = new Float32Array(16 * blocks * inputs * 4);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      const g = weight.subarray(9 * (o * inputs + i), 9 * (o * inputs + i + 1));
      const columns = [0, 1, 2].map((c) => once(g[c], g[3 + c], g[6 + c]));
      for (let r = 0; r < 4; r++) {
        once(columns[0][r], columns[1][r], columns[2][r]).forEach((value, c) => {
          out[(((4 * r + c) * blocks + (o >> 2)) * inputs + i) * 4 + (o & 3)] = value;
        });
      }
    }
  }
  return out;
}
