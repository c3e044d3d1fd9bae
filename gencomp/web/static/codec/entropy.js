// What decides bits, by its kind, from a model file's integers.

import { bytesOf, hex, Sha256 } from "./bytes.js";
import { Factorized } from "./factorized.js";
import { Hyperprior } from "./hyperprior.js";
import { HYPER_UNIT, KNOTS, LEVELS, MAX_RESIDUAL, MEAN_UNIT, ORDER } from "./numbers.js";

const CONSTANTS = `(1024, ${KNOTS}, ${LEVELS}, ${MEAN_UNIT}, ${HYPER_UNIT}, ${MAX_RESIDUAL}, (${ORDER.join(", ")}))`;

// {kind, channels, decode, encode, knownAnswer}; ModelError where the file holds no whole model.
export const entropyModel = (kernel, coder, file) =>
  new (file.has("integer.centres") ? Factorized : Hyperprior)(kernel, coder, file);

// First four bytes, in hexadecimal, of the digest over all that decides integers (gencomp/model.py).
export function modelId(file, kind) {
  const form = kind === "context" ? "gencomp-model-1" : `gencomp-model-2 ${kind}`;
  const digest = new Sha256().update(`${form} ${CONSTANTS}`);
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
