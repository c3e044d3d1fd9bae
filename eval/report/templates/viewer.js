// The images: every codec's at one rate, with one place and one zoom for all of them.

const MODES = { wipe: "Wipe", flip: "Flip", pair: "Side by side", all: "All", difference: "Difference" };
const ZOOMS = [0, 1, 2, 4, 8]; // device pixels per pixel of the image; 0 fits the whole image
const GAINS = [1, 4, 8, 16];
const KEYS = [
  ["arrows", "move (with the image focused; Shift moves further)"], ["1 2 4 8", "zoom 1:1 to 8:1"], ["0", "whole image"],
  ["+ -", "zoom in, out"], ["space", "flip A and B in place (or tap the image in the view Flip)"], ["o", "original in place of A"], ["w f s a d", "wipe, flip, side by side, all, difference"],
  [", .", "move the wipe"], ["[ ]", "another codec for A"], ["{ }", "another codec for B"], ["n p", "next, previous image"],
  ["r R", "higher, lower rate"], ["g", "gain of the difference"], ["c", "copy a link to what is seen"],
];

const view = { image: "", rate: 0, left: "", right: "", mode: "wipe", zoom: 0, x: 0.5, y: 0.5, wipe: 0.5, flipped: false,
               original: false, gain: 4 };
const loaded = new Map(); // path -> Image, as they are asked for
const canvas = document.getElementById("canvas");

// The reconstruction of an image by one series: the one that was asked for at a rate, or else the nearest in size. Where
// a codec's smallest file is what it gave for two rates, either file is the other's equal, but only one has reached its.
function rowOf(image, name, rate) {
  if (name === "original") return null;
  const rows = rowsOf(name).filter(row => row.image === image && row.reconstruction);
  const asked = rows.find(row => row.setting.endsWith(" bpp") && parseFloat(row.setting) === rate);
  const distance = row => Math.abs(Math.log(row.bpp / rate));
  return asked ?? rows.reduce((best, row) => (!best || distance(row) < distance(best) ? row : best), null);
}

// Whether a file is as large as the rate asks, to 5 %: only such files are at equal bytes.
function isAt(row, rate) {
  return Math.abs(row.bpp / rate - 1) <= 0.05;
}

function pathOf(image, name, rate) {
  if (name === "original") return IMAGES.find(photo => photo.image === image).original;
  const row = rowOf(image, name, rate);
  return row ? row.reconstruction : null;
}

function load(path) {
  if (path === null) return null;
  if (!loaded.has(path)) {
    const image = new Image();
    image.onload = () => draw();
    image.src = path.split("/").map(encodeURIComponent).join("/");
    loaded.set(path, image);
  }
  const image = loaded.get(path);
  return image.complete && image.naturalWidth ? image : null;
}

function shownSize() {
  const photo = IMAGES.find(one => one.image === view.image);
  return photo ? [photo.width, photo.height] : [1, 1];
}

// What is seen: in flip and difference the first alone, in wipe and side by side the first on the left.
function seen() {
  const [first, second] = view.flipped ? [view.right, view.left] : [view.left, view.right];
  return [view.original ? "original" : first, second];
}

// Panes of the stage: where they are, in device pixels, and what each shows.
function panes(width, height) {
  const [first, second] = seen();
  if (view.mode === "pair") return split([first, second], width, height);
  if (view.mode === "all") return split(["original", ...SERIES.map(one => one.name)], width, height);
  return [{ x: 0, y: 0, width, height, name: first, second }];
}

function split(names, width, height) {
  let columns = Math.ceil(Math.sqrt(names.length * width / height / 1.5));
  columns = Math.max(1, Math.min(columns, names.length));
  const lines = Math.ceil(names.length / columns);
  return names.map((name, k) => ({
    x: Math.round((k % columns) * width / columns), y: Math.round(Math.floor(k / columns) * height / lines),
    width: Math.floor(width / columns) - 2, height: Math.floor(height / lines) - 2, name, labelled: true,
  }));
}

function scaleIn(pane) {
  const [width, height] = shownSize();
  return view.zoom || Math.min(pane.width / width, pane.height / height);
}

function draw() {
  if (!view.image) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(canvas.clientHeight * ratio);
  const context = canvas.getContext("2d");
  context.fillStyle = "#777";
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const pane of panes(canvas.width, canvas.height)) drawPane(context, pane, ratio);
}

function drawPane(context, pane, ratio) {
  context.save();
  context.beginPath();
  context.rect(pane.x, pane.y, pane.width, pane.height);
  context.clip();
  place(context, pane, view.mode === "difference" ? differenceOf(pane.name) : imageOf(pane.name));
  if (view.mode === "wipe") {
    const edge = Math.round(pane.x + pane.width * view.wipe);
    context.save();
    context.beginPath();
    context.rect(edge, pane.y, pane.width, pane.height);
    context.clip();
    context.fillStyle = "#777";
    context.fillRect(edge, pane.y, pane.width, pane.height);
    place(context, pane, imageOf(pane.second));
    context.restore();
    handle(context, pane, edge, ratio);
    label(context, pane.x, pane.y, title(pane.name), ratio);
    label(context, edge, pane.y, title(pane.second), ratio);
  } else {
    label(context, pane.x, pane.y, view.mode === "difference" ? `|${title(pane.name)} - original| x ${view.gain}` : title(pane.name), ratio);
  }
  context.restore();
}

function handle(context, pane, edge, ratio) {
  context.fillStyle = "#fff";
  context.fillRect(edge - ratio, pane.y, 2 * ratio, pane.height);
  context.beginPath();
  context.arc(edge, pane.y + pane.height / 2, 14 * ratio, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = "#333";
  for (const side of [-1, 1]) {
    context.beginPath();
    context.moveTo(edge + side * 9 * ratio, pane.y + pane.height / 2);
    context.lineTo(edge + side * 4 * ratio, pane.y + pane.height / 2 - 5 * ratio);
    context.lineTo(edge + side * 4 * ratio, pane.y + pane.height / 2 + 5 * ratio);
    context.fill();
  }
}

function label(context, x, y, text, ratio) {
  context.font = `${13 * ratio}px system-ui, sans-serif`;
  const width = context.measureText(text).width;
  context.fillStyle = "rgba(0, 0, 0, 0.65)";
  context.fillRect(x + 6 * ratio, y + 6 * ratio, width + 12 * ratio, 21 * ratio);
  context.fillStyle = "#fff";
  context.fillText(text, x + 12 * ratio, y + 21 * ratio);
}

// An image, or a canvas of its size, with the shared centre in the middle of the pane. It ends on whole device pixels.
function place(context, pane, image) {
  if (!image) return;
  const scale = scaleIn(pane);
  const [width, height] = [image.naturalWidth ?? image.width, image.naturalHeight ?? image.height].map(side => Math.round(side * scale));
  context.imageSmoothingEnabled = !Number.isInteger(scale);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, Math.round(pane.x + pane.width / 2 - view.x * width), Math.round(pane.y + pane.height / 2 - view.y * height), width, height);
}

function imageOf(name) {
  return load(pathOf(view.image, name, view.rate));
}

// Absolute difference of two images times a gain, at their own resolution. Pixels of a page opened from disk cannot be
// read, but they can be composed.
const difference = { canvas: document.createElement("canvas"), of: "" };
function differenceOf(name) {
  const [original, rebuilt] = [imageOf("original"), imageOf(name)];
  if (!original || !rebuilt) return null;
  const of = [original.src, rebuilt.src, view.gain].join(" ");
  if (difference.of === of) return difference.canvas;
  const [width, height] = [difference.canvas.width, difference.canvas.height] = [original.naturalWidth, original.naturalHeight];
  const context = difference.canvas.getContext("2d");
  context.drawImage(original, 0, 0);
  context.globalCompositeOperation = "difference";
  context.drawImage(rebuilt, 0, 0);
  context.globalCompositeOperation = "lighter";
  for (let gain = 1; gain < view.gain; gain *= 2) context.drawImage(difference.canvas, 0, 0, width, height);
  difference.of = of;
  return difference.canvas;
}

function limit() {
  const clamp = value => Math.min(1, Math.max(0, value));
  view.x = clamp(view.x);
  view.y = clamp(view.y);
  view.wipe = clamp(view.wipe);
  if (!view.zoom) view.x = view.y = 0.5;
}

function move(dx, dy) { // in device pixels
  const [width, height] = shownSize();
  const scale = scaleIn(panes(canvas.width, canvas.height)[0]);
  view.x += dx / (width * scale);
  view.y += dy / (height * scale);
  update();
}

function zoomBy(steps) {
  const at = ZOOMS.indexOf(view.zoom) + steps;
  view.zoom = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, at))];
  update();
}

function cycle(list, current, steps) {
  return list[(list.indexOf(current) + steps + list.length) % list.length];
}

// The whole state stands behind the # of the address, so that a link leads to the same crop.
function hashOf() {
  const place = [view.x, view.y].map(value => value.toFixed(4));
  const parts = { view: view.mode, image: view.image, rate: view.rate, a: view.left, b: view.right, zoom: view.zoom, x: place[0], y: place[1],
                  wipe: view.wipe.toFixed(3), gain: view.gain, flip: view.flipped ? 1 : 0, original: view.original ? 1 : 0 };
  return "#" + new URLSearchParams(parts).toString();
}

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (!given.has("view")) return false;
  const names = ["original", ...SERIES.map(one => one.name)];
  const number = (key, fallback) => (Number.isFinite(parseFloat(given.get(key))) ? parseFloat(given.get(key)) : fallback);
  if (given.get("view") in MODES) view.mode = given.get("view");
  if (IMAGES.some(photo => photo.image === given.get("image"))) view.image = given.get("image");
  if (RATES.includes(number("rate", NaN))) view.rate = number("rate");
  if (names.includes(given.get("a"))) view.left = given.get("a");
  if (names.includes(given.get("b"))) view.right = given.get("b");
  if (ZOOMS.includes(number("zoom", NaN))) view.zoom = number("zoom");
  if (GAINS.includes(number("gain", NaN))) view.gain = number("gain");
  [view.x, view.y, view.wipe] = [number("x", 0.5), number("y", 0.5), number("wipe", 0.5)];
  [view.flipped, view.original] = [given.get("flip") === "1", given.get("original") === "1"];
  return true;
}
