// The kinds "hyperprior" (one pass) and "context" (four), gencomp/entropy/hyperprior.py: hyper-latents, then passes
// over the latents, whose means and scale levels come from integer networks that see the passes before.

import { bytesOf, hex, Sha256 } from "./bytes.js";
import { ModelError } from "./errors.js";
import { IntNet } from "./integers.js";
import { readPass, tablesOf, writePass } from "./latents.js";
import { cutPlanes } from "./tiles.js";
import { clamp, free, parities, placesOf, rint, scatter } from "./numbers.js";
import { HYPER_UNIT, KNOTS, knotWeights, LEVELS, MAX_RESIDUAL, MEAN_UNIT, ORDER } from "./numbers.js";

const TILE = 64; // latents a side that the networks see at a time; any value gives the same integers

export class Hyperprior {
  constructor(kernel, coder, file) {
    this.coder = coder;
    this.tables = tablesOf(file, coder);
    this.synthesis = new IntNet(kernel, file, "integer.synthesis");
    const given = ORDER.filter((_, pass) => file.has(`integer.context${pass}.input_bound`)).length;
    this.contexts = Array.from({ length: given }, (_, pass) => new IntNet(kernel, file, `integer.context${pass}`));
    this.thresholds = file.has("integer.thresholds") ? file.integers("integer.thresholds") : null;
    this.passes = Math.max(1, given);
    this.kind = this.passes > 1 ? "context" : "hyperprior";
    this.channels = (this.contexts[0] ?? this.synthesis).outputs / 2;
    this.stride = this.synthesis.scale; // latents a side for one hyper-latent
    this.knowsQuality = this.synthesis.inputs > this.tables.z.length;
    if (this.tables.y.length !== LEVELS || ![1, 4].includes(this.passes) || this.channels % this.passes) {
      throw new ModelError("the model's tables and networks do not fit one another");
    }
  }

  // payload -> integer latents, Int32Array [M, height, width], in units of 1/64.
  async decode(payload, height, width, step, getHelpers, tick) {
    const { coder, tables } = this;
    coder.startReading(payload);
    const size = Math.ceil(height / this.stride) * Math.ceil(width / this.stride);
    const likeliest = Math.min(...tables.y.map((table) => table.cheapest));
    const hyperBits = tables.z.reduce((bits, table) => bits + table.cheapest, 0);
    coder.require(this.channels * height * width * likeliest + size * hyperBits); // before any memory is taken
    const z = new Int32Array(tables.z.length * size);
    for (const [c, table] of tables.z.entries()) {
      z.set(coder.read(size, table).map((symbol) => symbol - tables.hyper[c]), c * size);
    }
    const code = (levels) => readPass(coder, levels, tables);
    const latents = await this.#code(z, height, width, step, getHelpers, tick, code);
    coder.endReading();
    return latents;
  }

  // y: Float32Array [M, height, width], z: [Z, ., .], both not rounded -> {payload, latents, bits}.
  async encode(y, z, height, width, step, getHelpers, tick) {
    const { coder, tables } = this;
    coder.startWriting();
    const size = z.length / tables.z.length;
    const hyper = Int32Array.from(z, (value, i) => clamp(rint(value), tables.hyper[Math.floor(i / size)]));
    for (const [c, table] of tables.z.entries()) {
      const values = hyper.subarray(c * size, (c + 1) * size);
      coder.write(values.map((value) => value + tables.hyper[c]), table);
    }
    const latents = await this.#code(hyper, height, width, step, getHelpers, tick, (levels, means, places) => {
      const residuals = means.map((mean, i) => clamp(rint(y[places[i]] - mean / MEAN_UNIT), MAX_RESIDUAL));
      writePass(coder, residuals, levels, tables);
      return residuals;
    });
    return { payload: coder.endWriting(), latents, bits: coder.bits };
  }

  // The network of a helper's job.
  net = (name) => [this.synthesis, ...this.contexts].find((net) => net.name === name);

  // The passes; `code` gives the residuals of one from its levels, means and places.
  async #code(z, height, width, step, getHelpers, tick, code) {
    const part = (pass) => (share) => tick((pass + share) / (1 + this.passes));
    const features = await this.#features(z, height, width, step, getHelpers, part(0));
    const latents = new Int32Array(this.channels * height * width);
    for (let pass = 0; pass < this.passes; pass++) {
      const places = placesOf(this.passes, pass, this.channels, height, width);
      const [means, levels] = [new Int32Array(places.length), new Uint8Array(places.length)];
      const take = (raw, tile) => this.#take(raw, tile, pass, height, width, means, levels);
      const raw = await this.#raw(pass, features, latents, height, width, getHelpers, part(1 + pass), take);
      if (raw) take(raw, { top: 0, left: 0, height, width });
      const residuals = code(levels, means, places);
      for (let i = 0; i < places.length; i++) latents[places[i]] = MEAN_UNIT * residuals[i] + means[i];
      for (const array of [places, means, levels, residuals]) free(array);
    }
    free(features.data);
    return latents;
  }

  // h_s: what z says of every latent, {data: integers, channels, height, width}; may reach beyond the latents.
  async #features(z, height, width, step, getHelpers, tick) {
    const [h, w] = [Math.ceil(height / this.stride), Math.ceil(width / this.stride)];
    const plane = (data, channels) => ({ data, channels, height: h, width: w });
    const inputs = [plane(z.map((value) => HYPER_UNIT * value), this.tables.z.length)];
    if (this.knowsQuality) {
      const knots = new Int32Array(KNOTS * h * w);
      knotWeights(step).forEach((weight, k) => knots.fill(weight, k * h * w, (k + 1) * h * w));
      inputs.push(plane(knots, KNOTS));
    }
    const data = await this.synthesis.run(inputs, h, w, Math.max(1, TILE / this.stride), getHelpers, tick);
    return { data, channels: this.synthesis.outputs, height: h * this.stride, width: w * this.stride };
  }

  // Means, then raw levels, as a pass sees them: integers [2 M, height, width]; `take` as in integers.js.
  async #raw(pass, features, latents, height, width, getHelpers, tick, take = null) {
    if (!this.contexts.length) {
      const { data, channels, height: h, width: w } = features;
      return cutPlanes(data, channels, h, w, { top: 0, left: 0, height, width });
    }
    const known = { data: latents, channels: this.channels, height, width };
    const inputs = this.contexts[pass].inputs > features.channels ? [features, known] : [features];
    return this.contexts[pass].run(inputs, height, width, TILE, getHelpers, tick, take);
  }

  // Means and levels of a pass, in the order of its places, from what `#raw` says of a tile, whose top and left are even.
  #take(raw, tile, pass, height, width, means, levels) {
    const step = this.passes === 1 ? 1 : 2;
    let first = 0; // of a channel, in that order
    for (let c = 0; c < this.channels; c++) {
      const [down, across] = parities(this.passes, pass, this.channels, c);
      const [rows, columns] = [Math.ceil((height - down) / step), Math.ceil((width - across) / step)];
      for (let r = down; r < tile.height; r += step) {
        let from = (c * tile.height + r) * tile.width + across;
        let to = first + Math.floor((tile.top + r) / step) * columns + Math.floor(tile.left / step);
        for (const end = from - across + tile.width; from < end; from += step, to++) {
          means[to] = raw[from];
          levels[to] = this.#levelOf(raw[raw.length / 2 + from]);
        }
      }
      first += rows * columns;
    }
  }

  // The scale level of a raw output: itself, or the number of thresholds at or below it.
  #levelOf(raw) {
    if (!this.thresholds) return Math.min(Math.max(raw, 0), LEVELS - 1);
    let level = 0;
    while (level < LEVELS - 1 && this.thresholds[level] <= raw) level++;
    return level;
  }

  // SHA-256 over features, means and levels of fixed hyper-latents: whether this browser computes as the exporter did.
  async knownAnswer() {
    const digest = new Sha256();
    const { tables } = this;
    const [idle, alone] = [async () => {}, async () => []];
    const sizes = [[1, 1, 0], [2, 3, 300], [3, 2, 777], [1, 4, 1024]];
    for (const [seed, [h, w, step]] of sizes.entries()) {
      const z = scatter(tables.z.length * h * w, seed).map((chance, i) => {
        const widest = tables.hyper[Math.floor(i / (h * w))];
        return clamp(chance % 11 === 0 ? widest : ((chance >> 8) % 5) - 2, widest);
      });
      const [height, width] = [this.stride * h, this.stride * w];
      const features = await this.#features(z, height, width, step, alone, idle);
      const latents = new Int32Array(this.channels * height * width);
      const chances = scatter(latents.length, seed + 100);
      for (let pass = 0; pass < this.passes; pass++) {
        const raw = await this.#raw(pass, features, latents, height, width, alone, idle);
        const means = raw.subarray(0, latents.length);
        const levels = Int32Array.from(raw.subarray(latents.length), (level) => this.#levelOf(level));
        for (const part of [features.data, means, levels]) digest.update(bytesOf(Int32Array.from(part)));
        for (const at of placesOf(this.passes, pass, this.channels, height, width)) {
          const residual = (((chances[at] >> 8) % 7) - 3) * (chances[at] % 101 === 0 ? 1000 : 1);
          latents[at] = MEAN_UNIT * residual + means[at];
        }
      }
    }
    return hex(digest.digest());
  }
}
