// Files in: chosen, dropped (folders with all that is in them), pasted, opened with the page's app.

import { isCoded } from "./codec/bitstream.js";
import { Item } from "./item.js";

const NAMES = /\.(jpe?g|jfif|png|apng|webp|gif|bmp|avif|tiff?|hei[cf]|ico|gnc)$/i; // what is taken of a folder

// Calls take([{blob, path}], left out) whenever there are files.
export function listenToFiles({ drop, inputs }, take) {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.hidden = true;
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.hidden = true;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()); // before any await
    if (!entries.some((entry) => entry?.isDirectory)) return take(plain(event.dataTransfer.files), 0);
    const found = (await Promise.all(entries.filter(Boolean).map((entry) => filesOf(entry)))).flat();
    const taken = found.filter(({ asked, path }) => asked || NAMES.test(path));
    take(taken, found.length - taken.length);
  });
  addEventListener("paste", (event) => event.clipboardData.files.length && take(plain(event.clipboardData.files), 0));
  globalThis.launchQueue?.setConsumer(async ({ files }) => {
    if (files.length) take(plain(await Promise.all(files.map((handle) => handle.getFile()))), 0);
  });
  for (const input of inputs) {
    input.addEventListener("change", () => {
      const files = plain(input.files);
      const inFolder = files.filter(({ path, blob }) => path === blob.name || NAMES.test(path));
      take(inFolder, files.length - inFolder.length);
      input.value = "";
    });
  }
}

const plain = (files) => [...files].map((blob) => ({ blob, path: blob.webkitRelativePath || blob.name }));

// The files at and below an entry of a drop, {blob, path, asked: by itself}.
async function filesOf(entry, path = entry.name, asked = true) {
  if (entry.isFile) return [{ blob: await new Promise((done, fail) => entry.file(done, fail)), path, asked }];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at a time
    if (!some.length) break;
    for (const child of some) found.push(...(await filesOf(child, `${path}/${child.name}`, false)));
  }
  return found;
}

// Never fails: what cannot be read is for its own turn to say.
export async function itemOf({ blob, path }) {
  const start = await blob.slice(0, 3).arrayBuffer().catch(() => new ArrayBuffer(0));
  const coded = isCoded(new Uint8Array(start)) || /\.gnc$/i.test(blob.name ?? "");
  const item = new Item(blob, coded, path);
  if (!coded) item.kind = await item.contents().then(({ kind }) => kind, () => "");
  return item;
}
