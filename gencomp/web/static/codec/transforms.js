// Pixels to latents and back (gencomp/networks/transforms.py, runtime/tiling.py), in float32 on an engine: the kernel
// (floats.js) or a GPU (gpu.js).

import { MODE } from "./kernel.js";
import { free, knotWeights, SEGMENT } from "./numbers.js";
import { cutPlanes, inTiles, latentSize, putPlanes, sortByDistance, STRIDE, tilesOf } from "./tiles.js";
import { hasConv, weightsOf } from "./weights.js";

const REACH = 2; // positions a side that an output of a block sees
const conv = (engine, file, name) => engine.conv(...weightsOf(file, name));

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
  constructor(engine, file, name) {
    this.engine = engine;
    this.gains = file.floats(`${name}.gains`);
    this.halves = ["first", "second"].map((half) =>
      hasConv(file, `${name}.${half}.reduce`)
        ? ["reduce", "spatial", "expand"].map((part) => conv(engine, file, `${name}.${half}.${part}`))
        : [],
    );
    this.rows = this.halves.map(() => engine.row(file.shape(`${name}.gains`)[1] / 2));
  }

  run(x, condition) {
    const gains = weighted(condition, this.gains).map((gain) => 1 + gain);
    this.halves.forEach(([reduce, spatial, expand], half) => {
      if (!reduce) return;
      this.engine.fill(this.rows[half], gains.subarray(half * x.channels, (half + 1) * x.channels));
      const mark = this.engine.mark();
      const inner = spatial.run(reduce.run(x, { mode: MODE.leaky }), { mode: MODE.leaky });
      expand.run(inner, { mode: MODE.residual, out: x, gain: this.rows[half] });
      this.engine.release(mark);
    });
  }
}

const blocksOf = (engine, file, name, depth) =>
  Array.from({ length: depth }, (_, i) => new Block(engine, file, `${name}.blocks.${i}`));

// Multiplications a latent of a list of [layer, positions a latent].
const macs = (layers) => layers.reduce((sum, [c, n]) => sum + c.outputs * c.inputs * c.size ** 2 * n, 0);
const blockLayers = (blocks, n) => blocks.flatMap((block) => block.halves.flat().map((layer) => [layer, n]));

// Cut x, in place, to what reaches `halo` latents beyond what a tile yields; `seen` is the part of the image that x covers,
// in latents, and becomes the part kept. What lies nearer to a cut than the blocks before reach is wrong, and is cut off.
function trim(engine, x, seen, yields, halo) {
  const scale = x.height / seen.height;
  const [bottom, right] = [yields.top + yields.height + halo, yields.left + yields.width + halo];
  const [top, left] = [Math.max(seen.top, yields.top - halo), Math.max(seen.left, yields.left - halo)];
  const [height, width] = [Math.min(seen.top + seen.height, bottom) - top, Math.min(seen.left + seen.width, right) - left];
  if (height === seen.height && width === seen.width) return;
  engine.crop(x, (top - seen.top) * scale, (left - seen.left) * scale, height * scale, width * scale);
  Object.assign(seen, { top, left, height, width });
}

export class Analysis {
  constructor(engine, file, config) {
    const [fine, coarse] = config.encoder_depths;
    this.engine = engine;
    this.embed = conv(engine, file, "network.analysis.embed.1");
    this.stage8 = blocksOf(engine, file, "network.analysis.stage8", fine);
    this.down16 = conv(engine, file, "network.analysis.down16.1");
    this.stage16 = blocksOf(engine, file, "network.analysis.stage16", coarse);
    this.head = conv(engine, file, "network.analysis.head");
    this.gains = file.floats("network.gains.log_encode");
    this.halos = { fine: Math.ceil((REACH * fine) / 2), coarse: REACH * coarse };
  }

  // image {width, height, read(): its RGBA, later, for this alone} -> y, Float32Array [M, h, w], scaled for the quality. `tick(share)` is awaited
  // between layers; perform: whoever performs a job here; getHelpers: see tiles.js. In two walks over the image, so that
  // tiles need less around them.
  async run(image, step, perform, getHelpers, tick) {
    const [height, width] = latentSize(image.height, image.width);
    const walk = async (stage, channels, cut, from, to) => {
      const out = new Float32Array(channels * height * width);
      const put = (part, { yields }) => putPlanes(out, part, channels, height, width, yields);
      const job = (tile) => ({ task: "analysis", stage, ...tile, step, ...cut(tile) });
      const tiles = tilesOf(height, width, this.halos[stage]);
      const part = (share) => tick(from + (to - from) * share);
      await inTiles(tiles, { cut: job, here: perform, put }, getHelpers, part);
      return out;
    };
    const inner = this.down16.outputs;
    const data = await image.read();
    const x = await walk("fine", inner, ({ sees }) => ({ image: cutImage({ ...image, data }, sees) }), 0, 0.7);
    free(data);
    const cut = ({ sees }) => ({ x: cutPlanes(x, inner, height, width, sees) });
    const y = await walk("coarse", this.head.outputs, cut, 0.7, 1);
    free(x);
    return y;
  }

  // A job of `run`: what a tile yields, Float32Array [channels, ., .].
  perform(job, tick) {
    return job.stage === "fine" ? this.#fine(job, tick) : this.#coarse(job, tick);
  }

  // Blocks that reach REACH positions, of which a latent has `scale`, each cut to what the rest still needs.
  async #blocks(blocks, x, seen, { yields, step }, scale, tick) {
    const condition = qualityCondition(step);
    for (const [i, block] of blocks.entries()) {
      await tick(i / blocks.length);
      block.run(x, condition);
      trim(this.engine, x, seen, yields, (REACH * (blocks.length - 1 - i)) / scale);
    }
  }

  // Pixels to latents' positions.
  async #fine(job, tick) {
    const { engine } = this;
    const { image, yields } = job;
    const seen = { ...job.sees };
    const mark = engine.mark();
    const pixels = engine.fromPixels(image, seen.height * STRIDE, seen.width * STRIDE);
    const x = engine.keepOnly(this.embed.run(pixels), mark);
    await this.#blocks(this.stage8, x, seen, job, 2, tick);
    trim(engine, x, seen, yields, 0);
    return engine.read(this.down16.run(x, { unshuffle: true }));
  }

  async #coarse(job, tick) {
    const seen = { ...job.sees };
    const x = this.engine.tensor(this.down16.outputs, seen.height, seen.width, job.x);
    await this.#blocks(this.stage16, x, seen, job, 1, tick);
    trim(this.engine, x, seen, job.yields, 0);
    const y = await this.engine.read(this.head.run(x));
    const gains = weighted(qualityCondition(job.step), this.gains).map(Math.exp);
    const plane = seen.height * seen.width;
    for (let i = 0; i < y.length; i++) y[i] *= gains[Math.floor(i / plane)];
    return y;
  }
}

export class Synthesis {
  constructor(engine, file, config) {
    const [d16, d8, d4] = config.decoder_depths;
    const own = (name) => conv(engine, file, `network.synthesis.${name}`);
    const stage = (name, depth) => blocksOf(engine, file, `network.synthesis.${name}`, depth);
    this.engine = engine;
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
    const project = this.engine.keep(file.floats(`${name}.project.weight`));
    return { gate: conv(this.engine, file, `${name}.gate`), project, factor: 2 << index, channel: index ? 16 : 0 };
  }

  // latents: Int32Array [M, h, w] in units of 1/64 -> RGBA, Uint8ClampedArray, or parts of it (codec.js). `tick(share)`
  // is awaited between layers; perform, getHelpers: as above.
  async run(latents, height, width, step, realism, perform, getHelpers, tick, { onPart, visible, skip } = {}) {
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
    await inTiles(all, { cut, here: perform, put }, getHelpers, tick);
    return rgba;
  }

  // A job of `run`: the pixels that a tile yields, RGBA of rows x columns.
  async perform({ latents, yields, sees, rows, columns, step, realism }, tick) {
    const gains = weighted(qualityCondition(step), this.gains).map((gain) => Math.exp(gain) / 64);
    const plane = sees.height * sees.width;
    const scaled = new Float32Array(latents.length);
    for (let i = 0; i < latents.length; i++) scaled[i] = latents[i] * gains[Math.floor(i / plane)];
    const y = this.engine.tensor(this.stem.inputs, sees.height, sees.width, scaled);
    const seen = { ...sees };
    const x = await this.#tile(y, yields, seen, step, realism, tick);
    const [top, left] = [(yields.top - seen.top) * STRIDE, (yields.left - seen.left) * STRIDE];
    return this.engine.toPixels(x, top, left, rows, columns);
  }

  // Pixels in the order of a pixel shuffle by 2; `seen` becomes the part of the image that they cover.
  async #tile(latents, yields, seen, step, realism, tick) {
    const { engine } = this;
    const condition = [...qualityCondition(step), realism];
    const all = this.stages.flatMap((blocks, i) => blockLayers(blocks, 4 ** i));
    const work = macs([...all, [this.refine, 64], [this.head, 64]]);
    let done = 0;
    const mark = engine.mark();
    let x = this.stem.run(latents);
    for (const [i, blocks] of this.stages.entries()) {
      if (i && realism && this.grain.length) this.#addGrain(x, this.grain[i - 1], seen, realism);
      for (const [j, block] of blocks.entries()) {
        await tick(done / work);
        block.run(x, condition);
        trim(engine, x, seen, yields, this.halos[i + 1] + (REACH * (blocks.length - 1 - j)) / 2 ** i);
        done += macs(blockLayers([block], 4 ** i));
      }
      trim(engine, x, seen, yields, this.halos[i + 1]);
      x = engine.keepOnly(this.ups[i].run(x, { shuffle: true }), mark);
    }
    await tick(done / work);
    const before = engine.mark();
    engine.add(x, this.refine.run(x, { mode: MODE.leaky }));
    engine.release(before);
    await tick((done + macs([[this.refine, 64]])) / work);
    return this.head.run(x);
  }

  #addGrain(x, { gate, project, factor, channel }, { top, left }, realism) {
    const mark = this.engine.mark();
    this.engine.grain(x, gate.run(x), project, { factor, channel, top, left, realism });
    this.engine.release(mark);
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
