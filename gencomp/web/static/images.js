// Images of the browser's own kinds: to pixels, to PNG, and to WebP or JPEG of so many bytes.

import { crc32 } from "./codec/bytes.js";
import { ICC } from "./codec/bitstream.js";

// A Blob -> {data: RGBA in sRGB, upright, on white; width, height}.
export async function pixelsOf(blob, maxPixels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    throw new TypeError("not an image that this browser can read, nor a .gnc file");
  }
  const { width, height } = bitmap;
  if (width * height > maxPixels) {
    throw new RangeError(`an image of ${width}x${height} is too large for this page; use the command gencomp compress`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height };
}

function canvasOf({ data, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}

// A PNG, with the colour profile that the coded file carries.
export async function pngOf(image, extras) {
  const png = await canvasOf(image).convertToBlob({ type: "image/png" });
  const profile = extras.get(ICC);
  if (!profile) return png;
  const start = 33; // after the signature and IHDR
  const packed = new Blob([profile]).stream().pipeThrough(new CompressionStream("deflate"));
  const content = new Uint8Array(await new Response(packed).arrayBuffer());
  return new Blob([png.slice(0, start), chunk("iCCP", [0x69, 0x63, 0x63, 0, 0, ...content]), png.slice(start)], {
    type: "image/png",
  });
}

function chunk(kind, content) {
  const bytes = new Uint8Array(12 + content.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(content, 8);
  view.setUint32(8 + content.length, crc32(bytes.subarray(4, 8 + content.length)));
  return bytes;
}

// {blob, quality, scale}: the best of the browser's own WebP or JPEG that has at most `bytes` bytes; where its lowest
// quality is larger, the image is made smaller first, to `scale` of its sides.
export async function atMostBytes(image, type, bytes, tick) {
  let best = await bestQuality(canvasOf(image), type, bytes, tick);
  let scale = 1;
  for (let turn = 0; !best && turn < 25; turn++) {
    scale *= 0.9;
    best = await bestQuality(scaled(canvasOf(image), scale), type, bytes, tick);
  }
  if (!best) throw new RangeError(`${type} cannot be as small as ${bytes} bytes`);
  return { ...best, scale };
}

async function bestQuality(canvas, type, bytes, tick) {
  let best = null;
  let [low, high] = [0, 100];
  while (low <= high) {
    await tick();
    const quality = best ? Math.ceil((low + high) / 2) : 0; // first: is any small enough?
    const blob = await canvas.convertToBlob({ type, quality: quality / 100 });
    if (blob.type !== type) throw new TypeError(`this browser writes no ${type}`);
    if (blob.size > bytes) {
      if (quality === 0) return null;
      high = quality - 1;
    } else {
      best = { blob, quality };
      low = quality + 1;
    }
  }
  return best;
}

function scaled(canvas, scale) {
  const side = (length) => Math.max(1, Math.round(length * scale));
  const small = new OffscreenCanvas(side(canvas.width), side(canvas.height));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, small.width, small.height);
  return small;
}
