// What the page says: sizes, facts and errors, in plain words.

export const RIVALS = { jpeg: "JPEG", webp: "WebP", avif: "AVIF" };

export function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(bytes < 1e5 ? 2 : 1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}

export const bppText = (bytes, { width, height }) => `${((8 * bytes) / (width * height)).toFixed(3)} bits per pixel`;

export function comparedText(item) {
  const rate = bppText(item.file.length, item.size);
  const against = item.coded ? 3 * item.size.width * item.size.height : item.blob.size;
  const of = item.coded ? "of the plain pixels" : `of ${item.name} (${bytesText(against)})`;
  const times = against / item.file.length;
  return times > 1 ? `${rate}; 1/${times < 10 ? times.toFixed(1) : Math.round(times)} ${of}` : rate;
}

// Another codec at its best.
export function besideText({ bytes, quality, scale, psnr }) {
  const smaller = scale < 1 ? `, of the image at ${Math.round(100 * scale)} %` : "";
  return `${bytesText(bytes)}, quality ${quality}${smaller}: its best for these bytes, ${psnr.toFixed(1)} dB`;
}

const ENGINES = { WebGPU: "the graphics processor (WebGPU)", WebAssembly: "the processor (WebAssembly)" };

// Rows of [name, value, is a check that holds].
export function factRows(item, model, { seconds, engine }) {
  const { facts, file } = item;
  const sections = Object.entries(facts.sections).map(([name, bytes]) => [name, bytesText(bytes)]);
  const time = (name, value) => (value === undefined ? [] : [[name, `${value.toFixed(2)} s`]]);
  return [
    ["image", `${facts.width} × ${facts.height} pixels`],
    ["file", `${bytesText(file.length)}, ${bppText(file.length, facts)}`],
    ["quality", (1 + (99 * facts.step) / 1024).toFixed(1)],
    ...sections,
    ["entropy", `${Math.ceil(facts.bits / 8)} bytes by the tables`],
    ["model", `${model.name} (${Array.from(facts.modelId, (byte) => byte.toString(16).padStart(2, "0")).join("")})`],
    ["format", `version ${facts.version}`],
    ...(facts.comment ? [["says", facts.comment]] : []),
    ["latents", `CRC ${facts.crc.toString(16).padStart(8, "0")}, as in the file`, true],
    ...time("coded in", seconds.code),
    ...time("latents in", seconds.open),
    ...time("pixels in", seconds.show),
    ...(engine ? [["pixels by", ENGINES[engine]]] : []),
  ];
}

// One line on a file of many.
export function stateText(item) {
  const { state, file, png, doing, share, error } = item;
  if (state === "working") return `${doing} ${Math.round(100 * share)} %`;
  if (state === "error") return errorText(error, item);
  if (state !== "done") return state === "cancelled" ? "cancelled" : "waiting";
  return item.coded ? (png ? `PNG, ${bytesText(png.size)}` : "decoded") : bytesText(file.length);
}

// Seconds that are left, to the eye; "" before there is much to go by.
export function leftText(seconds, share) {
  const left = (seconds * (1 - share)) / share;
  if (seconds < 2 || share < 0.03 || left < 2) return "";
  return left < 90 ? `about ${Math.ceil(left / 5) * 5} s left` : `about ${Math.round(left / 60)} min left`;
}

// An error of a task on a file, and what to do; `kind`: what the file is by its first bytes.
export function errorText({ name, message }, { kind }) {
  if (/^damaged file: /.test(message)) return `damaged: ${message.slice(14)}. Get the file again.`;
  if (name === "TypeError" && kind === "HEIC" && /this browser can read/.test(message)) {
    return "HEIC, which this browser cannot read: save it as JPEG or PNG, open it in Safari, or use the command gencomp.";
  }
  if (name === "NotReadableError" || name === "NotFoundError") return "it can no longer be read: choose it again.";
  if (name === "RateError") return `${message}. Allow more bytes.`;
  if (name === "RangeError" && !/too large|as small|zip/.test(message)) {
    return "this browser has not enough memory for it: close other files, or use the command gencomp compress.";
  }
  return `${message || name}.`;
}
