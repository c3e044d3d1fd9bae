// What image files hold beside their pixels: read from the bytes, which may be anything.
//
//   {kind, frames, exif, xmp, icc, comment, dpi}: exif from its byte order mark on, xmp and comment as bytes, dpi [x, y]

// As Latin-1; what browsers call so is Windows-1252.
export const text = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const XMP = "http://ns.adobe.com/xap/1.0/\0";

export async function contentsOf(bytes) {
  const start = text(bytes.subarray(0, 16));
  const found = { kind: "", frames: 1 };
  try {
    if (start.startsWith("\xff\xd8")) readJpeg(bytes, found);
    else if (start.startsWith("\x89PNG")) await readPng(bytes, found);
    else if (start.startsWith("GIF8")) readGif(bytes, found);
    else if (start.startsWith("RIFF") && start.slice(8, 12) === "WEBP") readWebp(bytes, found);
    else if (start.slice(4, 8) === "ftyp") found.kind = kindOfBox(text(bytes.subarray(8, 64)));
    else if (/^(II\*\0|MM\0\*)/.test(start)) found.kind = "TIFF";
  } catch {
    found.broken = true; // what was found until then stands; whether there is an image is for the browser to say
  }
  return found;
}

function kindOfBox(brands) {
  if (/avif|avis/.test(brands)) return "AVIF";
  return /hei[cxms]|hev[cxms]|mif1/.test(brands) ? "HEIC" : "";
}

function readJpeg(bytes, found) {
  found.kind = "JPEG";
  const view = viewOf(bytes);
  const profile = [];
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const [marker, length] = [bytes[at + 1], view.getUint16(at + 2)];
    if (marker === 0xda || length < 2) break;
    const body = bytes.subarray(at + 4, at + 2 + length);
    const head = text(body.subarray(0, 32));
    if (marker === 0xe1 && head.startsWith("Exif\0\0")) found.exif ??= body.subarray(6);
    else if (marker === 0xe1 && head.startsWith(XMP)) found.xmp ??= body.subarray(XMP.length);
    else if (marker === 0xe2 && head.startsWith("ICC_PROFILE\0")) profile.push(body.subarray(14));
    else if (marker === 0xfe) found.comment ??= body;
    else if (marker === 0xe0 && head.startsWith("JFIF\0") && body[7]) {
      const unit = body[7] === 2 ? 2.54 : 1; // a centimetre, or an inch
      found.dpi = [8, 10].map((offset) => viewOf(body).getUint16(offset) * unit);
    }
    at += 2 + length;
  }
  if (profile.length) found.icc = joined(profile);
}

async function readPng(bytes, found) {
  found.kind = "PNG";
  const view = viewOf(bytes);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const [length, kind] = [view.getUint32(at), text(bytes.subarray(at + 4, at + 8))];
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "acTL") Object.assign(found, { frames: viewOf(body).getUint32(0), kind: "APNG" });
    else if (kind === "eXIf") found.exif = body;
    else if (kind === "pHYs" && body[8] === 1) found.dpi = [0, 4].map((o) => viewOf(body).getUint32(o) * 0.0254);
    else if (kind === "iCCP") found.icc = await inflated(body.subarray(body.indexOf(0) + 2));
    else if (/^[tiz]+TXt$|^tEXt$/.test(kind)) await readText(kind, body, found);
    at += 12 + length;
  }
}

async function readText(kind, body, found) {
  const end = body.indexOf(0);
  const name = text(body.subarray(0, end));
  if (name !== "XML:com.adobe.xmp" && name !== "Comment") return;
  let value = body.subarray(end + 1);
  if (kind === "zTXt") value = await inflated(value.subarray(1));
  if (kind === "iTXt") {
    const packed = value[0];
    const afterLanguage = value.indexOf(0, 2) + 1;
    value = value.subarray(value.indexOf(0, afterLanguage) + 1);
    if (packed) value = await inflated(value);
  }
  found[name === "Comment" ? "comment" : "xmp"] ??= value;
}

function readGif(bytes, found) {
  Object.assign(found, { kind: "GIF", frames: 0 });
  const table = (flags) => (flags & 128 ? 3 << ((flags & 7) + 1) : 0);
  const blocks = (at) => {
    while (bytes[at]) at += 1 + bytes[at];
    return at + 1;
  };
  for (let at = 13 + table(bytes[10]); at < bytes.length; ) {
    if (bytes[at] === 0x2c) {
      found.frames++;
      at = blocks(at + 11 + table(bytes[at + 9]));
    } else if (bytes[at] === 0x21) {
      if (bytes[at + 1] === 0xfe) found.comment ??= bytes.subarray(at + 3, at + 3 + bytes[at + 2]);
      at = blocks(at + 2);
    } else break;
  }
  found.frames = Math.max(1, found.frames);
}

function readWebp(bytes, found) {
  Object.assign(found, { kind: "WebP", frames: 0 });
  const view = viewOf(bytes);
  for (let at = 12; at + 8 <= bytes.length; ) {
    const [kind, length] = [text(bytes.subarray(at, at + 4)), view.getUint32(at + 4, true)];
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "ANMF") found.frames++;
    else if (kind === "ICCP") found.icc = body;
    else if (kind === "XMP ") found.xmp = body;
    else if (kind === "EXIF") found.exif = text(body.subarray(0, 6)) === "Exif\0\0" ? body.subarray(6) : body;
    at += 8 + length + (length & 1);
  }
  found.frames = Math.max(1, found.frames);
}

const joined = (parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

const MOST = 4 << 20; // of what a few packed bytes may unfold to

async function inflated(bytes) {
  const parts = [];
  let length = 0;
  for (const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")).getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > MOST) throw new RangeError("too much");
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}
