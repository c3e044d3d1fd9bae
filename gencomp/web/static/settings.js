// The settings: from the controls, kept over a reload, as a command line.

const $ = (id) => document.getElementById(id);
const KEEP = ["exif", "gps", "xmp", "icc", "dpi", "comment"];
const VALUES = ["quality", "size", "density", "realism", "other-quality", "other-realism"];
const MODES = ["quality", "size", "density"];

// {mode, quality, bytes, perMegapixel, realism, keep, flat, other: {quality, realism}, left, right}
export function settings() {
  const number = (id) => Number($(id).value);
  return {
    mode: document.querySelector("[name=mode]:checked").value,
    quality: number("quality"),
    bytes: Math.max(1, Math.floor(1000 * number("size"))),
    perMegapixel: Math.max(1, Math.floor(1000 * number("density"))),
    realism: number("realism"),
    keep: KEEP.filter((name) => $(`keep-${name}`).checked),
    flat: !$("keep-alpha").checked,
    other: { quality: number("other-quality"), realism: number("other-realism") },
    left: $("side-left").value,
    right: $("side-right").value,
  };
}

// Show what the controls say; those of settings that do not act now are hidden.
export function label({ mode, left, right }, item) {
  for (const id of ["quality", "realism", "other-quality", "other-realism"]) $(`${id}-out`).textContent = $(id).value;
  for (const name of MODES) $(`by-${name}`).hidden = mode !== name;
  $("other").hidden = ![left, right].includes("other");
  $("by-other-quality").hidden = Boolean(item?.coded);
}

// The page's memory, where the browser lets pages have one; with a value: remember it.
export function remember(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function rememberAll() {
  const values = Object.fromEntries(VALUES.map((id) => [id, $(id).value]));
  const { mode, keep, flat } = settings();
  remember("settings", JSON.stringify({ ...values, mode, keep, flat }));
}

// Only values that the controls themselves take.
export function recall() {
  let kept = {};
  try {
    kept = JSON.parse(remember("settings") ?? "{}");
  } catch {
    return;
  }
  for (const id of VALUES) if (kept[id] !== undefined && !Number.isNaN(Number(kept[id]))) $(id).value = kept[id];
  for (const radio of document.querySelectorAll("[name=mode]")) if (radio.value === kept.mode) radio.checked = true;
  $("keep-alpha").checked = kept.flat !== true;
  for (const name of KEEP) $(`keep-${name}`).checked = Array.isArray(kept.keep) && kept.keep.includes(name);
}

// `gencomp compress` with the same settings, for files of these paths.
export function commandLine({ mode, quality, bytes, perMegapixel, keep, flat }, paths) {
  const quoted = (path) => (/^[\w./-]+$/.test(path) && !path.startsWith("-") ? path : `'${safe(path).replaceAll("'", `'\\''`)}'`);
  const safe = (path) => (path.startsWith("-") ? `./${path}` : path);
  const rate = { quality: `--quality ${quality}`, size: `--bytes ${bytes}`, density: `--bpp ${bppOf(perMegapixel)}` }[mode];
  const several = paths.length > 1 ? " -o coded/" : "";
  const kept = (keep.length ? ` --keep ${keep.join(",")}` : "") + (flat ? " --background white" : "");
  return `gencomp compress ${paths.map(quoted).join(" ")}${several} ${rate}${kept}`;
}

const bppOf = (perMegapixel) => Number(((8 * perMegapixel) / 1e6).toPrecision(6));
