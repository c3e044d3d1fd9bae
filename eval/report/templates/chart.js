// Rate against the chosen metric, as SVG. Points can be reached by keyboard; published curves are dashed.

const CHART = { width: 980, height: 520, left: 66, right: 20, top: 18, bottom: 46 }; // as wide as the page, 980 at most
const RATE_TICKS = [0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 4, 6, 8];
const hiddenPublished = new Set(DATA.published.filter(one => !one.prominent).map(one => one.label));

function linesOf(metric) {
  const lines = SERIES.map(one => ({
    name: one.name, label: title(one.name), colour: COLOURS[one.codec], dash: one.realism === null || one.realism === 1 ? "" : "2 3",
    hidden: !one.shown, series: one,
    points: one.points.filter(row => row[metric] !== undefined && !row.unable).map(row => ({ x: row.bpp, y: onAxis(row[metric], metric), row })),
  }));
  const dataset = document.getElementById("dataset")?.value; // a page without published numbers has no such choice
  for (const one of DATA.published) {
    const points = (one.points[metric] ?? []).map(([x, value]) => ({ x, y: onAxis(value, metric) }));
    if (one.dataset === dataset && points.length) {
      lines.push({ name: one.label, label: `${one.label} (published)`, colour: "#8a8a86", dash: "6 4", hidden: hiddenPublished.has(one.label), published: one, points });
    }
  }
  return lines.filter(line => line.points.length);
}

function drawChart() {
  const room = document.getElementById("chart").clientWidth;
  CHART.width = Math.max(340, Math.min(980, room));
  CHART.height = CHART.width < 600 ? 380 : 520;
  const metric = document.getElementById("metric").value;
  document.getElementById("definition").textContent = `${metricTitle(metric)}. ${DATA.metrics[metric].definition}.`;
  const lines = linesOf(metric);
  const points = lines.filter(line => !line.hidden).flatMap(line => line.points);
  const svg = element("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": `Rate against ${metricTitle(metric)}` });
  if (points.length) {
    const axes = scales(points);
    drawAxes(svg, axes, metric);
    for (const line of lines.filter(one => !one.hidden)) drawLine(svg, line, axes, metric);
  }
  document.getElementById("chart").replaceChildren(svg);
  drawLegend(lines);
}

function scales(points) {
  const logarithmic = document.getElementById("logarithmic").checked;
  const across = value => (logarithmic ? Math.log(value) : value);
  const span = values => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low || Math.abs(high) || 1) * 0.05;
    return [low - margin, high + margin];
  };
  const [left, right] = span(points.map(point => across(point.x)));
  const [low, high] = span(points.map(point => point.y));
  const { width, height } = CHART;
  return {
    x: value => CHART.left + (across(value) - left) / (right - left) * (width - CHART.left - CHART.right),
    y: value => height - CHART.bottom - (value - low) / (high - low) * (height - CHART.top - CHART.bottom),
    rates: thin(RATE_TICKS.filter(rate => across(rate) >= left && across(rate) <= right), width / 60),
    values: ticks(low, high),
  };
}

// At most `most` of the values, evenly.
function thin(values, most) {
  const step = Math.ceil(values.length / most);
  return values.filter((_, k) => k % step === 0);
}

function ticks(low, high) {
  const raw = (high - low) / 7;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(k => k * power).find(size => size >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(Number(value.toPrecision(8)));
  return found;
}

function drawAxes(svg, axes, metric) {
  const bottom = CHART.height - CHART.bottom;
  for (const rate of axes.rates) {
    svg.append(element("line", { class: "grid", x1: axes.x(rate), x2: axes.x(rate), y1: CHART.top, y2: bottom }),
      element("text", { x: axes.x(rate), y: bottom + 18, "text-anchor": "middle" }, String(rate)));
  }
  for (const value of axes.values) {
    svg.append(element("line", { class: "grid", x1: CHART.left, x2: CHART.width - CHART.right, y1: axes.y(value), y2: axes.y(value) }),
      element("text", { x: CHART.left - 8, y: axes.y(value) + 4, "text-anchor": "end" }, String(value)));
  }
  svg.append(element("text", { x: CHART.width / 2, y: CHART.height - 8, "text-anchor": "middle" }, "bits per pixel, from the files"),
    element("text", { transform: `translate(15 ${bottom / 2 + 10}) rotate(-90)`, "text-anchor": "middle" }, metricTitle(metric)));
}

function drawLine(svg, line, axes, metric) {
  const path = line.points.map(point => `${axes.x(point.x).toFixed(1)},${axes.y(point.y).toFixed(1)}`).join(" ");
  svg.append(element("polyline", { points: path, fill: "none", stroke: line.colour, "stroke-width": line.published ? 1.3 : 2.4, "stroke-dasharray": line.dash }));
  for (const point of line.points) {
    const interval = point.row && point.row.intervals[metric];
    const text = `${line.label}: ${point.x.toFixed(4)} bpp, ${formatOnAxis(point.y, metric)}`
      + (interval ? `, 95 % interval ${interval.map(value => formatOnAxis(onAxis(value, metric), metric)).join(" to ")}` : "")
      + (point.row ? `, ${point.row.setting}, ${point.row.images} images` : `, ${line.published.source}`);
    const dot = element("circle", { cx: axes.x(point.x), cy: axes.y(point.y), r: line.published ? 3 : 5, fill: MIXED && line.series?.kind === "setting" ? "var(--chart)" : line.colour, stroke: line.colour, "stroke-width": 2, tabindex: 0, role: "img", "aria-label": text }, [element("title", {}, text)]);
    svg.append(dot);
  }
}

function drawLegend(lines) {
  document.getElementById("legend").replaceChildren(...lines.map(line => {
    const box = element("input", { type: "checkbox" });
    box.checked = !line.hidden;
    box.onchange = () => {
      if (line.series) line.series.shown = box.checked;
      else if (box.checked) hiddenPublished.delete(line.name);
      else hiddenPublished.add(line.name);
      const at = lines.indexOf(line);
      drawChart();
      document.querySelectorAll("#legend input")[at].focus();
    };
    const mark = element("i");
    mark.style.borderTopColor = line.colour;
    mark.style.borderTopStyle = line.dash ? "dashed" : "solid";
    return element("label", {}, [box, " ", mark, " ", line.label]);
  }));
}

// changed: what else follows the chosen metric.
function startChart(changed = () => {}) {
  const metrics = Object.keys(DATA.metrics).filter(name => DATA.summary.some(row => row[name] !== undefined));
  fill("metric", metrics.map(name => [name, DATA.metrics[name].label]));
  document.getElementById("metric").onchange = () => { drawChart(); changed(); };
  const picker = document.getElementById("dataset");
  if (picker) {
    const datasets = [...new Set(DATA.published.map(one => one.dataset))];
    fill("dataset", [["", "none"], ...datasets.map(name => [name, name])]);
    picker.value = DATA.photos.dataset ?? "";
    picker.onchange = drawChart;
  }
  document.getElementById("logarithmic").onchange = drawChart;
  window.addEventListener("resize", drawChart);
  drawChart();
}
