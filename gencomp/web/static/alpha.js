// Alpha beside the codec, by the rules of gencomp/alpha.py: the plane without loss in a section of the file, and colours
// that cost next to nothing where it is 0.

import { crc32 } from "./codec/bytes.js";

const [RECTANGLE, FILE] = [0, 1];

// The alpha of RGBA, which becomes opaque; null where it was.
export function partAlpha(data) {
  if (new Uint32Array(data.buffer).every((pixel) => pixel >= 0xff000000)) return null;
  const alpha = new Uint8Array(data.length / 4);
  for (let i = 0; i < alpha.length; i++) {
    alpha[i] = data[4 * i + 3];
    data[4 * i + 3] = 255;
  }
  return alpha;
}

// Opaque RGBA laid on white, in its own values.
export function onWhite(data, alpha) {
  const out = data.slice();
  for (let i = 0; i < out.length; i++) {
    if (i % 4 !== 3) out[i] = Math.round((data[i] * alpha[i >> 2] + 255 * (255 - alpha[i >> 2])) / 255);
  }
  return out;
}

// RGBA whose colours of alpha 0 are made smooth: means of what lies around at 2, 4, 8, .. pixels.
export function filled(data, alpha, width, height) {
  const known = alpha.map((value) => (value ? 1 : 0));
  const colours = new Float32Array(3 * width * height);
  for (let i = 0; i < colours.length; i++) colours[i] = data[4 * Math.floor(i / 3) + (i % 3)];
  fill(colours, known, width, height);
  const out = data.slice();
  for (let i = 0; i < colours.length; i++) out[4 * Math.floor(i / 3) + (i % 3)] = Math.round(colours[i]);
  return out;
}

function fill(colours, known, width, height) {
  if (known.every(Boolean)) return;
  if (!known.some(Boolean)) return colours.fill(128);
  const [w, h] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const [half, seen] = [new Float32Array(3 * w * h), new Uint8Array(w * h)];
  const count = new Uint8Array(w * h);
  const above = (i) => (Math.floor(i / width) >> 1) * w + ((i % width) >> 1);
  for (let i = 0; i < known.length; i++) {
    if (!known[i]) continue;
    const at = above(i);
    count[at]++;
    seen[at] = 1;
    for (let c = 0; c < 3; c++) half[3 * at + c] += colours[3 * i + c];
  }
  for (let i = 0; i < half.length; i++) if (count[Math.floor(i / 3)]) half[i] /= count[Math.floor(i / 3)];
  fill(half, seen, w, h);
  for (let i = 0; i < known.length; i++) {
    if (known[i]) continue;
    const [y, x] = [(Math.floor(i / width) - 0.5) / 2, ((i % width) - 0.5) / 2];
    const [top, left] = [Math.max(Math.floor(y), 0), Math.max(Math.floor(x), 0)];
    const [bottom, right] = [Math.min(top + 1, h - 1), Math.min(left + 1, w - 1)];
    const [down, across] = [Math.max(y - top, 0), Math.max(x - left, 0)];
    for (let c = 0; c < 3; c++) {
      const at = (r, q) => half[3 * (r * w + q) + c];
      const upper = at(top, left) * (1 - across) + at(top, right) * across;
      colours[3 * i + c] = upper * (1 - down) + (at(bottom, left) * (1 - across) + at(bottom, right) * across) * down;
    }
  }
}

// The content of the section.
export async function packAlpha(alpha, width, height) {
  const last = alpha.length - 1;
  for (const outside of new Set([alpha[0], alpha[width - 1], alpha[last - width + 1], alpha[last]])) {
    let [top, bottom, left, right] = [height, -1, width, -1];
    for (let i = 0; i <= last; i++) {
      if (alpha[i] === outside) continue;
      const [row, column] = [Math.floor(i / width), i % width];
      [top, bottom] = [Math.min(top, row), row];
      [left, right] = [Math.min(left, column), Math.max(right, column)];
    }
    if (bottom < 0) [top, bottom, left, right] = [0, height - 1, 0, width - 1];
    const inside = alpha[top * width + left];
    let plain = true;
    for (let r = top; plain && r <= bottom; r++) {
      plain = alpha.subarray(r * width + left, r * width + right + 1).every((value) => value === inside);
    }
    const place = [left, top, right - left + 1, bottom - top + 1];
    if (plain) return Uint8Array.from([RECTANGLE, inside, outside, ...place.flatMap(varint)]);
  }
  const png = await greyPng(alpha, width, height);
  return Uint8Array.from([FILE, ...png]);
}

function varint(value) {
  const out = [];
  for (; value > 127; value >>= 7) out.push((value & 127) | 128);
  return [...out, value];
}

// A PNG of one grey image: of one bit where it is black and white; every row by the filter of least sum.
async function greyPng(plane, width, height) {
  const hard = plane.every((value) => value === 0 || value === 255);
  const length = hard ? Math.ceil(width / 8) : width;
  const rows = new Uint8Array(height * (length + 1));
  let before = new Uint8Array(length);
  for (let r = 0; r < height; r++) {
    const values = plane.subarray(r * width, (r + 1) * width);
    let row = values;
    if (hard) {
      row = new Uint8Array(length);
      values.forEach((value, q) => (row[q >> 3] |= value & (128 >> (q & 7))));
    }
    const filters = [row, row.map((v, q) => v - (row[q - 1] ?? 0)), row.map((v, q) => v - before[q])];
    const cost = filters.map((bytes) => bytes.reduce((sum, v) => sum + Math.min(v, 256 - v), 0));
    const best = hard ? 0 : cost.indexOf(Math.min(...cost));
    rows[r * (length + 1)] = best;
    rows.set(filters[best], r * (length + 1) + 1);
    before = row;
  }
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, hard ? 1 : 8);
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const body = new Uint8Array(await new Response(packed).arrayBuffer());
  const parts = [chunk("IHDR", new Uint8Array(head.buffer)), chunk("IDAT", body), chunk("IEND", [])];
  return new Uint8Array(await new Blob([Uint8Array.from([137, 80, 78, 71, 13, 10, 26, 10]), ...parts]).arrayBuffer());
}

export function chunk(kind, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

// The plane of a section's content; throws where it is of no known form or size.
export async function unpackAlpha(content, width, height) {
  if (content[0] === RECTANGLE) {
    const place = [];
    let at = 3;
    for (let i = 0; i < 4; i++) {
      let value = 0;
      for (let shift = 0; shift < 21; shift += 7) {
        const byte = content[at++] ?? 255;
        value |= (byte & 127) << shift;
        if (byte < 128) break;
      }
      place.push(value);
    }
    const [left, top, w, h] = place;
    if (!w || !h || left + w > width || top + h > height || at !== content.length) throw new Error("a rectangle beyond it");
    const alpha = new Uint8Array(width * height).fill(content[2]);
    for (let r = top; r < top + h; r++) alpha.fill(content[1], r * width + left, r * width + left + w);
    return alpha;
  }
  if (content[0] !== FILE) throw new Error(`form ${content[0]}`);
  const bitmap = await createImageBitmap(new Blob([content.slice(1)]), { colorSpaceConversion: "none" });
  if (bitmap.width !== width || bitmap.height !== height) throw new Error("another size");
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return Uint8Array.from({ length: width * height }, (_, i) => data[4 * i + 1]);
}
