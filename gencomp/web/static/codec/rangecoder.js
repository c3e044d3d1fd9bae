// Symbols to bytes and back (gencomp/entropy/coder.py) on the kernel's range coder, in a memory of its own, so that
// what is written can grow at its end.

import { BitstreamError, ModelError } from "./errors.js";
import { Kernel } from "./kernel.js";

const TOTAL = 65536;
const CHUNK = 1 << 16; // symbols that go over at a time
const SLACK = 256; // bits that symbols may cost beyond the stream's length

export class RangeCoder {
  #kernel;
  #symbols;
  #counts;
  #base;
  #mark;

  static async load(source) {
    return new RangeCoder(await Kernel.load(source));
  }

  constructor(kernel) {
    this.#kernel = kernel;
    this.#symbols = kernel.take(4 * CHUNK);
    this.#counts = kernel.take(4 * CHUNK);
    this.bits = 0; // ideal length of what was written or read since `start...`
  }

  // A table made ready: integer weights of at least 1 that sum to 2^16. To be called before the first stream.
  table(weights) {
    if (weights.length < 2 || weights.some((w) => w < 1) || weights.reduce((a, b) => a + b, 0) !== TOTAL) {
      throw new ModelError(`a table is at least 2 weights of at least 1 that sum to ${TOTAL}`);
    }
    const at = this.#kernel.take(4 * (weights.length + 1));
    const cumulative = this.#kernel.u32(at, weights.length + 1);
    cumulative[0] = 0;
    weights.forEach((w, i) => (cumulative[i + 1] = cumulative[i] + w * 256)); // 24 bits in all
    const costs = Float64Array.from(weights, (w) => 16 - Math.log2(w));
    return { at, size: weights.length, costs, cheapest: Math.min(...costs) };
  }

  startReading(bytes) {
    if (bytes.length && bytes.at(-1) === 0) {
      throw new BitstreamError("damaged file: the coded data end in a zero byte, which no encoder writes");
    }
    this.#start();
    this.data = bytes.slice();
    const at = this.#kernel.take(bytes.length);
    this.#kernel.u8(at, bytes.length).set(bytes);
    this.#kernel.call.decoder_start(at, bytes.length);
    this.#startAgain();
  }

  // BitstreamError unless the data can hold symbols that cost so many bits more.
  require(bits) {
    if (this.bits + bits > 8 * this.data.length + SLACK) {
      throw new BitstreamError("damaged file: the coded data end before the last symbol");
    }
  }

  // The next n symbols, Int32Array.
  read(n, table) {
    this.require(n * table.cheapest);
    const symbols = new Int32Array(n);
    const { decode_symbols, encode_symbols } = this.#kernel.call;
    for (let done = 0; done < n; done += CHUNK) {
      const count = Math.min(CHUNK, n - done);
      this.#room(count);
      this.#check(decode_symbols(table.at, table.size, this.#symbols, count), count);
      encode_symbols(table.at, this.#symbols, count);
      const some = this.#kernel.i32(this.#symbols, count);
      symbols.set(some, done);
      this.bits += costOf(some, table);
      this.require((n - done - count) * table.cheapest);
    }
    return symbols;
  }

  // The i-th value of counts[i] (0..24) equally likely bits.
  readBits(counts) {
    const bits = counts.reduce((a, b) => a + b, 0);
    this.require(bits);
    const coded = counts.filter((count) => count > 0);
    const values = new Int32Array(coded.length);
    const { decode_bits, encode_bits } = this.#kernel.call;
    for (let done = 0; done < coded.length; done += CHUNK) {
      const part = coded.subarray(done, done + CHUNK);
      this.#room(part.length);
      this.#kernel.i32(this.#counts, part.length).set(part);
      this.#check(decode_bits(this.#counts, this.#symbols, part.length), part.length);
      encode_bits(this.#symbols, this.#counts, part.length);
      values.set(this.#kernel.i32(this.#symbols, part.length), done);
    }
    this.bits += bits;
    let next = 0;
    return Int32Array.from(counts, (count) => (count > 0 ? values[next++] : 0));
  }

  // BitstreamError if the data are not what an encoder writes for the symbols read: longer, or other.
  endReading() {
    const again = this.endWriting();
    if (again.length !== this.data.length || again.some((byte, i) => byte !== this.data[i])) {
      throw new BitstreamError("damaged file: its coded data are not what an encoder writes");
    }
  }

  startWriting() {
    this.#start();
    this.#startAgain();
  }

  write(symbols, table) {
    for (let done = 0; done < symbols.length; done += CHUNK) {
      const part = symbols.subarray(done, done + CHUNK);
      this.#room(part.length);
      this.#kernel.i32(this.#symbols, part.length).set(part);
      this.#kernel.call.encode_symbols(table.at, this.#symbols, part.length);
    }
    this.bits += costOf(symbols, table);
  }

  writeBits(values, counts) {
    const coded = values.filter((_, i) => counts[i] > 0);
    const lengths = counts.filter((count) => count > 0);
    for (let done = 0; done < coded.length; done += CHUNK) {
      const part = coded.subarray(done, done + CHUNK);
      this.#room(part.length);
      this.#kernel.i32(this.#symbols, part.length).set(part);
      this.#kernel.i32(this.#counts, part.length).set(lengths.subarray(done, done + CHUNK));
      this.#kernel.call.encode_bits(this.#symbols, this.#counts, part.length);
    }
    this.bits += counts.reduce((a, b) => a + b, 0);
  }

  // The shortest bytes that decode to what was written.
  endWriting() {
    this.#room(2);
    return this.#kernel.u8(this.#base, this.#kernel.call.encoder_finish()).slice();
  }

  #start() {
    this.#mark ??= this.#kernel.mark();
    this.#kernel.release(this.#mark);
    this.bits = 0;
  }

  // What is written stands at the end of the memory.
  #startAgain() {
    this.#base = this.#kernel.take(64);
    this.#kernel.call.encoder_start(this.#base);
  }

  #room(symbols) {
    this.#kernel.reserve(this.#base + this.#kernel.call.encoder_bytes() + 4 * symbols + 64);
  }

  #check(read, wanted) {
    if (read < wanted) throw new BitstreamError("damaged file: the coded data hold no such symbol");
  }
}

function costOf(symbols, table) {
  let bits = 0;
  for (let i = 0; i < symbols.length; i++) bits += table.costs[symbols[i]];
  return bits;
}
