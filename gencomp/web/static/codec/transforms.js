// Pixels to latents and back (gencomp/networks/transforms.py, runtime/tiling.py), in float32 on the kernel.

import { Conv, MODE } from "./kernel.js";
import { knotWeights, SEGMENT } from "./numbers.js";
import { cutPlanes, inTiles, latentSize, putPlanes, sortByDistance, STRIDE, tilesOf } from "./tiles.js";

const HYPER_ROWS = 16; // rows of hyper-latents made at a time
const REACH = 2; // positions a side that an output of a block sees
const inInt8 = (name) => `${name.replace("network.", "int8.")}.weight`;
const hasConv = (file, name) => file.has(`${name}.weight`) || file.has(inInt8(name));
const conv = (kernel, file, name, stride = 1) => {
  const eightBits = file.has(inInt8(name));
  const shape = file.shape(eightBits ? inInt8(name) : `${name}.weight`);
  const weight = eightBits ? dequantised(file, inInt8(name), shape[0]) : file.floats(`${name}.weight`);
  const bias = file.has(`${name}.bias`) ? file.floats(`${name}.bias`) : new Float32Array(shape[0]);
  return new Conv(kernel, weight, bias, shape, stride);
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

// Cut x, in place, to what reaches `halo` latents beyond what a tile yields; `seen` is the part of the image that x covers,
// in latents, and becomes the part kept. What lies nearer to a cut than the blocks before reach is wrong, and is cut off.
function trim(kernel, x, seen, yields, halo) {
  const scale = x.height / seen.height;
  const [bottom, right] = [yields.top + yields.height + halo, yields.left + yields.width + halo];
  const [top, left] = [Math.max(seen.top, yields.top - halo), Math.max(seen.left, yields.left - halo)];
  const [height, width] = [Math.min(seen.top + seen.height, bottom) - top, Math.min(seen.left + seen.width, right) - left];
  if (height === seen.height && width === seen.width) return;
  const values = kernel.f32(x.at, x.channels * x.height * x.width);
  const [rows, columns] = [height * scale, width * scale];
  for (let c = 0, to = 0; c < x.channels; c++) {
    for (let r = 0; r < rows; r++, to += columns) {
      const from = (c * x.height + (top - seen.top) * scale + r) * x.width + (left - seen.left) * scale;
      values.copyWithin(to, from, from + columns);
    }
  }
  Object.assign(x, { height: rows, width: columns });
  Object.assign(seen, { top, left, height, width });
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
    const strides = { 0: 1, 2: 2, 4: 2 };
    this.hyper = [0, 2, 4].map((i) => conv(kernel, file, `network.prior.hyper_analysis.layers.${i}`, strides[i]));
    this.halos = { fine: Math.ceil((REACH * fine) / 2), coarse: REACH * coarse };
  }

  // image {data: RGBA, width, height} -> y, Float32Array [M, h, w], scaled for the quality. `tick(share)` is awaited
  // between layers; getHelpers: see tiles.js. In two walks over the image, so that tiles need less around them.
  async run(image, step, getHelpers, tick) {
    const [height, width] = latentSize(image.height, image.width);
    const walk = async (stage, channels, cut, from, to) => {
      const out = new Float32Array(channels * height * width);
      const put = (part, { yields }) => putPlanes(out, part, channels, height, width, yields);
      const job = (tile) => ({ task: "analysis", stage, ...tile, step, ...cut(tile) });
      const tiles = tilesOf(height, width, this.halos[stage]);
      const part = (share) => tick(from + (to - from) * share);
      await inTiles(tiles, { cut: job, here: this.perform, put }, getHelpers, part);
      return out;
    };
    const inner = this.down16.outputs;
    const x = await walk("fine", inner, ({ sees }) => ({ image: cutImage(image, sees) }), 0, 0.7);
    const cut = ({ sees }) => ({ x: cutPlanes(x, inner, height, width, sees) });
    return walk("coarse", this.head.outputs, cut, 0.7, 1);
  }

  // A job of `run`: what a tile yields, Float32Array [channels, ., .].
  perform = async (job, tick) => {
    const mark = this.kernel.mark();
    try {
      const out = await (job.stage === "fine" ? this.#fine(job, tick) : this.#coarse(job, tick));
      return this.kernel.f32(out.at, out.channels * out.height * out.width).slice();
    } finally {
      this.kernel.release(mark);
    }
  };

  // Blocks that reach REACH positions, of which a latent has `scale`, each cut to what the rest still needs.
  async #blocks(blocks, x, seen, { yields, step }, scale, tick) {
    const condition = qualityCondition(step);
    for (const [i, block] of blocks.entries()) {
      await tick(i / blocks.length);
      block.run(x, condition);
      trim(this.kernel, x, seen, yields, (REACH * (blocks.length - 1 - i)) / scale);
    }
  }

  // Pixels to latents' positions.
  async #fine(job, tick) {
    const { kernel } = this;
    const { image, yields } = job;
    const seen = { ...job.sees };
    const pixels = kernel.take(image.data.length);
    kernel.u8(pixels, image.data.length).set(image.data);
    let x = kernel.tensor(3, seen.height * STRIDE, seen.width * STRIDE);
    kernel.call.from_rgba(pixels, image.height, image.width, image.width, x.at, x.height, x.width);
    x = kernel.keepOnly(this.embed.run(unshuffled(kernel, x, 8)), pixels);
    await this.#blocks(this.stage8, x, seen, job, 2, tick);
    trim(kernel, x, seen, yields, 0);
    return this.down16.run(unshuffled(kernel, x, 2));
  }

  async #coarse(job, tick) {
    const seen = { ...job.sees };
    const x = this.kernel.tensor(this.down16.outputs, seen.height, seen.width);
    this.kernel.f32(x.at, job.x.length).set(job.x);
    await this.#blocks(this.stage16, x, seen, job, 1, tick);
    trim(this.kernel, x, seen, job.yields, 0);
    const y = this.head.run(x);
    const gains = weighted(qualityCondition(job.step), this.gains).map(Math.exp);
    const plane = y.height * y.width;
    const values = this.kernel.f32(y.at, y.channels * plane);
    for (let i = 0; i < values.length; i++) values[i] *= gains[Math.floor(i / plane)];
    return y;
  }

  // h_a on scaled latents: Float32Array [Z, ceil(h / 4), ceil(w / 4)]; latents beyond the edges count as zero. In strips,
  // as a kernel gives no memory back.
  async hyperLatents(y, height, width, tick) {
    const { kernel, hyper } = this;
    const [h, w] = [Math.ceil(height / 4), Math.ceil(width / 4)];
    const [a, b, c] = hyper.map(({ size }) => size >> 1);
    const halo = Math.ceil((a + b + 2 * c) / 4);
    const z = new Float32Array(hyper[2].outputs * h * w);
    for (let top = 0; top < h; top += HYPER_ROWS) {
      const mark = kernel.mark();
      const [from, to] = [Math.max(top - halo, 0), Math.min(top + HYPER_ROWS + halo, h)];
      let x = kernel.tensor(hyper[0].inputs, 4 * (to - from), 4 * w);
      const padded = kernel.f32(x.at, x.channels * x.height * x.width).fill(0);
      for (let c = 0; c < x.channels; c++) {
        for (let r = 4 * from; r < Math.min(4 * to, height); r++) {
          padded.set(y.subarray((c * height + r) * width, (c * height + r + 1) * width), (c * x.height + r - 4 * from) * 4 * w);
        }
      }
      try {
        for (const [i, layer] of hyper.entries()) {
          await tick();
          x = layer.run(x, i < 2 ? { mode: MODE.leaky } : {});
        }
        const yields = { top, left: 0, height: Math.min(HYPER_ROWS, h - top), width: w };
        const part = kernel.f32(x.at, x.channels * x.height * w);
        putPlanes(z, cutPlanes(part, x.channels, x.height, w, { ...yields, top: top - from }), x.channels, h, w, yields);
      } finally {
        kernel.release(mark);
      }
    }
    return z;
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

  // latents: Int32Array [M, h, w] in units of 1/64 -> RGBA, Uint8ClampedArray, or parts of it (codec.js). `tick(share)`
  // is awaited between layers; getHelpers: see tiles.js.
  async run(latents, height, width, step, realism, getHelpers, tick, { onPart, visible, skip } = {}) {
    const [h, w] = latentSize(height, width);
    const rgba = onPart ? null : new Uint8ClampedArray(4 * height * width);
    const place = ({ yields }) => ({
      left: yields.left * STRIDE,
      top: yields.top * STRIDE,
      width: Math.min(yields.width * STRIDE, width - yields.left * STRIDE),
      height: Math.min(yields.height * STRIDE, height - yields.top * STRIDE),
    });
    const put = (data, tile) => {
      const at = place(tile);
      if (onPart) return onPart({ index: tile.index, data, ...at });
      for (let r = 0; r < at.height; r++) {
        rgba.set(data.subarray(4 * r * at.width, 4 * (r + 1) * at.width), 4 * ((at.top + r) * width + at.left));
      }
    };
    const cut = (tile) => {
      const { width: columns, height: rows } = place(tile);
      const part = cutPlanes(latents, this.stem.inputs, h, w, tile.sees);
      return { task: "synthesis", latents: part, ...tile, rows, columns, step, realism };
    };
    const all = tilesOf(h, w, this.halos[0]).filter(({ index }) => !skip?.has(index));
    if (visible) sortByDistance(all, visible);
    await inTiles(all, { cut, here: this.perform, put }, getHelpers, tick);
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
      return new Uint8ClampedArray(kernel.u8(at, 4 * rows * columns).slice().buffer);
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
    const mark = kernel.mark();
    let x = this.stem.run(latents);
    for (const [i, blocks] of this.stages.entries()) {
      if (i && realism && this.grain.length) this.#addGrain(x, this.grain[i - 1], seen, realism);
      for (const [j, block] of blocks.entries()) {
        await tick(done / work);
        block.run(x, condition);
        trim(kernel, x, seen, yields, this.halos[i + 1] + (REACH * (blocks.length - 1 - j)) / 2 ** i);
        done += macs(blockLayers([block], 4 ** i));
      }
      trim(kernel, x, seen, yields, this.halos[i + 1]);
      x = kernel.keepOnly(shuffled(kernel, this.ups[i].run(x), 2), mark);
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
