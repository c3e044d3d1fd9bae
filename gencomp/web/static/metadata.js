// What is kept beside the pixels when it is asked for by name, by the rules of gencomp/metadata.py: from what an image
// file holds to sections of a .gnc file.

import { SECTION_KINDS } from "./codec/bitstream.js";
import { text } from "./containers.js";
import { isRgb } from "./icc.js";

export const KINDS = ["exif", "xmp", "icc", "dpi", "comment"];
const LIMITS = { exif: 65_000, xmp: 65_000, comment: 65_000, dpi: 8, icc: 800_000 };
const RULES = globalThis.PRECACHE.keep; // {described, shot: tags of EXIF; xmp: by namespace [prefix, names, places]}
const RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
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

// The packet written anew with the properties that the rules name, as gencomp/xmp.py does.
function xmpOf(bytes, gps) {
  const packet = new TextDecoder().decode(utf8(bytes)).replace(/^[\0 \t\r\n]+|[\0 \t\r\n]+$/g, "");
  if (packet.length > LIMITS.xmp) throw new Error(`${packet.length} bytes, over ${LIMITS.xmp}`);
  if (/<!DOCTYPE|<!ENTITY/.test(packet)) throw new Error("it defines entities");
  const document = new DOMParser().parseFromString(packet, "text/xml");
  if (document.querySelector("parsererror")) throw new Error("it is no XML");
  const nameOf = ({ namespaceURI, localName }) => {
    const [prefix, names, places] = RULES.xmp[namespaceURI] ?? ["", "", ""];
    return `${names} ${gps ? places : ""}`.split(" ").includes(localName) ? `${prefix}:${localName}` : null;
  };
  const kept = new Set();
  for (const description of document.getElementsByTagNameNS(RDF, "Description")) {
    if (description.parentNode.localName !== "RDF") continue;
    for (const attribute of description.attributes) {
      const name = nameOf(attribute);
      if (name) kept.add(`<${name}>${escaped(attribute.value)}</${name}>`);
    }
    for (const child of description.children) {
      const [name, content] = [nameOf(child), textsIn(child)];
      const resource = child.getAttributeNS(RDF, "resource");
      const link = resource ? ` rdf:resource=${quoted(resource)}` : "";
      if (name && content !== null) kept.add(`<${name}${link}>${content}</${name}>`);
    }
  }
  if (!kept.size) return null;
  const inner = [...kept].join("");
  const used = Object.entries(RULES.xmp).filter(([, [prefix]]) => inner.includes(`<${prefix}:`));
  const spaces = used.map(([space, [prefix]]) => ` xmlns:${prefix}="${space}"`).join("");
  const whole = `<rdf:RDF xmlns:rdf="${RDF}"><rdf:Description rdf:about=""${spaces}>${inner}</rdf:Description></rdf:RDF>`;
  return new TextEncoder().encode(`<x:xmpmeta xmlns:x="adobe:ns:meta/">${whole}</x:xmpmeta>`);
}

const escaped = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
const quoted = (text) => `"${escaped(text).replaceAll('"', "&quot;")}"`;

// Text and lists of texts within a property; null where anything else lies in it.
function textsIn(element) {
  let all = "";
  for (const node of element.childNodes) {
    if (node.nodeType === Node.TEXT_NODE) all += escaped(node.data.trim());
    if (node.nodeType !== Node.ELEMENT_NODE) continue;
    const content = textsIn(node);
    const structure = node.namespaceURI === RDF && ["Alt", "Bag", "Seq", "li"].includes(node.localName);
    if (!structure || content === null) return null;
    const language = node.getAttributeNS("http://www.w3.org/XML/1998/namespace", "lang");
    const marked = language ? ` xml:lang=${quoted(language)}` : "";
    all += `<rdf:${node.localName}${marked}>${content}</rdf:${node.localName}>`;
  }
  return all;
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
  const shot = linked(EXIF_IFD).filter(({ tag }) => RULES.shot.includes(tag));
  const place = gps ? linked(GPS_IFD) : [];
  const kept = main.filter(({ tag }) => RULES.described.includes(tag));
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
