// The page: files in, settings, the view, downloads.

import { isCoded } from "./codec/bitstream.js";
import { Item } from "./item.js";
import { listenToKeys } from "./keys.js";
import { View } from "./view.js";
import { besideText, bytesText, comparedText, errorText, factRows } from "./words.js";
import { Work } from "./work.js";

const $ = (id) => document.getElementById(id);
const work = new Work();
const view = new View($("stage"), () => ($("scale").textContent = `${Math.round(100 * view.scale)} %`));
const items = [];
const sides = { original: "Original", webp: "WebP, same bytes", jpeg: "JPEG, same bytes", even: "Realism 0" };
let model = null;
let item = null;
let timer = 0;

// ---- settings and work

const settings = () => ({
  mode: document.querySelector("[name=mode]:checked").value,
  quality: Number($("quality").value),
  bytes: Math.round(1000 * Number($("size").value)),
  realism: Number($("realism").value),
  side: $("side").value,
});

async function update() {
  const current = item;
  try {
    await current?.update(settings());
  } catch (error) {
    if (error.name === "Cancelled" || current !== item) return;
    progress(null);
    document.body.dataset.state = "error";
    say(errorText(error, current?.name ?? "gencomp"));
  }
}

// Kernel and model, once.
async function start() {
  if (model) return;
  progress("Loading the model");
  const say = (share) => document.body.dataset.state === "working" && progress("Loading the model", share);
  model = await work.run("start", {}, say);
  $("looks").hidden = !model.knowsRealism;
}

function soon() {
  label();
  clearTimeout(timer);
  timer = setTimeout(update, 150);
}

function label() {
  const { mode, quality, realism } = settings();
  $("quality-out").textContent = quality;
  $("realism-out").textContent = realism;
  $("by-quality").hidden = mode !== "quality";
  $("by-size").hidden = mode !== "size";
}

function progress(doing, share = 0) {
  document.body.dataset.state = doing ? "working" : "ready";
  $("work").hidden = !doing;
  $("cancel").textContent = "Cancel";
  $("doing").textContent = doing ? `${doing} …` : "";
  $("share").value = share;
}

function cancel() {
  if (document.body.dataset.state !== "working") return;
  item?.cancel();
  document.body.dataset.state = "cancelled";
  $("doing").textContent = "Cancelled";
  $("cancel").textContent = "Go on";
}

// ---- what is seen

function show() {
  const { file, facts, size, shown, beside } = item;
  document.body.classList.remove("empty");
  document.body.classList.toggle("blank", !size);
  $("result").hidden = $("facts").hidden = !facts;
  $("coding").hidden = item.coded;
  if (size) {
    const left = beside?.bitmap ?? item.original;
    view.set("left", left, size);
    view.set("right", shown?.bitmap ?? left, size);
  }
  $("left-facts").textContent = beside ? besideText(beside) : "";
  $("right-facts").textContent = file && shown ? `${bytesText(file.length)}, realism ${shown.realism}` : "";
  $("bytes").textContent = facts ? bytesText(file.length) : "–";
  $("compared").textContent = facts ? comparedText(item) : "";
  $("save-gnc").disabled = !facts;
  $("save-png").disabled = !shown;
  const rows = facts ? factRows(item, model) : [];
  $("facts").querySelector("dl").replaceChildren(
    ...rows.flatMap(([name, value, holds]) => {
      const [term, text] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      text.textContent = value;
      text.dataset.fact = name;
      if (holds) text.className = "ok";
      return [term, text];
    }),
  );
}

function showSides() {
  const offered = Object.entries(sides).filter(([side]) => side === "even" || !item.coded);
  const before = $("side").value;
  $("side").replaceChildren(...offered.map(([side, name]) => new Option(name, side)));
  if (offered.some(([side]) => side === before)) $("side").value = before;
}

function showTray() {
  const tabs = items.map((one) => {
    const tab = document.createElement("button");
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", one === item);
    tab.textContent = tab.title = one.name;
    tab.addEventListener("click", () => select(one));
    if (one === item) setTimeout(() => tab.scrollIntoView({ block: "nearest", inline: "nearest" }));
    return tab;
  });
  $("tray").replaceChildren(...tabs);
  $("tray").hidden = items.length < 2;
}

function select(next) {
  if (next === item) return;
  item?.rest();
  item = next;
  view.set("left", null);
  view.set("right", null);
  progress(null);
  showSides();
  showTray();
  show();
  update();
}

function say(text) {
  $("error").hidden = !text;
  $("error").querySelector("p").textContent = text;
}

// ---- files

async function take(files) {
  say("");
  let first = null;
  for (const file of files) {
    const coded = isCoded(new Uint8Array(await file.slice(0, 3).arrayBuffer())) || /\.gnc$/i.test(file.name ?? "");
    const added = new Item(work, items.length + 1, file, coded, {
      start,
      changed: () => added === item && show(),
      progress: (doing, share) => added === item && progress(doing, share),
    });
    items.push(added);
    first ??= added;
  }
  if (first) select(first);
}

async function example() {
  const blob = await (await fetch("example.gnc")).blob();
  take([new File([blob], "example.gnc")]);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function savePng() {
  if (!item?.shown) return;
  const { stem, key, shown, facts } = item;
  // What is on the canvas is the image itself, unless the file carries a colour profile, in which the PNG is left.
  if (facts.sections.icc) save(await work.run("png", { key, realism: shown.realism }), `${stem}.png`);
  else $("right").toBlob((blob) => save(blob, `${stem}.png`), "image/png");
}

const saveGnc = () => item?.facts && save(new Blob([item.file], { type: "image/x-gnc" }), `${item.stem}.gnc`);

function listenToDrops() {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) $("drop").hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  globalThis.launchQueue?.setConsumer(async ({ files }) => {
    if (files.length) take(await Promise.all(files.map((handle) => handle.getFile())));
  });
}

// ---- wiring

function nextSide() {
  const { options, selectedIndex } = $("side");
  $("side").selectedIndex = (selectedIndex + 1) % options.length;
  update();
}

function nudge(id, by) {
  $(id).value = Number($(id).value) + by;
  soon();
}

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  remember("theme", document.documentElement.dataset.theme);
}

// What was chosen before, if the browser lets pages remember; with a value: remember it.
function remember(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

const open = () => $("files").click();
const on = (id, event, handler) => $(id).addEventListener(event, handler);

if (remember("theme")) document.documentElement.dataset.theme = remember("theme");
for (const id of ["quality", "realism", "size"]) on(id, "input", soon);
for (const radio of document.querySelectorAll("[name=mode]")) radio.addEventListener("change", soon);
on("side", "change", update);
for (const id of ["open", "choose"]) on(id, "click", open);
on("files", "change", () => {
  take([...$("files").files]);
  $("files").value = "";
});
on("example", "click", example);
on("theme", "click", theme);
on("help", "click", () => $("keys").showModal());
on("cancel", "click", () => (document.body.dataset.state === "cancelled" ? update() : cancel()));
on("save-gnc", "click", saveGnc);
on("save-png", "click", savePng);
on("in", "click", () => view.zoom(2));
on("out", "click", () => view.zoom(0.5));
on("scale", "click", () => view.oneToOne());
on("fit", "click", () => view.fit());
$("error").querySelector("button").addEventListener("click", () => say(""));
listenToDrops();
listenToKeys(view, { open, saveGnc, savePng, nextSide, nudge, cancel, help: () => $("keys").showModal() });
label();
document.body.dataset.state = "ready";
if ("serviceWorker" in navigator) navigator.serviceWorker.register("sw.js").catch(() => {}); // without it: no offline
