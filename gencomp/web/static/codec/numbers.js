// Constants of the integer world (gencomp/entropy/constants.py) and small functions on its numbers.

import { bytesOf, crc32 } from "./bytes.js";

export const KNOTS = 9;
export const SEGMENT = 128; // quality steps between two knots
export const ORDER = [0, 3, 1, 2]; // in pass p a position of parity class c codes the channel group c ^ ORDER[p]
export const LEVELS = 64;
export const MEAN_UNIT = 64;
export const HYPER_UNIT = 16;
export const MAX_RESIDUAL = 30000;

// Weights of the quality knots at a step 0..1024: hat functions that sum to SEGMENT.
export const knotWeights = (step) =>
  Int32Array.from({ length: KNOTS }, (_, knot) => Math.max(0, SEGMENT - Math.abs(step - knot * SEGMENT)));

// CRC-32 of integer latents, as little-endian int32.
export const checksum = (latents) => crc32(bytesOf(latents));

// Round half to even; NaN gives 0.
export function rint(value) {
  const rounded = Math.round(value);
  if (rounded - value === 0.5 && rounded % 2 !== 0) return rounded - 1;
  return rounded || 0;
}

export const clamp = (value, bound) => Math.max(-bound, Math.min(bound, value));

// The first row and column of a channel that are coded in a pass.
export function parities(passes, pass, channels, channel) {
  const parity = passes === 1 ? 0 : Math.floor(channel / (channels / 4)) ^ ORDER[pass];
  return [parity >> 1, parity & 1];
}

// Where the latents of a pass lie in [channels, height, width], in the order of the stream: channel, row, column. Of
// four passes, a channel of group g is coded in pass p where the parities of row and column, 2 (row % 2) + column % 2,
// are g ^ ORDER[p]; the only pass of one codes everything.
export function placesOf(passes, pass, channels, height, width) {
  if (passes === 1) return new Uint32Array(channels * height * width).map((_, i) => i);
  const places = new Uint32Array(channels * Math.ceil(height / 2) * Math.ceil(width / 2));
  let count = 0;
  for (let c = 0; c < channels; c++) {
    const [down, across] = parities(passes, pass, channels, c);
    for (let r = down; r < height; r += 2) {
      for (let q = across; q < width; q += 2) places[count++] = (c * height + r) * width + q;
    }
  }
  return places.subarray(0, count);
}

// Give an array's memory back at once, where the browser can: arrays as large as an image would wait long to be collected.
// Not one that came in a message, which browsers hold as long as the message: it would only be counted no more.
export const free = (array) => array.buffer.transfer?.(0);

// Fixed pseudo-random numbers 0..2^31 - 1 (gencomp/entropy/check.py).
export function scatter(count, seed) {
  return Int32Array.from({ length: count }, (_, i) => {
    const number = (BigInt(i + 1) + (BigInt(seed) << 32n)) & 0xffffffffffffffffn;
    return Number(((number * 0x9e3779b97f4a7c15n) & 0xffffffffffffffffn) >> 33n);
  });
}
