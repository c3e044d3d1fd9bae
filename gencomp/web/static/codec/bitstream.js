// The .gnc container, versions 1 and 2: FORMAT.md.

import { crc32 } from "./bytes.js";
import { BitstreamError } from "./errors.js";

const MAGIC = [0x47, 0x4e, 0x43]; // "GNC"
const MODEL_ID_BYTES = 4;
const MAX_SIDE = 2 ** 21 - 1;
const MAX_SECTION_BYTES = 1 << 20;
export const SECTION_KINDS = { exif: 1, xmp: 2, icc: 3, comment: 4, dpi: 5, alpha: 6 };
const SECTION_NAMES = Object.fromEntries(Object.entries(SECTION_KINDS).map(([name, kind]) => [kind, name]));
const MUST_KNOW = 128;
export const STEPS = 1024;
export const { icc: ICC, comment: COMMENT, alpha: ALPHA } = SECTION_KINDS;

export const qualityToStep = (quality) => Math.round(((quality - 1) / 99) * STEPS);
export const stepToQuality = (step) => 1 + (99 * step) / STEPS;

// Does a file call itself one of ours? (Anything else is taken for an image.)
export const isCoded = (bytes) => MAGIC.every((byte, i) => bytes[i] === byte);

// What a file of this size, step and version stores for latents whose bytes alone have the CRC given.
export function storedCrc({ version, width, height, step }, crcOfLatents) {
  if (version === 1) return crcOfLatents;
  const geometry = new DataView(new ArrayBuffer(10));
  geometry.setUint32(0, width, true);
  geometry.setUint32(4, height, true);
  geometry.setUint16(8, step, true);
  return crc32(new Uint8Array(geometry.buffer), crcOfLatents);
}

// A whole file from {modelId, width, height, step}, the CRC of the latents' bytes alone, the payload, and sections: a Map
// of kind to content. Of version 1 where there are none.
export function pack(header, crcOfLatents, payload, extras = new Map()) {
  const version = extras.size ? 2 : 1;
  const fixed = new DataView(new ArrayBuffer(6));
  fixed.setUint16(0, header.step, true);
  fixed.setUint32(2, storedCrc({ ...header, version }, crcOfLatents), true);
  const start = Uint8Array.from([
    ...[...MAGIC, version, ...header.modelId, ...varint(header.width), ...varint(header.height)],
    ...new Uint8Array(fixed.buffer),
  ]);
  const sections = [...extras].sort(([a], [b]) => a - b);
  const parts = sections.flatMap(([kind, content]) => [[kind, ...varint(content.length)], content]);
  const body = join(version === 1 ? [payload] : [...parts, [0, ...varint(payload.length)], payload]);
  const stored = new DataView(new ArrayBuffer(4));
  stored.setUint32(0, crc32(body, crc32(start)), true);
  return join([start, new Uint8Array(stored.buffer), body]);
}

function join(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

// {header, payload, sections, extras}: sections, bytes by name, add up to the file; extras, contents by kind.
// BitstreamError for anything that is not valid.
export function unpack(file) {
  const { header, end } = readHeader(file);
  const reader = { file, at: end };
  const stored = new DataView(take(reader, 4, "the header").slice().buffer).getUint32(0, true);
  const plain = { extras: new Map(), payload: file.subarray(end + 4) };
  const { extras, payload } = header.version === 1 ? plain : readSections(reader);
  if (crc32(file.subarray(end + 4), crc32(file.subarray(0, end))) !== stored) {
    throw new BitstreamError("damaged file: its checksum does not match (cut short, altered or extended)");
  }
  const named = [...extras].map(([kind, content]) => [SECTION_NAMES[kind] ?? `section ${kind}`, content.length]);
  const used = named.reduce((sum, [, bytes]) => sum + bytes, 8 + payload.length);
  const sections = { header: file.length - used, checksums: 8, ...Object.fromEntries(named), payload: payload.length };
  return { header, payload, extras, sections };
}

// {header, end}: before the checksum is looked at.
export function readHeader(file) {
  if (!file.length) throw new BitstreamError("empty file");
  if (!isCoded(file)) throw new BitstreamError("not a gencomp file");
  if (file.length > 3) checkVersion(file[3]);
  const reader = { file, at: 4 + MODEL_ID_BYTES };
  const width = readVarint(reader, 3, "the header");
  const height = readVarint(reader, 3, "the header");
  const fixed = new DataView(take(reader, 6, "the header").slice().buffer);
  const header = {
    version: file[3],
    modelId: file.slice(4, 4 + MODEL_ID_BYTES),
    width,
    height,
    step: fixed.getUint16(0, true),
    latentsCrc: fixed.getUint32(2, true),
  };
  for (const [name, low, high] of [["width", 1, MAX_SIDE], ["height", 1, MAX_SIDE], ["step", 0, STEPS]]) {
    if (header[name] >= low && header[name] <= high) continue;
    const named = name === "step" ? "quality_step" : name;
    throw new BitstreamError(`damaged file: ${named} must lie in ${low} to ${high}, not ${header[name]}`);
  }
  return { header, end: reader.at };
}

function checkVersion(byte) {
  const [version, flags] = [byte & 15, byte >> 4];
  if ((version === 1 || version === 2) && !flags) return;
  const what = flags ? `format flags 0x${flags.toString(16)}` : `format version ${version}`;
  throw new BitstreamError(
    `written by a newer version of gencomp, or damaged: ${what} (this one reads versions 1 and 2)`,
  );
}

function readSections(reader) {
  const extras = new Map();
  let [last, size] = [0, 0];
  for (;;) {
    const kind = take(reader, 1, "a section")[0];
    if (kind === 0) break;
    if (kind <= last) throw new BitstreamError("damaged file: its sections are out of order");
    if (kind >= MUST_KNOW) {
      throw new BitstreamError(`written by a newer version of gencomp, or damaged: section ${kind} must be known`);
    }
    const length = readLength(reader);
    size += length;
    if (size > MAX_SECTION_BYTES) throw new BitstreamError("damaged file: over 1,048,576 bytes of optional sections");
    extras.set(kind, take(reader, length, "a section"));
    last = kind;
  }
  const payload = take(reader, readLength(reader), "the payload");
  if (reader.at < reader.file.length) throw new BitstreamError("damaged file: it goes on after its payload");
  return { extras, payload };
}

function readLength(reader) {
  const length = readVarint(reader, 5, "a section");
  if (length >= 2 ** 32) throw new BitstreamError("damaged file: it holds an invalid length");
  return length;
}

function take(reader, count, where) {
  const bytes = reader.file.subarray(reader.at, reader.at + count);
  if (bytes.length < count) throw new BitstreamError(`damaged file: it ends inside ${where}`);
  reader.at += count;
  return bytes;
}

function varint(value) {
  const out = [];
  for (; value > 127; value = Math.floor(value / 128)) out.push((value & 127) | 128);
  return [...out, value];
}

// Only the shortest form is valid.
function readVarint(reader, most, where) {
  let value = 0;
  for (let digit = 0; digit < most; digit++) {
    const byte = take(reader, 1, where)[0];
    value += (byte & 127) * 128 ** digit;
    if (byte < 128) {
      if (byte === 0 && digit) break;
      return value;
    }
  }
  throw new BitstreamError("damaged file: it holds an invalid image size or length");
}
