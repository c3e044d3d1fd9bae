// The .gnc container, format 1: the fields stand in gencomp/bitstream.py.

import { crc32 } from "./bytes.js";
import { BitstreamError } from "./errors.js";

const MAGIC = [0x47, 0x4e, 0x43]; // "GNC"
const VERSION = 1;
const MODEL_ID_BYTES = 4;
export const STEPS = 1024;
export const MAX_SIDE = 2 ** 21 - 1;

export const qualityToStep = (quality) => Math.round(((quality - 1) / 99) * STEPS);
export const stepToQuality = (step) => 1 + (99 * step) / STEPS;

// Does a file call itself one of ours? (Anything else is taken for an image.)
export const isCoded = (bytes) => MAGIC.every((byte, i) => bytes[i] === byte);

// A whole file: {version, modelId, width, height, step, latentsCrc} and the payload.
export function pack(header, payload) {
  const head = [...MAGIC, VERSION, ...header.modelId, ...varint(header.width), ...varint(header.height)];
  const fixed = new DataView(new ArrayBuffer(6));
  fixed.setUint16(0, header.step, true);
  fixed.setUint32(2, header.latentsCrc, true);
  const start = Uint8Array.from([...head, ...new Uint8Array(fixed.buffer)]);
  const file = new Uint8Array(start.length + 4 + payload.length);
  file.set(start);
  new DataView(file.buffer).setUint32(start.length, crc32(payload, crc32(start)), true);
  file.set(payload, start.length + 4);
  return file;
}

// {header, payload, sections}, sections in bytes; BitstreamError for anything that `pack` does not write.
export function unpack(file) {
  const { header, end } = readHeader(file);
  if (file.length < end + 4) throw endsInHeader();
  const payload = file.subarray(end + 4);
  const crc = new DataView(file.buffer, file.byteOffset).getUint32(end, true);
  if (crc32(payload, crc32(file.subarray(0, end))) !== crc) {
    throw new BitstreamError("damaged file: its checksum does not match (cut short, altered or extended)");
  }
  return { header, payload, sections: { header: end - 4, checksums: 8, payload: payload.length } };
}

function readHeader(file) {
  if (!isCoded(file)) throw new BitstreamError("not a .gnc file");
  if (file.length < 4) throw endsInHeader();
  const version = file[3] & 15;
  const flags = file[3] >> 4;
  if (version !== VERSION || flags) {
    const what = version !== VERSION ? `format version ${version}` : `format flags 0x${flags.toString(16)}`;
    throw new BitstreamError(
      `written by a newer version of gencomp, or damaged: ${what} (this page reads version ${VERSION})`,
    );
  }
  const [width, afterWidth] = readVarint(file, 4 + MODEL_ID_BYTES);
  const [height, at] = readVarint(file, afterWidth);
  if (file.length < at + 6) throw endsInHeader();
  const fixed = new DataView(file.buffer, file.byteOffset + at, 6);
  const step = fixed.getUint16(0, true);
  if (step > STEPS) throw new BitstreamError(`damaged file: step must lie in 0 to ${STEPS}, not ${step}`);
  const modelId = file.slice(4, 4 + MODEL_ID_BYTES);
  return { header: { version, modelId, width, height, step, latentsCrc: fixed.getUint32(2, true) }, end: at + 6 };
}

function varint(value) {
  const out = [];
  for (; value > 127; value >>= 7) out.push((value & 127) | 128);
  return [...out, value];
}

function readVarint(file, at) {
  let value = 0;
  for (const shift of [0, 7, 14]) {
    if (at >= file.length) throw endsInHeader();
    const byte = file[at++];
    value |= (byte & 127) << shift;
    if (byte < 128) {
      if (byte === 0) break;
      return [value, at];
    }
  }
  throw new BitstreamError("damaged file: it holds an invalid picture size");
}

const endsInHeader = () => new BitstreamError("damaged file: it ends inside the header");
