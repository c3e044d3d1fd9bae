"use strict";
// What the page knows, and small tools. Text from the data is always set as text, never as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLOURS = DATA.colours;

// A series is one codec at one realism, rate matched ("bpp") or with one setting for all pictures.
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

function format(value, measure) {
  if (value === undefined || value === null) return "";
  if (measure === "bytes") return Math.round(value).toLocaleString("en");
  if (["ssim", "ms_ssim", "bpp", "haarpsi", "gmsd", "nlpd", "dists"].includes(measure) || measure.startsWith("lpips")) return value.toFixed(4);
  if (["encode_s", "decode_s"].includes(measure)) return value.toFixed(3);
  return value.toPrecision(4);
}

// A value on the axis of the curves: the mean MS-SSIM in dB.
function onAxis(value, measure) {
  return measure === "ms_ssim" ? -10 * Math.log10(Math.max(1e-9, 1 - value)) : value;
}

function metricTitle(measure) {
  const metric = DATA.metrics[measure];
  const unit = measure === "ms_ssim" ? "dB" : metric.unit;
  const way = { more: "higher is better", less: "lower is better", one: "1 keeps the texture" }[metric.better];
  return `${metric.label}${unit ? ` [${unit}]` : ""}, ${way}`;
}

function drawMeans() {
  const measures = Object.keys(DATA.metrics).filter(name => DATA.summary.some(row => row[name] !== undefined));
  const heads = ["codec", "asked for", "pictures", "bytes", "bpp", ...measures.map(name => DATA.metrics[name].label), "encode s", "decode s"];
  const table = document.querySelector("#means table");
  table.append(element("thead", {}, [element("tr", {}, heads.map(head => element("th", { scope: "col" }, head)))]));
  const body = element("tbody");
  let starred = false;
  for (const row of DATA.summary) {
    const off = row.reached < row.pictures;
    starred ||= off;
    const name = row.codec + (row.realism === null ? "" : `, realism ${row.realism}`);
    const cells = [name, row.setting, row.pictures + (row.lacks ? "‡" : ""), format(row.bytes, "bytes"), format(row.bpp, "bpp") + (off ? "*" : "")];
    const line = element("tr", {}, cells.map(cell => element("td", {}, String(cell))));
    for (const measure of [...measures, "encode_s", "decode_s"]) {
      const interval = row.intervals[measure];
      const fewer = row.fewer[measure];
      const cell = element("td", {}, format(row[measure], measure) + (fewer ? "†" : ""));
      if (interval) cell.title = `95 % interval ${format(interval[0], measure)} to ${format(interval[1], measure)}`;
      line.append(cell);
    }
    body.append(line);
  }
  table.append(body);
  document.querySelector("#means p").textContent = "Arithmetic means; a figure's interval stands in its tooltip."
    + (DATA.summary.some(row => Object.keys(row.fewer).length) ? " † without the pictures that this measure cannot take." : "")
    + (DATA.summary.some(row => row.lacks) ? " ‡ over fewer pictures than other rows, with which it does not compare." : "")
    + (starred ? " * not every picture came within 2 % of the rate: the nearest setting was taken, and each row says why." : "");
}

function drawDeltas() {
  const section = document.getElementById("deltas");
  section.hidden = !DATA.bd.length;
  if (!DATA.bd.length) return;
  const measures = [...new Set(DATA.bd.map(one => one.metric))];
  const lines = [...new Set(DATA.bd.map(one => one.codec + (one.kind === "setting" && MIXED ? ", one setting" : "")))];
  const table = section.querySelector("table");
  table.append(element("thead", {}, [element("tr", {}, ["codec", ...measures.map(m => DATA.metrics[m].label)].map(head => element("th", { scope: "col" }, head)))]));
  const body = element("tbody");
  for (const line of lines) {
    const row = element("tr", {}, [element("td", {}, line)]);
    for (const measure of measures) {
      const one = DATA.bd.find(delta => delta.metric === measure && delta.codec + (delta.kind === "setting" && MIXED ? ", one setting" : "") === line);
      row.append(deltaCell(one));
    }
    body.append(row);
  }
  table.append(body);
  section.querySelector("p").textContent = `Bits for equal quality against ${DATA.bd[0].anchor}: -10 % needs a tenth less. In brackets the 95 % interval `
    + "over pictures; overlap of the curves and difference in quality at equal bits in the tooltip.";
}

function deltaCell(one) {
  if (!one) return element("td");
  const { rate, quality } = one;
  if (rate.refused) return element("td", { class: "text" }, `refused: ${rate.refused}`);
  const interval = rate.interval ? ` [${rate.interval[0].toFixed(1)}, ${rate.interval[1].toFixed(1)}]` : "";
  const overlap = `Curves overlap from ${rate.low.toFixed(3)} to ${rate.high.toFixed(3)} of quality, ${Math.round(100 * rate.share)} % of their span.`;
  const other = quality.refused ? "" : ` At equal bits ${quality.value >= 0 ? "+" : ""}${quality.value.toPrecision(3)} over ${quality.low.toFixed(3)} to ${quality.high.toFixed(3)} bpp.`;
  return element("td", { title: overlap + other }, `${rate.value >= 0 ? "+" : ""}${rate.value.toFixed(1)} %${interval}`);
}

// One line a picture, one column a series: the chosen measure at the chosen rate.
function drawEach() {
  const measure = document.getElementById("metric").value;
  const table = document.querySelector("#each table");
  table.replaceChildren(element("thead", {}, [element("tr", {}, ["picture", ...SERIES.map(one => title(one.name))].map(head => element("th", { scope: "col" }, head)))]));
  const body = element("tbody");
  for (const photo of DATA.photos.images) {
    const open = element("button", { type: "button" }, photo.image);
    open.onclick = () => {
      view.image = photo.image;
      update();
      document.getElementById("viewer").scrollIntoView();
      canvas.focus({ preventScroll: true });
    };
    const line = element("tr", {}, [element("td", {}, [open])]);
    const rows = SERIES.map(one => rowOf(photo.image, one.name, view.rate));
    const values = rows.map(row => (row && row[measure] !== undefined ? row[measure] : null));
    const known = values.filter((value, k) => value !== null && isAt(rows[k], view.rate));
    const better = DATA.metrics[measure].better;
    const best = better === "more" ? Math.max(...known) : better === "less" ? Math.min(...known) : null;
    rows.forEach((row, k) => {
      const near = !row || isAt(row, view.rate);
      const kind = !near ? { class: "far" } : values[k] !== null && values[k] === best ? { class: "best" } : {};
      const cell = element("td", kind, values[k] === null ? "" : format(values[k], measure) + (near ? "" : "*"));
      if (row) cell.title = `${row.bytes} bytes, ${row.bpp.toFixed(4)} bpp${row.note ? ". " + row.note : ""}`;
      line.append(cell);
    });
    body.append(line);
  }
  table.append(body);
}

function drawProtocol() {
  document.getElementById("about").textContent = `${DATA.photos.images.length} photographs, ${Object.keys(DATA.codecs).length} codecs, gencomp ${DATA.gencomp}`;
  const section = document.getElementById("protocol");
  section.querySelector("ul").append(...DATA.protocol.map(line => element("li", {}, line)));
  const heads = ["codec", "version and options", "knob", "parameters", "encoder kMAC/pixel", "decoder kMAC/pixel", "peak memory MB"];
  const table = section.querySelector("table");
  table.append(element("thead", {}, [element("tr", {}, heads.map(head => element("th", { scope: "col" }, head)))]));
  const number = (value, digits) => (value === undefined ? "" : value.toLocaleString("en", { maximumFractionDigits: digits }));
  for (const [name, facts] of Object.entries(DATA.codecs)) {
    const cells = [[name, ""], [facts.error ?? facts.note, "text"], [facts.knob ? facts.knob.name : "", ""], [number(facts.parameters, 0), ""],
                   [number(facts.encoder_kmac, 1), ""], [number(facts.decoder_kmac, 1), ""], [number(facts.peak_mb, 0), ""]];
    table.append(element("tr", {}, cells.map(([text, kind]) => element("td", { class: kind }, text))));
  }
  const list = document.getElementById("measures");
  for (const metric of Object.values(DATA.metrics)) list.append(element("dt", {}, metric.label), element("dd", {}, metric.definition));
  for (const [name, why] of Object.entries(DATA.not_measured)) list.append(element("dt", {}, name), element("dd", {}, why));
  document.getElementById("run").textContent = DATA.command.join(" ") + "\n" + Object.entries(DATA.machine).map(([key, value]) => `${key} ${value}`).join(", ");
  const wrong = document.getElementById("problems");
  wrong.hidden = !DATA.problems.length;
  wrong.querySelector("ul").append(...DATA.problems.map(one => element("li", {}, [one.codec, one.image, one.what].filter(Boolean).join(": "))));
}
