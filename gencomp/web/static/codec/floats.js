// The engine of the transforms that every browser has: their float arithmetic on the kernel. gpu.js has the same methods.

import { Conv } from "./kernel.js";

const CHANNELS = 32;

export class Floats {
  name = "WebAssembly";

  constructor(kernel) {
    this.kernel = kernel;
  }

  // What `work` takes is given back at its end. Then as in kernel.js: what was taken since a mark, but maybe a tensor.
  async job(work) {
    const mark = this.mark();
    try {
      return await work();
    } finally {
      this.release(mark);
    }
  }

  mark = () => this.kernel.mark();
  release = (mark) => this.kernel.release(mark);
  keepOnly = (x, mark) => this.kernel.keepOnly(x, mark);

  // Constants that stay: values; and room for `count` of them, one a channel, which `fill` sets.
  keep = (values) => this.kernel.keep(values);
  row = (count) => this.kernel.take(4 * count);
  fill = (row, values) => this.kernel.f32(row, values.length).set(values);

  // A convolution. run(x, {mode, out, gain}) as in kernel.js, gain being a row; `unshuffle`: of x after a pixel unshuffle by
  // 2, `shuffle`: what it gives after a pixel shuffle by 2.
  conv(...weights) {
    const conv = new Conv(this.kernel, ...weights);
    const run = (x, { unshuffle, shuffle, ...how } = {}) =>
      shuffle ? this.#enlarged(conv, x, how) : conv.run(unshuffle ? this.#unshuffled(x, 2) : x, how);
    return { inputs: conv.inputs, outputs: conv.outputs, size: conv.size, run };
  }

  // Values into a tensor, and out of it.
  tensor(channels, height, width, values) {
    const x = this.kernel.tensor(channels, height, width);
    this.kernel.f32(x.at, values.length).set(values);
    return x;
  }

  read = async (x) => this.kernel.f32(x.at, x.channels * x.height * x.width).slice();

  // An image {data: RGBA, width, height}, its last row and column repeated to height x width, in the order of a pixel
  // unshuffle by 8.
  fromPixels({ data, height: rows, width: columns }, height, width) {
    const pixels = this.kernel.take(data.length);
    this.kernel.u8(pixels, data.length).set(data);
    const x = this.kernel.tensor(3, height, width);
    this.kernel.call.from_rgba(pixels, rows, columns, columns, x.at, height, width);
    return this.#unshuffled(x, 8);
  }

  // RGBA, Uint8ClampedArray, of a part of the pixels that x holds in the order of a pixel shuffle by 2.
  async toPixels(x, top, left, rows, columns) {
    const { at, height, width } = this.#shuffled(x, 2);
    const pixels = this.kernel.take(4 * rows * columns);
    this.kernel.call.to_rgba(at, height, width, top, left, rows, columns, pixels, columns);
    return new Uint8ClampedArray(this.kernel.u8(pixels, 4 * rows * columns).slice().buffer);
  }

  // x becomes a part of itself.
  crop(x, top, left, rows, columns) {
    const values = this.kernel.f32(x.at, x.channels * x.height * x.width);
    for (let c = 0, to = 0; c < x.channels; c++) {
      for (let r = 0; r < rows; r++, to += columns) {
        const from = (c * x.height + top + r) * x.width + left;
        values.copyWithin(to, from, from + columns);
      }
    }
    Object.assign(x, { height: rows, width: columns });
  }

  // x += y
  add(x, y) {
    this.kernel.call.add_f32(x.at, y.at, x.channels * x.height * x.width);
  }

  // Positional noise (kernel.c) of the latents from `top` and `left` on, of which each has factor x factor positions.
  grain(x, gate, project, { factor, channel, top, left, realism }) {
    const [height, width] = [x.height / factor, x.width / factor];
    this.kernel.call.grain_f32(x.at, gate.at, project, x.channels, height, width, factor, channel, top, left, realism);
  }

  // What a 1x1 convolution gives, shuffled by 2: some channels after others, as a tile needs no more memory than here.
  #enlarged(conv, x, { gain = 0, ...how }) {
    const out = this.kernel.tensor(conv.outputs / 4, 2 * x.height, 2 * x.width);
    for (let from = 0; from < conv.outputs; from += CHANNELS) {
      const mark = this.mark();
      const outputs = Math.min(CHANNELS, conv.outputs - from);
      const some = conv.run(x, { ...how, gain: gain && gain + 4 * from, from, outputs });
      const at = out.at + 4 * from * x.height * x.width;
      this.kernel.call.shuffle_f32(some.at, at, some.channels / 4, x.height, x.width, 2);
      this.release(mark);
    }
    return out;
  }

  // x [C f f, h, w] in the order of a pixel shuffle -> [C, f h, f w].
  #shuffled(x, f) {
    const out = this.kernel.tensor(x.channels / f ** 2, x.height * f, x.width * f);
    this.kernel.call.shuffle_f32(x.at, out.at, out.channels, x.height, x.width, f);
    return out;
  }

  #unshuffled(x, f) {
    const out = this.kernel.tensor(x.channels * f ** 2, x.height / f, x.width / f);
    this.kernel.call.unshuffle_f32(x.at, out.at, x.channels, x.height, x.width, f);
    return out;
  }
}
