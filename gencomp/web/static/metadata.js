// What is kept beside the pixels when it is asked for by name, by the rules of gencomp/metadata.py: from what an image
// file holds to sections of a .gnc file.

import { SECTION_KINDS } from "./codec/bitstream.js";
import { text } from "./containers.js";
import { isRgb } from "./icc.js";

export const KINDS = ["exif", "xmp", "icc", "dpi", "comment"];
const LIMITS = { exif: 65_000, xmp: 65_000, comment: 65_000, dpi: 8, icc: 800_000 };
const DESCRIPTIVE = new Set([0x010e, 0x010f, 0x0110, 0x0131, 0x0132, 0x013b, 0x013c, 0x8298, 0x4746, 0x4749, 0x9c9b,
  0x9c9c, 0x9c9d, 0x9c9e, 0x9c9f]);
const NOT_OF_THE_FILE = new Set([0x927c, 0xa005, 0xa002, 0xa003, 0xa001]);
const EXIF_IFD = 0x8769;
const GPS_IFD = 0x8825;
const BYTES = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8]; // of a value, by its type

// contents: of containers.js; keep: names -> {sections: Map by kind, lost: what could not be kept, in words}.
export function sectionsOf(contents, keep) {
  const sections = new Map();
  const lost = [];
  const gps = keep.includes("gps");
  const collectors = {
    exif: (exif) => exifOf(exif, gps),
    xmp: (xmp) => xmpOf(xmp, gps),
    icc: (profile) => {
      if (!isRgb(profile)) throw new Error("it is no profile of RGB colours");
      return profile;
    },
    dpi: (dpi) => new Uint8Array(Float32Array.from(dpi).buffer),
    comment: utf8,
  };
  for (const name of KINDS.filter((kind) => keep.includes(kind) && contents[kind])) {
    try {
      const content = collectors[name](contents[name]);
      if (content?.length > LIMITS[name]) throw new Error(`${content.length} bytes, over ${LIMITS[name]}`);
      if (content?.length) sections.set(SECTION_KINDS[name], content);
    } catch (error) {
      lost.push(`its ${name} cannot be kept (${error.message})`);
    }
  }
  if (["AVIF", "HEIC", "TIFF"].includes(contents.kind) && keep.length) {
    lost.push(`metadata of ${contents.kind} are not read here: the command gencomp compress --keep reads them`);
  }
  return { sections, lost };
}

// Text as UTF-8; bytes that are not are taken as Latin-1.
function utf8(bytes) {
  try {
    return new TextEncoder().encode(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return new TextEncoder().encode(text(bytes));
  }
}

function xmpOf(bytes, gps) {
  const packet = new TextDecoder().decode(utf8(bytes)).replace(/^[\0 \t\r\n]+|[\0 \t\r\n]+$/g, "");
  if (packet.length > LIMITS.xmp) throw new Error(`${packet.length} bytes, over ${LIMITS.xmp}`);
  if (/<!DOCTYPE|<!ENTITY/.test(packet)) throw new Error("it defines entities");
  const document = new DOMParser().parseFromString(packet, "text/xml");
  if (document.querySelector("parsererror")) throw new Error("it is no XML");
  const stale = ({ localName }) => localName === "Orientation" || (!gps && localName.startsWith("GPS"));
  for (const element of [...document.querySelectorAll("*")]) {
    for (const attribute of [...element.attributes]) if (stale(attribute)) element.removeAttributeNode(attribute);
    if (stale(element)) element.remove();
  }
  const kept = new XMLSerializer().serializeToString(document);
  if (!gps && /gps|latitude|longitude/i.test(kept)) throw new Error("a place would be left in it");
  return new TextEncoder().encode(kept);
}

// An EXIF block with what describes the picture alone, in the byte order of the old one.
function exifOf(bytes, gps) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49;
  if (view.getUint16(2, little) !== 42) throw new Error("no EXIF block");
  const read = (at) => entriesAt(view, at, little);
  const main = read(view.getUint32(4, little));
  const linked = (tag) => {
    const link = main.find((entry) => entry.tag === tag);
    return link ? read(new DataView(link.value.buffer).getUint32(0, little)) : [];
  };
  const shot = linked(EXIF_IFD).filter(({ tag }) => !NOT_OF_THE_FILE.has(tag));
  const place = gps ? linked(GPS_IFD) : [];
  const kept = main.filter(({ tag }) => DESCRIPTIVE.has(tag));
  if (!kept.length && !shot.length && !place.length) return null;
  return exifBytes(kept, [[EXIF_IFD, shot], [GPS_IFD, place]].filter(([, entries]) => entries.length), little);
}

// Entries {tag, type, count, value: bytes as they stand}; those of unknown type or that reach beyond the block left out.
function entriesAt(view, at, little) {
  const entries = [];
  for (let i = 0, n = view.getUint16(at, little); i < n; i++) {
    const entry = at + 2 + 12 * i;
    const [tag, type] = [view.getUint16(entry, little), view.getUint16(entry + 2, little)];
    const count = view.getUint32(entry + 4, little);
    const length = (BYTES[type] ?? 0) * count;
    const from = length > 4 ? view.getUint32(entry + 8, little) : entry + 8;
    if (!length || from + length > view.byteLength) continue;
    entries.push({ tag, type, count, value: new Uint8Array(view.buffer, view.byteOffset + from, length).slice() });
  }
  return entries;
}

function exifBytes(main, linked, little) {
  const link = (tag) => ({ tag, type: 4, count: 1, value: new Uint8Array(4) });
  const tables = [[...main, ...linked.map(([tag]) => link(tag))], ...linked.map(([, entries]) => entries)];
  const padded = (length) => length + (length & 1);
  const room = ({ value }) => (value.length > 4 ? padded(value.length) : 0);
  const sizeOf = (entries) => entries.reduce((sum, entry) => sum + room(entry), 6 + 12 * entries.length);
  const starts = [];
  let size = 8;
  for (const entries of tables) {
    starts.push(size);
    size += sizeOf(entries);
  }
  linked.forEach(([tag], i) => {
    const { value } = tables[0].find((entry) => entry.tag === tag);
    new DataView(value.buffer).setUint32(0, starts[i + 1], little);
  });
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  out.set(little ? [0x49, 0x49] : [0x4d, 0x4d]);
  view.setUint16(2, 42, little);
  view.setUint32(4, 8, little);
  for (const [i, entries] of tables.entries()) {
    entries.sort((a, b) => a.tag - b.tag);
    view.setUint16(starts[i], entries.length, little);
    let data = starts[i] + 6 + 12 * entries.length;
    for (const [j, entry] of entries.entries()) {
      const at = starts[i] + 2 + 12 * j;
      view.setUint16(at, entry.tag, little);
      view.setUint16(at + 2, entry.type, little);
      view.setUint32(at + 4, entry.count, little);
      if (!room(entry)) out.set(entry.value, at + 8);
      else {
        view.setUint32(at + 8, data, little);
        out.set(entry.value, data);
        data += room(entry);
      }
    }
  }
  return out;
}
