// The kind "factorized" (gencomp/entropy/factorized.py): a table and a centre a channel, in one set or one for each of
// some qualities; no hyper-latents.

import { STEPS } from "./bitstream.js";
import { bytesOf, hex, Sha256 } from "./bytes.js";
import { ModelError } from "./errors.js";
import { readPass, tablesOf, writePass } from "./latents.js";
import { clamp, MAX_RESIDUAL, MEAN_UNIT, rint } from "./numbers.js";

export class Factorized {
  kind = "factorized";

  constructor(_, coder, file) {
    this.coder = coder;
    this.file = file;
    this.tables = tablesOf(file, coder);
    this.centres = Int32Array.from(file.integers("integer.centres"));
    const shape = file.shape("integer.centres");
    this.channels = shape.at(-1);
    this.sets = shape.length === 2 ? shape[0] : 1;
    const whole = shape.length === 1 || (shape.length === 2 && this.sets > 1);
    if (!whole || !this.channels || this.centres.length !== this.tables.y.length) {
      throw new ModelError("not one centre a table");
    }
  }

  async decode(payload, height, width, step) {
    const { tables, centres } = this.#set(step);
    this.coder.startReading(payload);
    this.coder.require(height * width * tables.y.reduce((bits, table) => bits + table.cheapest, 0));
    const residuals = readPass(this.coder, this.#levels(height * width), tables);
    this.coder.endReading();
    return residuals.map((r, i) => MEAN_UNIT * r + centres[Math.floor(i / (height * width))]);
  }

  async encode(y, _, height, width, step) {
    const { tables, centres } = this.#set(step);
    this.coder.startWriting();
    const centre = (i) => centres[Math.floor(i / (height * width))];
    const residuals = Int32Array.from(y, (value, i) => clamp(rint(value - centre(i) / MEAN_UNIT), MAX_RESIDUAL));
    writePass(this.coder, residuals, this.#levels(height * width), tables);
    const latents = residuals.map((r, i) => MEAN_UNIT * r + centre(i));
    return { payload: this.coder.endWriting(), latents, bits: this.coder.bits };
  }

  // The tables and centres nearest to a quality step.
  #set(step) {
    const first = this.channels * Math.floor((step * (this.sets - 1) + STEPS / 2) / STEPS);
    const cut = (list) => list.slice(first, first + this.channels);
    const tables = { ...this.tables, y: cut(this.tables.y), halfWidths: cut(this.tables.halfWidths) };
    return { tables, centres: cut(this.centres) };
  }

  // There is nothing to evaluate: the digest of the tables and centres.
  async knownAnswer() {
    const digest = new Sha256();
    for (const name of ["tables.y_weights", "tables.escape_weights", "centres"]) {
      digest.update(bytesOf(Int32Array.from(this.file.integers(`integer.${name}`))));
    }
    return hex(digest.digest());
  }

  #levels = (size) => new Uint16Array(this.channels * size).map((_, i) => Math.floor(i / size));
}
