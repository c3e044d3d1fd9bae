// Pixels to latents and back (gencomp/networks/transforms.py, runtime/tiling.py), in float32 on the kernel.

import { Conv, MODE } from "./kernel.js";
import { knotWeights, SEGMENT } from "./numbers.js";
import { inTiles, latentSize, STRIDE, tilesOf } from "./tiles.js";

const REACH = 2; // positions a side that an output of a block sees
const inInt8 = (name) => `${name.replace("network.", "int8.")}.weight`;
const hasConv = (file, name) => file.has(`${name}.weight`) || file.has(inInt8(name));
const conv = (kernel, file, name) => {
  const eightBits = file.has(inInt8(name));
  const shape = file.shape(eightBits ? inInt8(name) : `${name}.weight`);
  const weight = eightBits ? dequantised(file, inInt8(name), shape[0]) : file.floats(`${name}.weight`);
  const bias = file.has(`${name}.bias`) ? file.floats(`${name}.bias`) : new Float32Array(shape[0]);
  return new Conv(kernel, weight, bias, shape);
};

// A weight in eight bits times the scales of its output channels, Float32Array.
function dequantised(file, name, outputs) {
  const [values, scale] = [file.integers(name), file.floats(`${name}.scale`)];
  return Float32Array.from(values, (value, i) => value * scale[Math.floor((i * outputs) / values.length)]);
}

// condition [K] times a matrix [K, C] of the model.
function weighted(condition, matrix) {
  const columns = matrix.length / condition.length;
  const out = new Float64Array(columns);
  condition.forEach((weight, k) => {
    if (weight) for (let c = 0; c < columns; c++) out[c] += weight * matrix[k * columns + c];
  });
  return out;
}

export const qualityCondition = (step) => Array.from(knotWeights(step), (weight) => weight / SEGMENT);

// Two residual bottlenecks, or what a narrowed decoder has left of them, with gains that depend on the condition
// (networks/layers.py).
class Block {
  constructor(kernel, file, name) {
    this.kernel = kernel;
    this.gains = file.floats(`${name}.gains`);
    this.halves = ["first", "second"].map((half) =>
      hasConv(file, `${name}.${half}.reduce`)
        ? ["reduce", "spatial", "expand"].map((part) => conv(kernel, file, `${name}.${half}.${part}`))
        : [],
    );
    this.gainAt = kernel.take(4 * file.shape(`${name}.gains`)[1]);
  }

  run(x, condition) {
    const gains = weighted(condition, this.gains);
    this.kernel.f32(this.gainAt, gains.length).set(gains.map((gain) => 1 + gain));
    this.halves.forEach(([reduce, spatial, expand], half) => {
      if (!reduce) return;
      const mark = this.kernel.mark();
      const inner = spatial.run(reduce.run(x, { mode: MODE.leaky }), { mode: MODE.leaky });
      expand.run(inner, { mode: MODE.residual, out: x, gain: this.gainAt + 4 * half * x.channels });
      this.kernel.release(mark);
    });
  }
}

const blocksOf = (kernel, file, name, depth) =>
  Array.from({ length: depth }, (_, i) => new Block(kernel, file, `${name}.blocks.${i}`));

// Multiplications a latent of a list of [layer, positions a latent].
const macs = (layers) => layers.reduce((sum, [c, n]) => sum + c.outputs * c.inputs * c.size ** 2 * n, 0);
const blockLayers = (blocks, n) => blocks.flatMap((block) => block.halves.flat().map((layer) => [layer, n]));

// x [C f f, h, w] in the order of a pixel shuffle -> [C, f h, f w].
function shuffled(kernel, x, f) {
  const out = kernel.tensor(x.channels / f ** 2, x.height * f, x.width * f);
  kernel.call.shuffle_f32(x.at, out.at, out.channels, x.height, x.width, f);
  return out;
}

function unshuffled(kernel, x, f) {
  const out = kernel.tensor(x.channels * f ** 2, x.height / f, x.width / f);
  kernel.call.unshuffle_f32(x.at, out.at, x.channels, x.height, x.width, f);
  return out;
}

// The part of x that reaches `halo` latents beyond what a tile yields; `seen` is the part of the image that x covers, in
// latents, and becomes the part kept. What lies nearer to a cut than the blocks before reach is wrong, and is cut off.
function trimmed(kernel, x, seen, yields, halo) {
  const scale = x.height / seen.height;
  const [bottom, right] = [yields.top + yields.height + halo, yields.left + yields.width + halo];
  const [top, left] = [Math.max(seen.top, yields.top - halo), Math.max(seen.left, yields.left - halo)];
  const height = Math.min(seen.top + seen.height, bottom) - top;
  const width = Math.min(seen.left + seen.width, right) - left;
  if (height === seen.height && width === seen.width) return x;
  const out = kernel.tensor(x.channels, height * scale, width * scale);
  const from = kernel.f32(x.at, x.channels * x.height * x.width);
  const to = kernel.f32(out.at, x.channels * out.height * out.width);
  for (let c = 0, row = 0; c < x.channels; c++) {
    for (let r = 0; r < out.height; r++, row++) {
      const at = (c * x.height + (top - seen.top) * scale + r) * x.width + (left - seen.left) * scale;
      to.set(from.subarray(at, at + out.width), row * out.width);
    }
  }
  Object.assign(seen, { top, left, height, width });
  return out;
}

export class Analysis {
  constructor(kernel, file, config) {
    const [fine, coarse] = config.encoder_depths;
    this.kernel = kernel;
    this.embed = conv(kernel, file, "network.analysis.embed.1");
    this.stage8 = blocksOf(kernel, file, "network.analysis.stage8", fine);
    this.down16 = conv(kernel, file, "network.analysis.down16.1");
    this.stage16 = blocksOf(kernel, file, "network.analysis.stage16", coarse);
    this.head = conv(kernel, file, "network.analysis.head");
    this.gains = file.floats("network.gains.log_encode");
    this.hyper = [0, 2, 4].map((i) => conv(kernel, file, `network.prior.hyper_analysis.layers.${i}`));
    this.halo = Math.ceil(REACH * (fine / 2 + coarse));
  }

  // image {data: RGBA, width, height} -> y, Float32Array [M, h, w], scaled for the quality. `tick(share)` is awaited
  // between layers; getHelpers: see tiles.js.
  async run(image, step, getHelpers, tick) {
    const [height, width] = latentSize(image.height, image.width);
    const y = new Float32Array(this.head.outputs * height * width);
    const put = (part, { yields }) => {
      for (let c = 0, from = 0; c < this.head.outputs; c++) {
        for (let r = 0; r < yields.height; r++, from += yields.width) {
          y.set(part.subarray(from, from + yields.width), (c * height + yields.top + r) * width + yields.left);
        }
      }
    };
    const cut = (tile) => ({ task: "analysis", ...tile, step, image: cutImage(image, tile.sees) });
    await inTiles(tilesOf(height, width, this.halo), { cut, here: this.perform, put }, getHelpers, tick);
    return y;
  }

  // A job of `run`: the latents that a tile yields, Float32Array [M, ., .].
  perform = async ({ image, yields, sees, step }, tick) => {
    const mark = this.kernel.mark();
    try {
      const part = await this.#tile(image, yields, sees, step, tick);
      const values = this.kernel.f32(part.at, part.channels * part.height * part.width);
      const gains = weighted(qualityCondition(step), this.gains).map(Math.exp);
      const out = new Float32Array(part.channels * yields.height * yields.width);
      for (let c = 0, to = 0; c < part.channels; c++) {
        for (let r = 0; r < yields.height; r++) {
          const from = (c * part.height + yields.top - sees.top + r) * part.width + yields.left - sees.left;
          for (let q = 0; q < yields.width; q++) out[to++] = values[from + q] * gains[c];
        }
      }
      return out;
    } finally {
      this.kernel.release(mark);
    }
  };

  async #tile(image, yields, sees, step, tick) {
    const { kernel } = this;
    const condition = qualityCondition(step);
    const pixels = kernel.take(image.data.length);
    kernel.u8(pixels, image.data.length).set(image.data);
    let x = kernel.tensor(3, sees.height * STRIDE, sees.width * STRIDE);
    kernel.call.from_rgba(pixels, image.height, image.width, image.width, x.at, x.height, x.width);
    x = this.embed.run(unshuffled(kernel, x, 8));
    const work = macs([...blockLayers(this.stage8, 4), ...blockLayers(this.stage16, 1)]);
    let done = 0;
    const stage = async (blocks, n) => {
      for (const block of blocks) {
        await tick(done / work);
        block.run(x, condition);
        done += macs(blockLayers([block], n));
      }
    };
    await stage(this.stage8, 4);
    x = trimmed(kernel, x, sees, yields, REACH * this.stage16.length);
    x = this.down16.run(unshuffled(kernel, x, 2));
    await stage(this.stage16, 1);
    return this.head.run(x);
  }

  // h_a on scaled latents: Float32Array [Z, ceil(h / 4), ceil(w / 4)]; latents beyond the edges count as zero.
  async hyperLatents(y, height, width, tick) {
    const { kernel } = this;
    const mark = kernel.mark();
    try {
      const [h, w] = [Math.ceil(height / 4) * 4, Math.ceil(width / 4) * 4];
      let x = kernel.tensor(this.hyper[0].inputs, h, w);
      const padded = kernel.f32(x.at, x.channels * h * w).fill(0);
      for (let c = 0; c < x.channels; c++) {
        for (let r = 0; r < height; r++) {
          padded.set(y.subarray((c * height + r) * width, (c * height + r + 1) * width), (c * h + r) * w);
        }
      }
      await tick();
      x = this.hyper[0].run(x, { mode: MODE.leaky });
      await tick();
      x = this.hyper[1].run(x, { mode: MODE.leaky, stride: 2 });
      x = this.hyper[2].run(x, { stride: 2 });
      return kernel.f32(x.at, x.channels * x.height * x.width).slice();
    } finally {
      kernel.release(mark);
    }
  }
}

export class Synthesis {
  constructor(kernel, file, config) {
    const [d16, d8, d4] = config.decoder_depths;
    const own = (name) => conv(kernel, file, `network.synthesis.${name}`);
    const stage = (name, depth) => blocksOf(kernel, file, `network.synthesis.${name}`, depth);
    this.kernel = kernel;
    this.gains = file.floats("network.gains.log_decode");
    this.stem = own("stem");
    this.stages = [stage("stage16", d16), stage("stage8", d8), stage("stage4", d4)];
    this.ups = ["up8.0", "up4.0", "up2.0"].map(own);
    this.refine = own("refine");
    this.head = own("head.0");
    this.grain = config.grain ? [0, 1].map((i) => this.#grainOf(file, i)) : [];
    this.halos = [d16 + d8 / 2 + d4 / 4, d8 / 2 + d4 / 4, d4 / 4, 0].map((n) => Math.ceil(REACH * n + 2 / 8));
  }

  #grainOf(file, index) {
    const name = `network.synthesis.grain.${index}`;
    const project = this.kernel.keep(file.floats(`${name}.project.weight`));
    return { gate: conv(this.kernel, file, `${name}.gate`), project, factor: 2 << index, channel: index ? 16 : 0 };
  }

  // latents: Int32Array [M, h, w] in units of 1/64 -> RGBA, Uint8ClampedArray. `tick(share)` is awaited between layers;
  // getHelpers: see tiles.js.
  async run(latents, height, width, step, realism, getHelpers, tick) {
    const [h, w] = latentSize(height, width);
    const rgba = new Uint8ClampedArray(4 * height * width);
    const put = (part, { yields }) => {
      const columns = Math.min(yields.width * STRIDE, width - yields.left * STRIDE);
      for (let from = 0, row = yields.top * STRIDE; from < part.length; from += 4 * columns, row++) {
        rgba.set(part.subarray(from, from + 4 * columns), 4 * (row * width + yields.left * STRIDE));
      }
    };
    const cut = ({ yields, sees }) => {
      const rows = Math.min(yields.height * STRIDE, height - yields.top * STRIDE);
      const columns = Math.min(yields.width * STRIDE, width - yields.left * STRIDE);
      const part = cutPlanes(latents, this.stem.inputs, h, w, sees);
      return { task: "synthesis", latents: part, yields, sees, rows, columns, step, realism };
    };
    await inTiles(tilesOf(h, w, this.halos[0]), { cut, here: this.perform, put }, getHelpers, tick);
    return rgba;
  }

  // A job of `run`: the pixels that a tile yields, RGBA of rows x columns.
  perform = async ({ latents, yields, sees, rows, columns, step, realism }, tick) => {
    const { kernel } = this;
    const mark = kernel.mark();
    try {
      const y = kernel.tensor(this.stem.inputs, sees.height, sees.width);
      const values = kernel.f32(y.at, latents.length);
      const gains = weighted(qualityCondition(step), this.gains).map((gain) => Math.exp(gain) / 64);
      const plane = sees.height * sees.width;
      for (let i = 0; i < latents.length; i++) values[i] = latents[i] * gains[Math.floor(i / plane)];
      const seen = { ...sees };
      const x = await this.#tile(y, yields, seen, step, realism, tick);
      const at = kernel.take(4 * rows * columns);
      const [top, left] = [(yields.top - seen.top) * STRIDE, (yields.left - seen.left) * STRIDE];
      kernel.call.to_rgba(x.at, x.height, x.width, top, left, rows, columns, at, columns);
      return kernel.u8(at, 4 * rows * columns).slice();
    } finally {
      kernel.release(mark);
    }
  };

  // `seen` becomes the part of the image that the result covers.
  async #tile(latents, yields, seen, step, realism, tick) {
    const { kernel } = this;
    const condition = [...qualityCondition(step), realism];
    const all = this.stages.flatMap((blocks, i) => blockLayers(blocks, 4 ** i));
    const work = macs([...all, [this.refine, 64], [this.head, 64]]);
    let done = 0;
    let x = this.stem.run(latents);
    for (const [i, blocks] of this.stages.entries()) {
      if (i && realism && this.grain.length) this.#addGrain(x, this.grain[i - 1], seen, realism);
      for (const block of blocks) {
        await tick(done / work);
        block.run(x, condition);
        done += macs(blockLayers([block], 4 ** i));
      }
      x = shuffled(kernel, this.ups[i].run(trimmed(kernel, x, seen, yields, this.halos[i + 1])), 2);
    }
    await tick(done / work);
    const refined = this.refine.run(x, { mode: MODE.leaky });
    kernel.call.add_f32(x.at, refined.at, x.channels * x.height * x.width);
    kernel.release(refined.at);
    await tick((done + macs([[this.refine, 64]])) / work);
    return shuffled(kernel, this.head.run(x), 2);
  }

  #addGrain(x, { gate, project, factor, channel }, { top, left, height, width }, realism) {
    const mark = this.kernel.mark();
    const open = gate.run(x);
    this.kernel.call.grain_f32(x.at, open.at, project, x.channels, height, width, factor, channel, top, left, realism);
    this.kernel.release(mark);
  }
}

// The part of an image that a tile sees.
function cutImage({ data, height, width }, sees) {
  const [top, left] = [sees.top * STRIDE, sees.left * STRIDE];
  const rows = Math.min(sees.height * STRIDE, height - top);
  const columns = Math.min(sees.width * STRIDE, width - left);
  const part = new Uint8ClampedArray(4 * rows * columns);
  for (let r = 0; r < rows; r++) {
    const from = 4 * ((top + r) * width + left);
    part.set(data.subarray(from, from + 4 * columns), 4 * columns * r);
  }
  return { data: part, height: rows, width: columns };
}

// The part of planes [channels, h, w] at a rectangle.
function cutPlanes(planes, channels, h, w, { top, left, height, width }) {
  const part = new planes.constructor(channels * height * width);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let r = 0; r < height; r++, to += width) {
      const from = (c * h + top + r) * w + left;
      part.set(planes.subarray(from, from + width), to);
    }
  }
  return part;
}
