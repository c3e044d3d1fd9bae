// The work, off the page's thread: one task after another, with progress, until it is done or cancelled.
//
//   page -> worker   {id, task, ...arguments}, {cancel: id}
//   worker -> page   {id, share} and {id, part}, then {id, result} or {id, error: {name, message}}
//
// The first worker of a page fetches kernel and model; the others get them from it, and help it with large images
// through a port each (crew.js).

import { filled, onWhite, packAlpha, unpackAlpha } from "./alpha.js";
import { ALPHA, COMMENT, ICC, qualityToStep } from "./codec/bitstream.js";
import { Codec } from "./codec/codec.js";
import { BitstreamError, Cancelled } from "./codec/errors.js";
import { openGpu } from "./codec/gpu.js";
import { free } from "./codec/numbers.js";
import { encoderOf } from "./encoders.js";
import { fetchKept } from "./fetch.js";
import { isDisplayP3 } from "./icc.js";
import { pixelsOf, pngOf } from "./images.js";
import { bestRival } from "./rivals.js";
import { Work } from "./work.js";

const MAX_PIXELS = 40e6; // about what a tab's memory holds
const LARGE = 6e6; // pixels of an image that is read again whenever they are needed: kept, they would take too much memory
const PAUSE = 25; // ms of work between two looks at the post

const cancelled = new Set();
const images = new Map(); // by key: what `opened` gave, and `known` (codec.js)
const files = new Map(); // by key: what Codec.read gave
const helpers = []; // {perform(job, progress), cancel()}
let shared = null; // {kernel, model}: what `start` was given or has fetched
let codec = null;

const channel = new MessageChannel();
const nextTurn = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
  });

// A `tick` for the codec: says how far it is, and lets a cancel through.
function ticker({ id, port }, begin = 0, end = 1) {
  let looked = performance.now();
  let share = 0;
  return async (part = share) => {
    share = part;
    if (performance.now() - looked < PAUSE) return;
    port.postMessage({ id, share: begin + (end - begin) * part });
    await nextTurn();
    looked = performance.now();
    if (cancelled.has(id)) throw new Cancelled("cancelled");
  };
}

function factsOf({ header, sections, extras, bits, crc, latentsOk, lost }) {
  const comment = extras.has(COMMENT) ? new TextDecoder().decode(extras.get(COMMENT)) : null;
  const wide = extras.has(ICC) && isDisplayP3(extras.get(ICC));
  return { ...header, sections, comment, bits, crc, latentsOk, lost, profile: !extras.has(ICC) ? null : wide ? "p3" : "other" };
}

// A Blob as an image {width, height, alpha, read(): its pixels, for the caller alone}.
async function opened(blob, raw, most = MAX_PIXELS) {
  const pixels = () => pixelsOf(blob, { maxPixels: MAX_PIXELS, raw });
  const { data, width, height, alpha } = await pixels();
  const kept = width * height > LARGE ? null : data;
  if (!kept) free(data);
  if (width * height > most) return null;
  return { width, height, alpha, read: async () => kept?.slice() ?? (await pixels()).data };
}

// An image as a file; `flat`: on white, without its alpha.
async function coded({ read, alpha, ...size }, { quality, bytes, extras, flat }, known, tick) {
  const image = { ...size, read };
  if (alpha && flat) image.read = async () => onWhite(await read(), alpha);
  else if (alpha) {
    image.read = async () => filled(await read(), alpha, size.width, size.height);
    extras = new Map([...extras, [ALPHA, await packAlpha(alpha, size.width, size.height)]]);
  }
  const file = await codedAs(image, quality, bytes, extras, known, tick);
  return Object.assign(file, { alpha: flat ? null : alpha });
}

function codedAs(image, quality, bytes, extras, known, tick) {
  return bytes
    ? codec.encodeToSize(image, bytes, known, tick, extras)
    : codec.encode(image, qualityToStep(quality), tick, extras);
}

async function read(bytes, tick) {
  const file = await codec.read(bytes, { maxPixels: MAX_PIXELS, tick });
  const { width, height } = file.header;
  const alpha = file.extras.get(ALPHA);
  if (file.latentsOk) {
    const plane = alpha ? unpackAlpha(alpha, width, height).catch((error) => ({ error: error.message })) : null;
    const { error } = (await plane) ?? {};
    return Object.assign(file, error ? { lost: `the file's alpha is damaged and left out (${error})` } : { alpha: await plane });
  }
  throw new BitstreamError("the decoded latents are not those that were encoded (another coder or a forged file)");
}

async function png(file, realism, tick) {
  const rgba = await codec.show(file, realism, { tick });
  if (file.alpha) for (let i = 0; i < file.alpha.length; i++) rgba[4 * i + 3] = file.alpha[i];
  return pngOf({ data: rgba, width: file.header.width, height: file.header.height }, file.extras);
}

const tasks = {
  // Make the codec ready, once: from what another worker has, or fetched; `model`: {url, bytes}. The page's one GPU is for
  // the worker that fetches: a second would wait for it, and need as much memory again.
  async start(message) {
    if (codec) return { name: codec.name, id: codec.id, knowsRealism: codec.knowsRealism };
    const { id, port, kernel, kernels, model, bytes, softwareGpu } = message;
    const gpu = bytes ? null : openGpu(softwareGpu);
    shared = bytes ? { kernel, bytes } : await fetchKept(kernels, model, (share) => port.postMessage({ id, share }));
    codec = await Codec.load(shared.kernel, shared.bytes, await gpu);
    codec.getHelpers = async () => helpers;
    return tasks.start(message);
  },

  share: () => shared,

  // At the port there is one who asks for help, or who gives it.
  async join({ asks, gives }) {
    if (asks) asks.onmessage = ({ data }) => receive(data, asks);
    if (!gives) return;
    const work = new Work(gives);
    let running = null;
    const perform = (job, progress) => {
      const arrays = [job.image?.data, job.x, job.latents, ...(job.parts ?? [])].filter(Boolean); // which nobody else needs
      running = work.run("perform", { job }, progress, undefined, arrays.map(({ buffer }) => buffer));
      return running;
    };
    helpers.push({ perform, cancel: () => running?.cancel() });
  },

  perform: (message) => codec.perform(message.job, ticker(message)),

  // An image file of the browser's kinds; `raw`: in the colours of its own profile.
  async load({ key, blob, raw }) {
    const image = await opened(blob, raw);
    images.set(key, { ...image, known: new Map() });
    return { width: image.width, height: image.height, transparent: Boolean(image.alpha) };
  },

  // A .gnc file.
  async open(message) {
    const file = await read(message.bytes, ticker(message));
    files.set(message.key, file);
    return factsOf(file);
  },

  // Code an image that was loaded, as `as`, at a quality or to a number of bytes.
  async code(message) {
    const { key, as, wanted } = message;
    const image = images.get(key);
    const known = wanted.extras.size || image.alpha ? new Map() : image.known;
    const file = await coded(image, wanted, known, ticker(message));
    files.set(as, file);
    return { file: file.bytes, facts: factsOf(file) };
  },

  // The whole way of one file of many. `tooLarge` instead, where it has over `most` pixels: this worker is for others.
  async whole(message) {
    const { blob, bytes, wanted, realism, raw, perMegapixel, most } = message;
    if (bytes) {
      const file = await read(bytes, ticker(message, 0, 0.4));
      return { facts: factsOf(file), png: await png(file, realism, ticker(message, 0.4, 1)) };
    }
    const image = await opened(blob, raw, most);
    if (!image) return { tooLarge: true };
    const { width, height } = image;
    const limit = perMegapixel ? Math.floor((perMegapixel * width * height) / 1e6) : wanted.bytes;
    const file = await coded(image, { ...wanted, bytes: limit }, new Map(), ticker(message));
    return { file: file.bytes, facts: factsOf(file), transparent: Boolean(image.alpha) };
  },

  // The image of a file that was read or coded, at a realism, in parts: those first that `visible` names, none of `skip`.
  // What it was computed on.
  async show(message) {
    const { id, port, key, realism, visible, skip } = message;
    const { alpha, header } = files.get(key);
    const onPart = (part) => {
      for (let i = 0; alpha && i < part.width * part.height; i++) {
        const row = part.top + Math.floor(i / part.width);
        part.data[4 * i + 3] = alpha[row * header.width + part.left + (i % part.width)];
      }
      port.postMessage({ id, part }, [part.data.buffer]);
    };
    await codec.show(files.get(key), realism, { tick: ticker(message), visible, skip: new Set(skip), onPart });
    return codec.engine;
  },

  png: (message) => png(files.get(message.key), message.realism, ticker(message)),

  // Another codec at its best for so many bytes.
  async rival(message) {
    const { key, type, bytes } = message;
    const tick = ticker(message);
    await tick(0);
    const { read, alpha, ...size } = images.get(key);
    const data = await read();
    const image = { ...size, data: alpha ? onWhite(data, alpha) : data };
    const { blob, pixels, ...said } = await bestRival(image, await encoderOf(type), bytes, tick);
    return { ...said, bytes: blob.size, data: pixels.data };
  },

  async forget({ keys }) {
    for (const map of [images, files]) for (const key of keys) map.delete(key);
  },
};

async function perform(message) {
  const { id, task, port } = message;
  try {
    if (cancelled.delete(id)) throw new Cancelled("cancelled");
    const result = await tasks[task](message);
    port.postMessage({ id, result }, ArrayBuffer.isView(result) ? [result.buffer] : []);
  } catch (error) {
    port.postMessage({ id, error: { name: error.name, message: error.message } });
  }
  cancelled.delete(id);
}

let last = Promise.resolve();

function receive(data, port) {
  if ("cancel" in data) cancelled.add(data.cancel);
  else last = last.then(() => perform({ ...data, port }));
}

addEventListener("message", ({ data }) => receive(data, self));
