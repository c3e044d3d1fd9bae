// The work, off the page's thread: one task after another, with progress, until it is done or cancelled.
//
//   page -> worker   {id, task, ...arguments}, {cancel: id}
//   worker -> page   {id, share}, then {id, result} or {id, error: {name, message}}

import { COMMENT, ICC, qualityToStep } from "./codec/bitstream.js";
import { Codec } from "./codec/codec.js";
import { BitstreamError, Cancelled } from "./codec/errors.js";
import { atMostBytes, pixelsOf, pngOf } from "./images.js";
import { Work } from "./work.js";

const MAX_PIXELS = 40e6; // about what a tab's memory holds
const PAUSE = 25; // ms of work between two looks at the post

const cancelled = new Set();
const images = new Map(); // by key: {data, width, height, known}
const files = new Map(); // by key: what Codec.read gave
let codec = null;
let last = Promise.resolve();

const channel = new MessageChannel();
const nextTurn = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });

// A `tick` for the codec: says how far it is, and lets a cancel through.
function ticker(id, begin = 0, end = 1) {
  let looked = performance.now();
  let share = 0;
  return async (part = share) => {
    share = part;
    if (performance.now() - looked < PAUSE) return;
    postMessage({ id, share: begin + (end - begin) * part });
    await nextTurn();
    looked = performance.now();
    if (cancelled.has(id)) throw new Cancelled("cancelled");
  };
}

async function fetched(url, progress = () => {}) {
  const kept = await globalThis.caches?.match(url).catch(() => null); // by the service worker, which may be ahead
  const response = kept ?? (await fetch(url));
  if (!response.ok) throw new Error(`${new URL(url).pathname} could not be loaded (${response.status})`);
  const length = Number(response.headers.get("Content-Length")) || 2e7;
  const parts = [];
  let read = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    read += value.length;
    progress(Math.min(read / length, 1));
  }
  return new Blob(parts).arrayBuffer();
}

const here = (name) => new URL(name, import.meta.url).href;

function factsOf({ header, sections, extras, bits, crc, latentsOk }) {
  const comment = extras.has(COMMENT) ? new TextDecoder().decode(extras.get(COMMENT)) : null;
  return { ...header, sections, comment, bits, crc, latentsOk };
}

async function readFile(key, bytes, tick) {
  const file = await codec.read(bytes, { maxPixels: MAX_PIXELS, tick });
  if (!file.latentsOk) {
    throw new BitstreamError("the decoded latents are not those that were encoded (another coder or a forged file)");
  }
  files.set(key, file);
  return factsOf(file);
}

// Workers as this one, for tiles of large images, as far as cores and memory allow.
let helpers = null;

function getHelpers(kernel, model) {
  const count = (navigator.deviceMemory ?? 8) < 4 ? 0 : Math.min(navigator.hardwareConcurrency ?? 1, 4) - 1;
  helpers ??= Array.from({ length: count }, () => {
    const work = new Work();
    const ready = work.run("help", { kernel, model });
    let running = null;
    const perform = async (job, progress) => {
      await ready;
      running = work.run("perform", { job }, progress);
      return running;
    };
    return { perform, cancel: () => running?.cancel() };
  });
  return helpers;
}

const tasks = {
  // Fetch kernel and model, once.
  async start({ id }) {
    if (!codec) {
      const kernel = await fetched(here("codec/kernel.wasm"));
      const model = await fetched(here("model.safetensors"), (share) => postMessage({ id, share: 0.9 * share }));
      codec = await Codec.load(kernel, model);
      codec.getHelpers = async () => getHelpers(kernel, model);
    }
    return { name: codec.name, id: codec.id, knowsRealism: codec.knowsRealism };
  },

  // Become a helper of another worker, and be one.
  async help({ kernel, model }) {
    codec = await Codec.load(kernel, model);
  },
  perform: ({ id, job }) => codec.perform(job, ticker(id)),

  // An image file of the browser's kinds.
  async load({ key, blob }) {
    const image = await pixelsOf(blob, MAX_PIXELS);
    images.set(key, { ...image, known: new Map() });
    return { width: image.width, height: image.height, bitmap: await bitmapOf(image) };
  },

  // A .gnc file.
  open: ({ id, key, bytes }) => readFile(key, bytes, ticker(id)),

  // Code an image that was loaded, at a quality or to a number of bytes, and read the file back.
  async code({ id, key, quality, bytes }) {
    const image = images.get(key);
    const tick = ticker(id, 0, 0.85);
    const file = bytes
      ? await codec.encodeToSize(image, bytes, image.known, tick)
      : await codec.encode(image, qualityToStep(quality), tick);
    return { file, facts: await readFile(key, file, ticker(id, 0.85, 1)) };
  },

  // The image of a file that was read or coded, at a realism.
  async show({ id, key, realism }) {
    const { header, extras } = files.get(key);
    const image = { data: await codec.show(files.get(key), realism, ticker(id)), ...header };
    return { bitmap: await (extras.has(ICC) ? createImageBitmap(await pngOf(image, extras)) : bitmapOf(image)) };
  },

  async png({ id, key, realism }) {
    const { header, extras } = files.get(key);
    return pngOf({ data: await codec.show(files.get(key), realism, ticker(id)), ...header }, extras);
  },

  // The browser's own codec at so many bytes.
  async rival({ id, key, type, bytes }) {
    const tick = ticker(id);
    const { blob, ...said } = await atMostBytes(images.get(key), type, bytes, tick);
    return { ...said, bytes: blob.size, bitmap: await createImageBitmap(blob) };
  },

  async forget({ key }) {
    images.delete(key);
    files.delete(key);
  },
};

const bitmapOf = ({ data, width, height }) => createImageBitmap(new ImageData(data, width, height));

async function perform(message) {
  const { id, task } = message;
  try {
    if (cancelled.delete(id)) throw new Cancelled("cancelled");
    const result = await tasks[task](message);
    postMessage({ id, result }, result?.bitmap ? [result.bitmap] : []);
  } catch (error) {
    postMessage({ id, error: { name: error.name, message: error.message } });
  }
  cancelled.delete(id);
}

addEventListener("message", ({ data }) => {
  if ("cancel" in data) cancelled.add(data.cancel);
  else last = last.then(() => perform(data));
});
