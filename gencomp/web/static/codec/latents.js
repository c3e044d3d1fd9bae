// The order of the stream (gencomp/entropy/latent.py): residuals by scale level, then what escaped.

import { BitstreamError } from "./errors.js";
import { MAX_RESIDUAL } from "./numbers.js";

// The tables of a model, made ready for a coder.
export function tablesOf(file, coder) {
  const cut = (name, sizes) => {
    const flat = file.integers(`integer.tables.${name}`);
    let at = 0;
    return sizes.map((size) => coder.table(flat.subarray(at, (at += size))));
  };
  const halfWidths = Array.from(file.integers("integer.tables.y_half_widths"));
  const hyper = file.has("integer.tables.z_weights") ? Array.from(file.integers("integer.tables.z_half_widths")) : [];
  return {
    halfWidths,
    hyper,
    y: cut("y_weights", halfWidths.map((L) => 2 * L + 2)),
    z: hyper.length ? cut("z_weights", hyper.map((K) => 2 * K + 1)) : [],
    escape: coder.table(file.integers("integer.tables.escape_weights")),
  };
}

// The stable order that sorts latents by level, and where each level's group ends in it.
function grouped(levels, count) {
  const ends = new Uint32Array(count);
  for (const level of levels) ends[level]++;
  for (let i = 1; i < count; i++) ends[i] += ends[i - 1];
  const next = Uint32Array.from(ends, (_, i) => (i ? ends[i - 1] : 0));
  const order = new Uint32Array(levels.length);
  for (let i = 0; i < levels.length; i++) order[next[levels[i]]++] = i;
  return { order, ends };
}

// levels: Uint8Array or Uint16Array [n] -> residuals, Int32Array [n].
export function readPass(coder, levels, tables) {
  const { order, ends } = grouped(levels, tables.y.length);
  const residuals = new Int32Array(levels.length);
  const escaped = []; // [index, half-width]
  let start = 0;
  tables.y.forEach((table, level) => {
    const L = tables.halfWidths[level];
    const symbols = coder.read(ends[level] - start, table);
    for (let i = 0; i < symbols.length; i++) {
      if (symbols[i] === 2 * L + 1) escaped.push([order[start + i], L]);
      else residuals[order[start + i]] = symbols[i] - L;
    }
    start = ends[level];
  });
  if (escaped.length) {
    const classes = coder.read(escaped.length, tables.escape);
    const low = coder.readBits(classes);
    escaped.forEach(([index, L], i) => {
      const overshoot = 2 ** classes[i] + low[i] - 1;
      const distance = L + 1 + (overshoot >> 1);
      if (distance > MAX_RESIDUAL) throw new BitstreamError("damaged file: a residual beyond the format's limit");
      residuals[index] = overshoot & 1 ? -distance : distance;
    });
  }
  return residuals;
}

export function writePass(coder, residuals, levels, tables) {
  const { order, ends } = grouped(levels, tables.y.length);
  const overshoots = [];
  let start = 0;
  tables.y.forEach((table, level) => {
    const L = tables.halfWidths[level];
    const symbols = new Int32Array(ends[level] - start);
    for (let i = 0; i < symbols.length; i++) {
      const r = residuals[order[start + i]];
      const outside = r < -L || r > L;
      if (outside) overshoots.push(r > 0 ? 2 * (r - L - 1) : 2 * (-L - 1 - r) + 1);
      symbols[i] = outside ? 2 * L + 1 : r + L;
    }
    coder.write(symbols, table);
    start = ends[level];
  });
  if (overshoots.length) {
    const classes = Int32Array.from(overshoots, (o) => 31 - Math.clz32(o + 1));
    coder.write(classes, tables.escape);
    coder.writeBits(Int32Array.from(overshoots, (o, i) => o + 1 - 2 ** classes[i]), classes);
  }
}
