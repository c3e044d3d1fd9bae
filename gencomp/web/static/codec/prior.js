// Latents to a payload and back (gencomp/entropy/prior.py): hyper-latents, then four passes, each a quarter of the
// latents, whose means and scale levels come from integer networks that see the quarters before.

import { bytesOf, crc32, hex, Sha256 } from "./bytes.js";
import { IntNet } from "./integers.js";
import { MAX_RESIDUAL, readPass, tablesOf, writePass } from "./latents.js";

export const KNOTS = 9;
export const SEGMENT = 128; // quality steps between two knots
const ORDER = [0, 3, 1, 2];
const LEVELS = 64;
const MEAN_UNIT = 64;
const HYPER_UNIT = 16;
const TILE = 64; // latents a side that the networks see at a time; any value gives the same integers
const CONSTANTS = `(1024, ${KNOTS}, ${LEVELS}, ${MEAN_UNIT}, ${HYPER_UNIT}, ${MAX_RESIDUAL}, (${ORDER.join(", ")}))`;

// Weights of the quality knots at a step 0..1024: hat functions that sum to SEGMENT.
export const knotWeights = (step) =>
  Int32Array.from({ length: KNOTS }, (_, knot) => Math.max(0, SEGMENT - Math.abs(step - knot * SEGMENT)));

export const hyperSize = (height, width) => [Math.ceil(height / 4), Math.ceil(width / 4)];

// CRC-32 of integer latents, as little-endian int32.
export const checksum = (latents) => crc32(bytesOf(latents));

export class Prior {
  constructor(kernel, coder, file) {
    this.coder = coder;
    this.tables = tablesOf(file, coder);
    this.synthesis = new IntNet(kernel, file, "integer.synthesis");
    this.contexts = ORDER.map((_, pass) => new IntNet(kernel, file, `integer.context${pass}`));
    this.channels = this.contexts[0].outputs / 2;
  }

  // payload -> integer latents, Int32Array [M, height, width], in units of 1/64.
  async decode(payload, height, width, step, tick) {
    const { coder, tables } = this;
    coder.startReading(payload);
    const [h, w] = hyperSize(height, width);
    const z = new Int32Array(tables.z.length * h * w);
    tables.z.forEach((table, c) => z.set(coder.read(h * w, table).map((s) => s - tables.hyper[c]), c * h * w)); // prettier-ignore
    const latents = await this.#passes(z, height, width, step, tick, (levels) => readPass(coder, levels, tables));
    coder.endReading();
    return latents;
  }

  // y: Float32Array [M, height, width], z: [Z, h, w], both not rounded -> {payload, latents, bits}.
  async encode(y, z, height, width, step, tick) {
    const { coder, tables } = this;
    coder.startWriting();
    const size = z.length / tables.z.length;
    const hyper = Int32Array.from(z, (value, i) => clamp(rint(value), tables.hyper[Math.floor(i / size)]));
    tables.z.forEach((table, c) => {
      coder.write(hyper.subarray(c * size, (c + 1) * size).map((value) => value + tables.hyper[c]), table); // prettier-ignore
    });
    const latents = await this.#passes(hyper, height, width, step, tick, (levels, means, places) => {
      const residuals = means.map((mean, i) => clamp(rint(y[places[i]] - mean / MEAN_UNIT), MAX_RESIDUAL));
      writePass(coder, residuals, levels, tables);
      return residuals;
    });
    return { payload: coder.endWriting(), latents, bits: coder.bits };
  }

  // h_s on z, then the passes; `code` gives the residuals of a pass from its levels, means and places.
  async #passes(z, height, width, step, tick, code) {
    const features = await this.#features(z, height, width, step, tick);
    const latents = new Int32Array(this.channels * height * width);
    for (let pass = 0; pass < ORDER.length; pass++) {
      const raw = await this.#raw(pass, features, latents, height, width, tick);
      const places = placesOf(pass, this.channels, height, width);
      const means = new Int32Array(places.length).map((_, i) => raw[places[i]]);
      const levels = new Uint8Array(places.length).map((_, i) => levelOf(raw[latents.length + places[i]]));
      const residuals = code(levels, means, places);
      for (let i = 0; i < places.length; i++) latents[places[i]] = MEAN_UNIT * residuals[i] + means[i];
    }
    return latents;
  }

  // h_s: what z says of every latent, {data: Int32Array, channels, height, width}; may reach beyond the latents.
  async #features(z, height, width, step, tick) {
    const [h, w] = hyperSize(height, width);
    const scaled = { data: z.map((value) => HYPER_UNIT * value), channels: this.tables.z.length, height: h, width: w };
    const knots = new Int32Array(KNOTS * h * w);
    knotWeights(step).forEach((weight, k) => knots.fill(weight, k * h * w, (k + 1) * h * w));
    const channels = this.synthesis.outputs;
    const data = new Int32Array(channels * h * w * 16);
    await this.synthesis.run([scaled, { data: knots, channels: KNOTS, height: h, width: w }], h, w, data, TILE / 4, tick);
    return { data, channels, height: 4 * h, width: 4 * w };
  }

  // Means, then levels, of a pass: Int32Array [2 M, height, width].
  #raw(pass, features, latents, height, width, tick) {
    const known = pass ? [features, { data: latents, channels: this.channels, height, width }] : [features];
    return this.contexts[pass].run(known, height, width, new Int32Array(2 * latents.length), TILE, tick);
  }

  // SHA-256 over features, means and levels of fixed hyper-latents: whether this browser computes as the exporter did.
  async knownAnswer() {
    const digest = new Sha256();
    const { tables } = this;
    const idle = async () => {};
    const sizes = [[1, 1, 0], [2, 3, 300], [3, 2, 777], [1, 4, 1024]]; // prettier-ignore
    for (const [seed, [h, w, step]] of sizes.entries()) {
      const z = scatter(tables.z.length * h * w, seed).map((chance, i) => {
        const widest = tables.hyper[Math.floor(i / (h * w))];
        return clamp(chance % 11 === 0 ? widest : ((chance >> 8) % 5) - 2, widest);
      });
      const [height, width] = [4 * h, 4 * w];
      const features = await this.#features(z, height, width, step, idle);
      const latents = new Int32Array(this.channels * height * width);
      const chances = scatter(latents.length, seed + 100);
      for (let pass = 0; pass < ORDER.length; pass++) {
        const raw = await this.#raw(pass, features, latents, height, width, idle);
        const means = raw.subarray(0, latents.length);
        const levels = raw.subarray(latents.length).map(levelOf);
        for (const part of [features.data, means, levels]) digest.update(bytesOf(part));
        for (const at of placesOf(pass, this.channels, height, width)) {
          const residual = (((chances[at] >> 8) % 7) - 3) * (chances[at] % 101 === 0 ? 1000 : 1);
          latents[at] = MEAN_UNIT * residual + means[at];
        }
      }
    }
    return hex(digest.digest());
  }
}

// First four bytes, in hexadecimal, of the digest over all that decides integers (gencomp/model.py).
export function modelId(file) {
  const digest = new Sha256().update(`gencomp-model-1 ${CONSTANTS}`);
  for (const name of file.names("integer.").sort()) {
    const shape = file.shape(name);
    digest.update(`${name.slice(8)} (${shape.join(", ")}${shape.length === 1 ? "," : ""}) `);
    const values = file.integers(name);
    const words = new Int32Array(2 * values.length); // of int64, little-endian
    for (let i = 0; i < values.length; i++) {
      const high = Math.floor(values[i] / 2 ** 32);
      words[2 * i] = values[i] - high * 2 ** 32;
      words[2 * i + 1] = high;
    }
    digest.update(bytesOf(words));
  }
  return hex(digest.digest().subarray(0, 4));
}

// Where the latents of a pass lie, in the order of the stream: channel, row, column. A channel of group g is coded in
// pass p where the parities of row and column, 2 (row % 2) + column % 2, are g ^ ORDER[p].
function placesOf(pass, channels, height, width) {
  const places = new Uint32Array(channels * Math.ceil(height / 2) * Math.ceil(width / 2));
  let count = 0;
  for (let c = 0; c < channels; c++) {
    const parity = Math.floor(c / (channels / 4)) ^ ORDER[pass];
    for (let r = parity >> 1; r < height; r += 2) {
      for (let q = parity & 1; q < width; q += 2) places[count++] = (c * height + r) * width + q;
    }
  }
  return places.subarray(0, count);
}

// Round half to even, NaN to 0.
function rint(value) {
  const rounded = Math.round(value);
  if (rounded - value === 0.5 && rounded % 2 !== 0) return rounded - 1;
  return rounded || 0;
}

const levelOf = (value) => Math.min(Math.max(value, 0), LEVELS - 1);

const clamp = (value, bound) => Math.max(-bound, Math.min(bound, value));

// Fixed pseudo-random numbers 0..2^31 - 1, as the exporter's.
function scatter(count, seed) {
  return Int32Array.from({ length: count }, (_, i) => {
    const number = (BigInt(i + 1) + (BigInt(seed) << 32n)) & 0xffffffffffffffffn;
    return Number(((number * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn) >> 33n);
  });
}
