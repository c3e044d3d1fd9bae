// What the page says: sizes, facts and errors, in plain words.

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

// What stands left of the wipe.
export function besideText({ bytes, quality, scale }) {
  if (bytes === undefined) return "from the same file";
  if (quality === undefined) return bytesText(bytes);
  const smaller = scale < 1 ? `, of the image at ${Math.round(100 * scale)} %` : "";
  return `${bytesText(bytes)}, quality ${quality}${smaller}`;
}

// Rows of [name, value, is a check that holds].
export function factRows(item, model) {
  const { facts, file, seconds } = item;
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
  ];
}

// An error of a task on a file of this name.
export function errorText(error, name) {
  const { message } = error;
  if (/^damaged file: /.test(message)) return `${name} is damaged: ${message.slice(14)}.`;
  if (error.name === "BitstreamError" || error.name === "TypeError") return `${name}: ${message}.`;
  if (error.name === "RateError") return `${name}: ${message}. Allow more bytes.`;
  if (error.name === "RangeError" && !/too large|cannot be as small/.test(message)) {
    return `${name}: this browser has not enough memory for it.`;
  }
  return `${name}: ${message || error.name}.`;
}
