// Reading a safetensors file: an 8-byte length, a JSON header, the tensors' bytes.

import { ModelError } from "./errors.js";

const KINDS = {
  F16: [Uint16Array, 2],
  F32: [Float32Array, 4],
  U8: [Uint8Array, 1],
  I8: [Int8Array, 1],
  I16: [Int16Array, 2],
  I32: [Int32Array, 4],
  I64: [BigInt64Array, 8],
};

let halves = null;

// float32 of each of the 65,536 float16 values, by their bits.
function halfTable() {
  return (halves ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  }));
}

export class Safetensors {
  #buffer;
  #start;
  #entries;

  constructor(buffer) {
    this.#buffer = buffer;
    try {
      const length = Number(new DataView(buffer).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
      this.metadata = header.__metadata__ ?? {};
      delete header.__metadata__;
      this.#entries = header;
      this.#start = 8 + length;
    } catch {
      throw new ModelError("the model file cannot be read: it is cut short or no model file");
    }
  }

  names(prefix = "") {
    return Object.keys(this.#entries).filter((name) => name.startsWith(prefix));
  }

  has(name) {
    return name in this.#entries;
  }

  shape(name) {
    return this.#entry(name).shape;
  }

  // Values of a float tensor, Float32Array.
  floats(name) {
    const values = this.#raw(name);
    if (values instanceof Float32Array) return values;
    if (!(values instanceof Uint16Array)) throw new ModelError(`the tensor ${name} holds no floats`);
    const table = halfTable();
    const out = new Float32Array(values.length);
    for (let i = 0; i < out.length; i++) out[i] = table[values[i]];
    return out;
  }

  // Values of an integer tensor as numbers, Float64Array: exact below 2^53, ModelError beyond.
  integers(name) {
    const values = this.#raw(name);
    if (values instanceof Float32Array || values instanceof Uint16Array) throw new ModelError(`${name}: no integers`);
    if (!(values instanceof BigInt64Array)) return new Float64Array(values);
    const out = Float64Array.from(values, Number);
    if (!out.every(Number.isSafeInteger)) throw new ModelError(`${name}: integers beyond 2^53`);
    return out;
  }

  #entry(name) {
    const entry = this.#entries[name];
    if (!entry) throw new ModelError(`the model has no tensor ${name}`);
    return entry;
  }

  #raw(name) {
    const { dtype, shape, data_offsets: [begin, end] } = this.#entry(name);
    const kind = KINDS[dtype];
    const count = shape.reduce((a, b) => a * b, 1);
    if (!kind || end - begin !== count * kind[1] || this.#start + end > this.#buffer.byteLength) {
      throw new ModelError(`the model's tensor ${name} is not whole`);
    }
    return new kind[0](this.#buffer.slice(this.#start + begin, this.#start + end)); // a copy lies on a boundary
  }
}
