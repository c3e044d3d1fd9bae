// Files out: one, or a zip of all with the tree of what came in, named as the command names them.

import { zipOf } from "./zip.js";

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// What is done of the items: .gnc files of images, PNGs of .gnc files.
export async function zipped(items) {
  const done = items.filter((item) => (item.coded ? item.png : item.file) && item.state === "done");
  const target = ({ path, coded }) => path.replace(/\.[^./]*$/, "") + (coded ? ".png" : ".gnc");
  const count = new Map();
  for (const item of done) count.set(target(item), (count.get(target(item)) ?? 0) + 1);
  const files = done.map(async (item) => ({
    path: count.get(target(item)) > 1 ? `${item.path}${item.coded ? ".png" : ".gnc"}` : target(item),
    bytes: item.coded ? new Uint8Array(await item.png.arrayBuffer()) : item.file,
  }));
  return { blob: zipOf(await Promise.all(files)), done };
}
