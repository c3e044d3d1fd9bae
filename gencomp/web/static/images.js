// Images of the browser's own kinds: to pixels, and to PNG.

import { chunk, partAlpha } from "./alpha.js";
import { ICC } from "./codec/bitstream.js";
import { free } from "./codec/numbers.js";

const STRIP = 1 << 20; // pixels read off a canvas at a time: a canvas of the whole image would be two copies more

// A Blob -> {data: opaque RGBA, upright; width, height, alpha: a plane, or null}. In sRGB; `raw`: in the colours of its
// own profile.
export async function pixelsOf(blob, { maxPixels, raw = false }) {
  let bitmap;
  try {
    const colorSpaceConversion = raw ? "none" : "default";
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion });
  } catch {
    throw new TypeError("not an image that this browser can read, nor a .gnc file");
  }
  const { width, height } = bitmap;
  if (width * height > maxPixels) {
    bitmap.close();
    throw new RangeError(`an image of ${width}x${height} is too large for this page; use the command gencomp compress`);
  }
  const data = new Uint8ClampedArray(4 * width * height);
  const rows = Math.min(height, Math.ceil(STRIP / width));
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
  context.globalCompositeOperation = "copy";
  for (let top = 0; top < height; top += rows) {
    context.drawImage(bitmap, 0, -top);
    const strip = context.getImageData(0, 0, width, Math.min(rows, height - top));
    data.set(strip.data, 4 * width * top);
    free(strip.data);
  }
  bitmap.close();
  return { data, width, height, alpha: partAlpha(data) };
}

// A PNG of {data: RGBA, width, height}, with the colour profile that the coded file carries.
export async function pngOf({ data, width, height }, extras) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  const png = await canvas.convertToBlob({ type: "image/png" });
  const profile = extras.get(ICC);
  if (!profile) return png;
  const start = 33; // after the signature and IHDR
  const packed = new Blob([profile]).stream().pipeThrough(new CompressionStream("deflate"));
  const content = new Uint8Array(await new Response(packed).arrayBuffer());
  const parts = [png.slice(0, start), chunk("iCCP", [0x69, 0x63, 0x63, 0, 0, ...content]), png.slice(start)];
  return new Blob([await new Blob(parts).arrayBuffer()], { type: "image/png" }); // in one: Firefox decodes no other
}
