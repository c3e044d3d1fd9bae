// A zip of files, stored as they are: they are coded already. Names are UTF-8; up to 4 GB and 65,535 files.

import { crc32 } from "./codec/bytes.js";

// [{path, bytes}] -> Blob. Paths that are there twice get a number; see `safe`.
export function zipOf(files, date = new Date()) {
  const parts = [];
  const list = [];
  const names = namesOf(files.map(({ path }) => path));
  let at = 0;
  for (const [i, { bytes }] of files.entries()) {
    const name = new TextEncoder().encode(names[i]);
    const fields = [20, 0x0800, 0, timeOf(date), dateOf(date), crc32(bytes), bytes.length, bytes.length, name.length, 0];
    const local = record(0x04034b50, fields, "2222244422");
    const entry = record(0x02014b50, [20, ...fields, 0, 0, 0, 0, at], "22222244422222" + "44");
    parts.push(local, name, bytes);
    list.push(entry, name);
    at += local.length + name.length + bytes.length;
  }
  if (at >= 2 ** 32 || files.length > 65535) throw new RangeError("more than a zip holds: download some files alone");
  const size = list.reduce((sum, { length }) => sum + length, 0);
  const end = record(0x06054b50, [0, 0, files.length, files.length, size, at, 0], "2222442");
  return new Blob([...parts, ...list, end], { type: "application/zip" });
}

function record(signature, values, sizes) {
  const view = new DataView(new ArrayBuffer(4 + [...sizes].reduce((sum, size) => sum + Number(size), 0)));
  view.setUint32(0, signature, true);
  let at = 4;
  for (const [i, value] of values.entries()) {
    if (sizes[i] === "2") view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += Number(sizes[i]);
  }
  return new Uint8Array(view.buffer);
}

const timeOf = (date) => (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
const dateOf = (date) => ((Math.max(date.getFullYear(), 1980) - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();

// A path that stays below the folder that a zip is unpacked in, on every system.
const safe = (path) =>
  path.split(/[\\/]+/).map((part) => part.replace(/[\0-\x1f:*?"<>|]/g, "_").replace(/^\.+$/, "_")).filter(Boolean).join("/");

export function namesOf(paths) {
  const taken = new Set();
  return paths.map((path) => {
    const [, stem, suffix] = /^(.*?)(\.[^./]*)?$/.exec(safe(path) || "file");
    for (let n = 1; ; n++) {
      const name = n === 1 ? stem + (suffix ?? "") : `${stem} (${n})${suffix ?? ""}`;
      if (taken.has(name.toLowerCase())) continue;
      taken.add(name.toLowerCase());
      return name;
    }
  });
}
