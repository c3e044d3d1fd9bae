"use strict";
// What the page knows, and small tools. Text from the data is always set as text, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLOURS = DATA.colours;

// A series is one codec at one realism, rate matched ("bpp") or with one setting for all loaded.
const SERIES = [];
for (const row of DATA.summary) {
  const kind = row.setting.endsWith(" bpp") ? "bpp" : "setting";
  const name = [row.codec, row.realism ?? "", kind].join("|");
  let series = SERIES.find(one => one.name === name);
  if (!series) SERIES.push(series = { name, codec: row.codec, realism: row.realism, kind, points: [], shown: true });
  series.points.push(row);
}
for (const series of SERIES) series.points.sort((a, b) => a.bpp - b.bpp);
const MIXED = SERIES.some(one => one.kind === "bpp") && SERIES.some(one => one.kind === "setting");

// Images whose reconstructions were kept: those that can be looked at.
const KEPT = new Set(DATA.rows.filter(row => row.reconstruction).map(row => row.image));
const IMAGES = DATA.photos.images.filter(photo => KEPT.has(photo.image));

// Rates to choose from: those asked for; where only settings were, those of the first series.
const RATES = [...new Set(DATA.summary.filter(row => row.setting.endsWith(" bpp")).map(row => parseFloat(row.setting)))].sort((a, b) => a - b);
if (!RATES.length && SERIES.length) RATES.push(...SERIES[0].points.map(point => Number(point.bpp.toPrecision(3))));

function seriesOf(name) {
  return SERIES.find(one => one.name === name);
}

function title(name) {
  const one = seriesOf(name);
  if (!one) return name;
  return one.codec + (one.realism === null ? "" : `, realism ${one.realism}`) + (MIXED && one.kind === "setting" ? ", one setting" : "");
}

function rowsOf(name) {
  const one = seriesOf(name);
  const settings = new Set(one.points.map(point => point.setting));
  return DATA.rows.filter(row => row.codec === one.codec && row.realism === one.realism && settings.has(row.setting));
}

function element(tag, attributes = {}, children = []) {
  const svg = ["svg", "g", "path", "line", "circle", "text", "title", "polyline"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...(Array.isArray(children) ? children : [children]));
  return made;
}

function fill(id, choices) {
  document.getElementById(id).replaceChildren(...choices.map(([value, text]) => element("option", { value }, text)));
}

function format(value, name) {
  if (value === undefined || value === null) return "";
  if (name === "bytes") return Math.round(value).toLocaleString("en");
  if (name === "bpp") return value.toFixed(4);
  if (["encode_s", "decode_s"].includes(name)) return value.toFixed(3);
  return value.toFixed(DATA.metrics[name].digits);
}

// A value on the axis of the curves: a mean similarity in dB.
function onAxis(value, name) {
  return DATA.metrics[name].in_decibels ? -10 * Math.log10(Math.max(1e-9, 1 - value)) : value;
}

function formatOnAxis(value, name) {
  return DATA.metrics[name].in_decibels ? value.toFixed(2) : format(value, name);
}

function metricTitle(name) {
  const metric = DATA.metrics[name];
  const unit = metric.in_decibels ? "dB" : metric.unit;
  const way = `${metric.direction} is better`;
  return `${metric.label}${unit ? ` [${unit}]` : ""}, ${way}`;
}

function header(heads) {
  return element("thead", {}, [element("tr", {}, heads.map(head => element("th", { scope: "col" }, head)))]);
}

// Tables of texts. On a phone each row stands as a list, with the heads before its cells.
function fillTable(table, heads, rows, kindOf = () => "") {
  table.replaceChildren(header(heads), element("tbody", {}, rows.map(row => element("tr", {}, row.map((cell, k) =>
    element("td", { class: kindOf(cell, k), "data-head": heads[k] }, cell))))));
}

function drawAnswers() {
  document.getElementById("answers").hidden = !DATA.answers.length;
  document.querySelector("#answers ul").append(...DATA.answers.map(one => element("li", {}, one)));
}

function drawMeans() {
  const metrics = Object.keys(DATA.metrics).filter(name => DATA.summary.some(row => row[name] !== undefined));
  const [table, every] = document.querySelectorAll("#means table");
  fillTable(table, DATA.tables.means.heads, DATA.tables.means.rows);
  const heads = ["codec", "asked for", "coded as", "images", "bytes", "bpp", ...metrics.map(name => DATA.metrics[name].label), "encode s", "decode s"];
  const body = element("tbody");
  for (const row of DATA.summary) {
    const off = row.reached < row.images;
    const name = row.codec + (row.realism === null ? "" : `, realism ${row.realism}`);
    const cells = [name, row.setting + (row.unable ? "§" : ""), row.sample_format, row.images, format(row.bytes, "bytes"), format(row.bpp, "bpp") + (off ? "*" : "")];
    const line = element("tr", {}, cells.map((cell, k) => element("td", { "data-head": heads[k] }, String(cell))));
    for (const metric of [...metrics, "encode_s", "decode_s"]) {
      const interval = row.intervals[metric];
      const cell = element("td", { "data-head": heads[line.children.length] }, format(row[metric], metric) + (row.fewer[metric] ? "†" : "") + (row.minimised.includes(metric) ? "¶" : ""));
      if (interval) cell.title = `95 % interval ${format(interval[0], metric)} to ${format(interval[1], metric)}`;
      line.append(cell);
    }
    body.append(line);
  }
  every.append(header(heads), body);
  notes("means", ["Arithmetic means; their intervals stand in means.csv and in the tooltips of every metric below.", ...DATA.tables.means.notes]);
}

function notes(section, lines) {
  document.querySelector(`#${section} .notes`).append(...lines.map(line => element("p", { class: "small" }, line)));
}

function drawDeltas() {
  document.getElementById("deltas").hidden = !DATA.bd.length;
  if (!DATA.bd.length) return;
  const kindOf = (cell, k) => (k < 2 ? "" : cell.startsWith("refused") ? "text" : cell.includes("[") ? "sure" : "far");
  fillTable(document.querySelector("#deltas table"), DATA.tables.deltas.heads, DATA.tables.deltas.rows, kindOf);
  notes("deltas", DATA.tables.deltas.notes);
}

// One line per image, one column per series: the chosen metric at the chosen rate.
function drawEach() {
  const metric = document.getElementById("metric").value;
  const table = document.querySelector("#each table");
  table.replaceChildren(header(["image", ...SERIES.map(one => title(one.name))]));
  const body = element("tbody");
  for (const photo of DATA.photos.images) {
    const kept = IMAGES.includes(photo);
    const open = element(kept ? "button" : "span", kept ? { type: "button" } : {}, photo.image);
    if (kept) open.onclick = () => {
      view.image = photo.image;
      update();
      document.getElementById("viewer").scrollIntoView();
      canvas.focus({ preventScroll: true });
    };
    const out = DATA.left_out.some(one => one.image === photo.image) ? " (in no mean)" : "";
    const line = element("tr", {}, [element("td", {}, [open, out])]);
    const rows = SERIES.map(one => rowOf(photo.image, one.name, view.rate));
    const values = rows.map(row => (row && row[metric] !== undefined ? row[metric] : null));
    const known = values.filter((value, k) => value !== null && isAt(rows[k], view.rate));
    const direction = DATA.metrics[metric].direction;
    const best = direction === "higher" ? Math.max(...known) : Math.min(...known);
    rows.forEach((row, k) => {
      const near = !row || isAt(row, view.rate);
      const kind = !near ? { class: "far" } : values[k] !== null && values[k] === best ? { class: "best" } : {};
      kind["data-head"] = title(SERIES[k].name);
      const cell = element("td", kind, values[k] === null ? "" : format(values[k], metric) + (near ? "" : "*"));
      if (row) cell.title = `${row.bytes} bytes, ${row.bpp.toFixed(4)} bpp${row.note ? ". " + row.note : ""}`;
      line.append(cell);
    });
    body.append(line);
  }
  table.append(body);
}

function drawProtocol() {
  const kept = IMAGES.length < DATA.photos.images.length ? `, of which ${IMAGES.length} can be looked at here` : "";
  document.getElementById("about").textContent = `${DATA.photos.images.length} photographs, ${Object.keys(DATA.codecs).length} codecs, gencomp ${DATA.gencomp}${kept}`;
  const section = document.getElementById("protocol");
  section.querySelector("ul").append(...DATA.protocol.map(line => element("li", {}, line)));
  const heads = ["codec", "version and options", "rate control", "parameters", "encoder kMAC/pixel", "decoder kMAC/pixel"];
  const table = section.querySelector("table");
  table.append(header(heads));
  const number = (value, digits) => (value === undefined ? "" : value.toLocaleString("en", { maximumFractionDigits: digits }));
  for (const [name, facts] of Object.entries(DATA.codecs)) {
    const cells = [[name, ""], [facts.error ?? facts.note, "text"], [facts.rate_control ? facts.rate_control.name : "", ""], [number(facts.parameters, 0), ""],
                   [number(facts.encoder_kmac, 1), ""], [number(facts.decoder_kmac, 1), ""]];
    table.append(element("tr", {}, cells.map(([text, kind], k) => element("td", { class: kind, "data-head": heads[k] }, text))));
  }
  const list = document.getElementById("metrics");
  for (const metric of Object.values(DATA.metrics)) list.append(element("dt", {}, metric.label), element("dd", {}, metric.definition + (metric.agreement ? `. Agreement with ${metric.agreement}.` : "")));
  for (const [name, why] of Object.entries(DATA.not_measured)) list.append(element("dt", {}, name), element("dd", {}, why));
  document.getElementById("run").textContent = DATA.command.join(" ") + "\n" + Object.entries(DATA.machine).map(([key, value]) => `${key} ${value}`).join(", ");
  const files = document.getElementById("files");
  for (const [what, links] of Object.entries(DATA.files)) {
    const anchors = links.flatMap(path => [element("a", { href: path }, path.split(".").pop().toUpperCase()), " "]);
    files.append(element("dt", {}, what), element("dd", {}, anchors));
  }
  const wrong = document.getElementById("problems");
  wrong.hidden = !DATA.problems.length;
  wrong.querySelector("ul").append(...DATA.problems.map(one => element("li", {}, [one.codec, one.image, one.what].filter(Boolean).join(": "))));
}
