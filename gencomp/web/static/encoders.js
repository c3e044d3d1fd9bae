// Other codecs, each as encode(canvas, quality 0..100) -> Blob: the browser's own JPEG and WebP, and AVIF by libavif.

export async function encoderOf(type) {
  if (type !== "image/avif") return (canvas, quality) => byBrowser(canvas, type, quality);
  const { default: start } = await import("./avif/avif_enc.js");
  const codec = await start();
  return (canvas, quality) => byLibavif(codec, canvas, quality);
}

async function byBrowser(canvas, type, quality) {
  const blob = await canvas.convertToBlob({ type, quality: Math.min(quality, 99) / 100 }); // WebP of 1 is another codec
  if (blob.type !== type) throw new TypeError(`this browser writes no ${type.slice(6)}: choose another`);
  return new Blob([bare(new Uint8Array(await blob.arrayBuffer()))], { type });
}

// Without what browsers add to the image, a colour profile of 470 bytes and an empty alpha, which would count against it.
function bare(file) {
  const view = new DataView(file.buffer);
  if (file[0] === 0xff) {
    let to = 2;
    for (let at = 2, length; ; at += length) {
      const last = file[at + 1] === 0xda;
      length = last ? file.length - at : 2 + view.getUint16(at + 2);
      if (file[at + 1] !== 0xe2) {
        file.copyWithin(to, at, at + length);
        to += length;
      }
      if (last) return file.subarray(0, to);
    }
  }
  for (let at = 12, length; at + 8 <= file.length; at += 8 + length + (length & 1)) {
    length = view.getUint32(at + 4, true);
    if (view.getUint32(at) !== 0x56503820) continue; // "VP8 "
    const image = file.slice(at - 12, at + 8 + length + (length & 1));
    image.set(file.subarray(0, 12));
    new DataView(image.buffer).setUint32(4, image.length - 8, true);
    return image;
  }
  return file;
}

const AVIF = { qualityAlpha: -1, denoiseLevel: 0, tileColsLog2: 0, tileRowsLog2: 0, subsample: 1, chromaDeltaQ: false,
  sharpness: 0, tune: 0, enableSharpYUV: false, bitDepth: 8, lossless: false };

function byLibavif(codec, canvas, quality) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const speed = width * height > 1.5e6 ? 8 : 6;
  const bytes = codec.encode(new Uint8Array(data.buffer), width, height, { ...AVIF, speed, quality });
  if (!bytes) throw new TypeError("AVIF cannot hold this image");
  return new Blob([bytes], { type: "image/avif" });
}
