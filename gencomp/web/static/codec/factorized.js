// The kind "factorized" (gencomp/entropy/factorized.py): a table and a centre a channel, no hyper-latents.

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
    this.channels = this.centres.length;
    if (this.channels !== this.tables.y.length) throw new ModelError("not one centre a table");
  }

  async decode(payload, height, width) {
    this.coder.startReading(payload);
    this.coder.require(height * width * this.tables.y.reduce((bits, table) => bits + table.cheapest, 0));
    const residuals = readPass(this.coder, this.#levels(height * width), this.tables);
    this.coder.endReading();
    return residuals.map((r, i) => MEAN_UNIT * r + this.centres[Math.floor(i / (height * width))]);
  }

  async encode(y, _, height, width) {
    this.coder.startWriting();
    const centre = (i) => this.centres[Math.floor(i / (height * width))];
    const residuals = Int32Array.from(y, (value, i) => clamp(rint(value - centre(i) / MEAN_UNIT), MAX_RESIDUAL));
    writePass(this.coder, residuals, this.#levels(height * width), this.tables);
    const latents = residuals.map((r, i) => MEAN_UNIT * r + centre(i));
    return { payload: this.coder.endWriting(), latents, bits: this.coder.bits };
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
