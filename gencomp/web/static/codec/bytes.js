// CRC-32 (zlib's) and SHA-256 (FIPS 180-4). The browser's own crypto.subtle is not there on pages without TLS.

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

// CRC-32 of bytes (Uint8Array), going on from the CRC of what stands before them.
export function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// An Int32Array as little-endian bytes (every browser's own order).
export const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// First 32 bits of the fractional parts of the roots of the first primes.
function roots(count, root) {
  const primes = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((p) => n % p)) primes.push(n);
  return Int32Array.from(primes, (p) => ((root(p) % 1) * 2 ** 32) | 0); // signed: V8 keeps such in registers
}
const K = roots(64, Math.cbrt);
const turn = (x, n) => (x >>> n) | (x << (32 - n));

export class Sha256 {
  #state = roots(8, Math.sqrt);
  #block = new Uint8Array(64);
  #words = new Int32Array(64);
  #length = 0;

  update(data) {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    let at = 0;
    while (at < bytes.length) {
      const filled = this.#length % 64;
      const count = Math.min(64 - filled, bytes.length - at);
      this.#block.set(bytes.subarray(at, at + count), filled);
      this.#length += count;
      at += count;
      if (this.#length % 64 === 0) this.#compress();
    }
    return this;
  }

  digest() {
    const bits = this.#length * 8;
    this.update(new Uint8Array([128, ...new Uint8Array((119 - (this.#length % 64)) % 64)]));
    const tail = new DataView(new ArrayBuffer(8));
    tail.setUint32(0, Math.floor(bits / 2 ** 32));
    tail.setUint32(4, bits >>> 0);
    this.update(new Uint8Array(tail.buffer));
    const out = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, i) => out.setUint32(4 * i, word));
    return new Uint8Array(out.buffer);
  }

  #compress() {
    const w = this.#words;
    const block = this.#block;
    for (let i = 0; i < 16; i++) {
      w[i] = (block[4 * i] << 24) | (block[4 * i + 1] << 16) | (block[4 * i + 2] << 8) | block[4 * i + 3];
    }
    for (let i = 16; i < 64; i++) {
      const [u, v] = [w[i - 15], w[i - 2]];
      const s0 = turn(u, 7) ^ turn(u, 18) ^ (u >>> 3);
      const s1 = turn(v, 17) ^ turn(v, 19) ^ (v >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = this.#state;
    for (let i = 0; i < 64; i++) {
      const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((value, i) => (this.#state[i] += value));
  }
}
