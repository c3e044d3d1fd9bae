// Another codec at its best for so many bytes: at few bytes a smaller image, enlarged again, is nearer to the original
// than one of full size at the lowest quality, so that scale and quality are searched, for the least squared error.

import { resample } from "./resample.js";

const STEP = 2 ** 0.25; // between two scales, at first
const USUAL = 0.35; // bits a pixel at which codecs of this kind do well: where the search begins

// {blob, quality, scale, psnr, pixels: as they are seen, enlarged}: of image {data: RGBA, width, height} by encode(canvas,
// quality 0..100) in at most `bytes`.
export async function bestRival(image, encode, bytes, tick) {
  const { width, height } = image;
  const known = new Map(); // by steps down from full size
  let guess = 50;
  const at = async (steps) => {
    if (known.has(steps)) return known.get(steps);
    await tick(Math.min(known.size / 8, 0.95));
    const scale = STEP ** -steps;
    const canvas = scaled(image, scale);
    const found = await largestQuality((quality) => encode(canvas, quality), bytes, guess, tick);
    const result = found ? { ...found, scale, psnr: likeness(image, await enlarged(found.blob, image)) } : { psnr: -Infinity };
    if (found) guess = found.quality;
    known.set(steps, result);
    return result;
  };
  const last = Math.max(0, Math.floor(Math.log(Math.min(width, height)) / Math.log(STEP)));
  const ratio = (8 * bytes) / (width * height) / USUAL;
  let best = Math.min(Math.max(0, Math.round(Math.log(1 / ratio) / 2 / Math.log(STEP))), last);
  while (best < last && !(await at(best)).blob) best++;
  for (const span of [1, 0.5]) {
    for (const way of [span, -span]) {
      const inside = () => best + way >= 0 && best + way <= last;
      while (inside() && (await at(best + way)).psnr > (await at(best)).psnr) best += way;
    }
  }
  const result = await at(best);
  if (!result.blob) throw new RangeError(`it cannot be as small as ${bytes} bytes: allow more`);
  return { ...result, pixels: await enlarged(result.blob, image) };
}

// {blob, quality} of the largest quality that fits, about; null where none does. Sizes rise about exponentially.
async function largestQuality(encode, bytes, guess, tick) {
  let [low, high] = [{ quality: -1 }, { quality: 101 }];
  for (let quality = guess; high.quality - low.quality > 1; ) {
    await tick();
    const blob = await encode(quality);
    const here = { quality, blob, log: Math.log(blob.size) };
    if (blob.size <= bytes) low = here;
    else high = here;
    const slope = low.blob && high.blob ? (high.log - low.log) / (high.quality - low.quality) : 0.03;
    const next = Math.round(quality + (Math.log(bytes) - here.log) / Math.max(slope, 0.005));
    quality = Math.min(Math.max(next, low.quality + 1), high.quality - 1);
  }
  return low.blob ? { blob: low.blob, quality: low.quality } : null;
}

function scaled(image, scale) {
  const side = (length) => Math.max(1, Math.round(length * scale));
  const { data, width, height } = scale < 1 ? resample(image, side(image.width), side(image.height)) : image;
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}

// A coded image's pixels at the original's size.
async function enlarged(blob, { width, height }) {
  const bitmap = await createImageBitmap(blob);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const small = context.getImageData(0, 0, bitmap.width, bitmap.height);
  bitmap.close();
  return small.width === width && small.height === height ? small : resample(small, width, height);
}

// PSNR, dB, over RGB.
function likeness({ data, width, height }, seen) {
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i] - seen.data[i], data[i + 1] - seen.data[i + 1], data[i + 2] - seen.data[i + 2]];
    sum += r * r + g * g + b * b;
  }
  return 10 * Math.log10((255 ** 2 * 3 * width * height) / Math.max(sum, 1));
}
