// The page: its parts, put together.

import { Crew } from "./crew.js";
import { itemOf, listenToFiles } from "./intake.js";
import { makingKey } from "./item.js";
import { listenToKeys } from "./keys.js";
import { List } from "./list.js";
import { Queue } from "./queue.js";
import { save, zipped } from "./save.js";
import { Screen } from "./screen.js";
import { commandLine, label, recall, remember, rememberAll, settings } from "./settings.js";
import { View } from "./view.js";
import { RIVALS, bytesText, comparedText, errorText, factRows, leftText, stateText } from "./words.js";

const $ = (id) => document.getElementById(id);
const { version, model: file } = globalThis.PRECACHE;
const items = [];
const crew = new Crew({ url: new URL(`${file.name}?${file.digest}`, location.href).href, bytes: file.bytes });
const view = new View($("stage"), () => ($("scale").textContent = `${Math.round(100 * view.scale)} %`));
const list = new List($("list"), { select, close });
const screen = new Screen(crew, { start, visible: () => view.visible, changed: show, progress });
const onScreen = (item) => item === screen.item;
const queue = new Queue(crew, items, { settings, skip: onScreen, start, changed: showQueue });
let model = null;
let timer = 0;
let counted = ""; // what was said last of all files
let began = 0; // when what is under way began

// ---- work

async function update() {
  const { item } = screen;
  if (!item) return;
  const given = settings();
  queue.hold();
  try {
    item.begin("Working");
    say("");
    if (item.madeAs !== makingKey(item, given)) item.png = null;
    await screen.update(given);
    item.madeAs = makingKey(item, given);
    item.end("done");
    progress(null);
    announce(`${item.name}: ${item.coded ? "decoded" : stateText(item)}`);
  } catch (error) {
    if (item !== screen.item || error.name === "Cancelled") return;
    item.fail(error, makingKey(item, given));
    screen.drop();
    screen.blank(given, "Not decoded: an error");
    progress(null);
    document.body.dataset.state = "error";
    say(`${item.name}: ${errorText(error, item)}`);
  }
  queue.release();
  show();
}

// Kernel and model, once.
async function start() {
  if (model) return;
  const doing = `Loading the model, ${bytesText(file.bytes)}, once`;
  const tell = (share) => document.body.dataset.state === "working" && progress(doing, share);
  tell(0);
  model = await crew.start(tell);
  screen.knowsRealism = model.knowsRealism;
  $("looks").hidden = $("by-other-realism").hidden = !model.knowsRealism;
}

function soon() {
  label(settings(), screen.item);
  rememberAll();
  clearTimeout(timer);
  timer = setTimeout(() => {
    queue.refresh();
    update();
  }, 150);
}

function progress(doing, share = 0) {
  const before = $("doing").textContent;
  document.body.dataset.state = doing ? "working" : "ready";
  $("work").hidden = !doing;
  $("cancel").textContent = "Cancel";
  $("doing").textContent = doing ? `${doing} …` : "";
  if ($("doing").textContent !== before) began = performance.now();
  $("time-left").textContent = doing ? leftText((performance.now() - began) / 1000, share) : "";
  $("share").value = share;
  if (doing && screen.item) {
    Object.assign(screen.item, { doing, share });
    list.update(screen.item);
  }
}

function cancel() {
  if (document.body.dataset.state !== "working") return;
  screen.cancel();
  screen.item.end("cancelled");
  screen.blank(settings(), screen.item.facts ? "Not decoded: cancelled" : "Not coded: cancelled");
  document.body.dataset.state = "cancelled";
  $("doing").textContent = "Cancelled";
  $("time-left").textContent = "";
  $("cancel").textContent = "Go on";
  queue.release();
  show();
}

// ---- what is seen

function show() {
  const { item, panes } = screen;
  document.body.classList.toggle("empty", !item);
  document.body.classList.toggle("blank", !item?.size);
  showQueue();
  if (!item) return;
  const { file: coded, facts, size, notes } = item;
  $("result").hidden = $("facts").hidden = !(facts && coded);
  $("coding").hidden = item.coded && items.every((one) => one.coded);
  if (size) view.resize(size);
  view.set(panes.left.picture, panes.right.picture);
  for (const [side, { picture, says }] of Object.entries(panes)) {
    $(`facts-${side}`).textContent = picture ? picture.text : "";
    $(`pane-${side}`).textContent = picture ? "" : says || (item.size ? "Not ready yet" : "");
  }
  $("bytes").textContent = facts && coded ? bytesText(coded.length) : "–";
  $("compared").textContent = facts && coded ? comparedText(item) : "";
  $("notes").replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  $("save-gnc").disabled = $("save-png").disabled = !(facts && coded);
  const rows = facts && coded ? factRows(item, model, screen) : [];
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

// The list, or one file of it, and how far all are.
function showQueue(item) {
  if (item) list.update(item);
  else list.show(items, screen.item);
  const states = items.map(({ state }) => state);
  const count = (state) => states.filter((one) => one === state).length;
  const [done, failed] = [count("done"), count("error")];
  const open = count("waiting") + count("working");
  const text = `${done} of ${items.length} done${failed ? `, ${failed} with an error` : ""}`;
  $("files-panel").hidden = !items.length;
  $("all").hidden = items.length < 2;
  $("count").textContent = items.length > 1 ? text : "";
  $("save-zip").disabled = !done;
  const waits = items.some((one) => queue.waits(one));
  const stopped = count("cancelled") && !waits;
  $("cancel-all").hidden = !waits && !stopped;
  $("cancel-all").textContent = stopped ? "Go on with all" : "Cancel all";
  document.body.dataset.queue = open ? "working" : "done";
  if (!open && items.length > 1 && text !== counted) announce(text);
  if (!open) counted = text;
}

// What can stand on a side, of a file.
function showSides() {
  const { item } = screen;
  const of = item?.coded ? {} : { original: "Original" };
  const rivals = item?.coded ? {} : Object.fromEntries(Object.entries(RIVALS).map(([side, name]) => [side, `${name}, same bytes`]));
  const sides = { ...of, gencomp: "gencomp", other: "gencomp, other setting", ...rivals };
  for (const [id, first] of [["side-left", item?.coded ? "other" : "original"], ["side-right", "gencomp"]]) {
    $(id).replaceChildren(...Object.entries(sides).map(([side, name]) => new Option(name, side)));
    $(id).value = first; // a new file starts against its original
  }
  if (item?.coded) $("other-realism").value = 0;
  label(settings(), item);
}

function say(text) {
  $("error").hidden = !text;
  $("error").querySelector("p").textContent = text;
}

// For those who hear the page.
function announce(text) {
  if ($("said").textContent !== text) $("said").textContent = text;
}

// ---- files

async function take(files, leftOut) {
  if (files.length && document.body.dataset.state !== "working") progress("Reading");
  const added = await Promise.all(files.map(itemOf));
  items.push(...added);
  if (added.length) select(added[0]);
  queue.refresh();
  if (leftOut) announce($("left-out").textContent = `${leftOut} other files were left out: no images by their names`);
  else $("left-out").textContent = "";
}

function select(item) {
  if (item === screen.item) return;
  if (screen.item?.state === "working") screen.item.end("waiting");
  screen.select(item);
  view.set(null, null);
  progress(null);
  say("");
  showSides();
  show();
  if (item) {
    list.button(item)?.scrollIntoView({ block: "nearest" });
    update();
  }
  queue.run();
}

function close(item) {
  const at = items.indexOf(item);
  items.splice(at, 1);
  const next = items[Math.min(at, items.length - 1)] ?? null;
  if (onScreen(item)) select(next);
  queue.refresh();
  show();
  (list.button(next) ?? $("choose")).focus();
}

function closeAll() {
  items.length = 0;
  queue.refresh();
  select(null);
  show();
  $("choose").focus();
}

// The photograph and its .gnc file, which is as good as coded here.
async function example() {
  const [photo, coded] = await Promise.all(["example.jpg", "example.gnc"].map(async (name) => (await fetch(name)).blob()));
  const item = await itemOf({ blob: new File([photo], "example.jpg"), path: "example.jpg" });
  item.file = new Uint8Array(await coded.arrayBuffer());
  item.madeAs = makingKey(item, { mode: "quality", quality: 45, keep: [], flat: false });
  item.saved = true;
  items.push(item);
  select(item);
}

async function savePng() {
  const { item } = screen;
  if (!item?.facts) return;
  const { realism } = settings();
  const png = (await screen.decoded(settings())?.png()) ?? (await crew.first.run("png", { key: item.key, realism }));
  save(png, `${item.stem}.png`);
}

function saveGnc() {
  const { item } = screen;
  if (!item?.facts) return;
  save(new Blob([item.file], { type: "image/x-gnc" }), `${item.stem}.gnc`);
  item.saved = true;
}

async function saveZip() {
  const { item } = screen;
  try {
    if (item?.coded && item.state === "done") {
      item.png ??= await crew.first.run("png", { key: item.key, realism: settings().realism });
    }
    const { blob, done } = await zipped(items);
    save(blob, "gencomp.zip");
    for (const one of done) one.saved = true;
  } catch (error) {
    say(errorText(error, {}));
  }
}

async function copyCommand() {
  const line = commandLine(settings(), items.filter(({ coded }) => !coded).map(({ path }) => path));
  $("command-line").textContent = line;
  $("command-line").hidden = false;
  try {
    await navigator.clipboard.writeText(line);
    announce("The command is copied");
  } catch {
    announce("The command is shown: copy it from the page"); // browsers forbid it to some pages
  }
}

// ---- wiring

function nextSide() {
  const { options, selectedIndex } = $("side-left");
  $("side-left").selectedIndex = (selectedIndex + 1) % options.length;
  label(settings(), screen.item);
  update();
}

function nextFile() {
  const next = items[(items.indexOf(screen.item) + 1) % items.length];
  select(next);
  list.button(next)?.focus();
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

const open = () => $("files").click();
const on = (id, event, handler) => $(id).addEventListener(event, handler);

if (remember("theme")) document.documentElement.dataset.theme = remember("theme");
recall();
for (const control of document.querySelectorAll("aside :is(input, select)")) control.addEventListener("input", soon);
for (const id of ["side-left", "side-right"]) on(id, "change", () => (label(settings(), screen.item), update()));
for (const id of ["open", "choose"]) on(id, "click", open);
for (const id of ["open-folder", "choose-folder"]) on(id, "click", () => $("folder").click());
on("example", "click", example);
on("theme", "click", theme);
on("help", "click", () => $("keys").showModal());
on("cancel", "click", () => (document.body.dataset.state === "cancelled" ? update() : cancel()));
on("cancel-all", "click", () => ($("cancel-all").textContent === "Cancel all" ? queue.cancel() : queue.goOn()));
on("close-all", "click", closeAll);
on("save-gnc", "click", saveGnc);
on("save-png", "click", savePng);
on("save-zip", "click", saveZip);
on("copy-command", "click", copyCommand);
on("in", "click", () => view.zoom(2));
on("out", "click", () => view.zoom(0.5));
on("scale", "click", () => view.oneToOne());
on("fit", "click", () => view.fit());
$("error").querySelector("button").addEventListener("click", () => say(""));
addEventListener("beforeunload", (event) => {
  if (items.some(({ coded, state, saved }) => !coded && !saved && (state === "done" || state === "working"))) event.preventDefault();
});
listenToFiles({ drop: $("drop"), inputs: [$("files"), $("folder")] }, take);
listenToKeys(view, { open, saveGnc, savePng, nextSide, nextFile, nudge, cancel, help: () => $("keys").showModal() });
label(settings(), null);
$("model-size").textContent = bytesText(file.bytes);
document.body.dataset.state = "ready";
document.body.dataset.version = version;
if ("serviceWorker" in navigator) navigator.serviceWorker.register("sw.js").catch(() => {}); // without it: no offline
