// Keys, pointers and menus of the viewer.

let ratedAt = 0;
function update() {
  limit();
  if (view.rate !== ratedAt) drawEach();
  ratedAt = view.rate;
  for (const id of ["image", "rate", "left", "right"]) document.getElementById(id).value = view[id];
  press("modes", view.mode);
  press("zooms", String(view.zoom));
  document.getElementById("original").setAttribute("aria-pressed", String(view.original));
  document.getElementById("gain").textContent = `Gain ${view.gain}`;
  document.getElementById("gain").hidden = view.mode !== "difference";
  canvas.classList.toggle("zoomed", view.zoom > 0); // else a finger on the image scrolls the page
  captions();
  draw();
  remember();
}

let pending = 0;
function remember() {
  clearTimeout(pending);
  pending = setTimeout(() => history.replaceState(null, "", hashOf()), 150);
}

function press(group, value) {
  for (const button of document.getElementById(group).children) {
    button.setAttribute("aria-pressed", String(button.value === value));
  }
}

// One line for each image that is seen, where it is seen; the second says how its bytes compare with the first's.
function captions() {
  const box = document.getElementById("captions");
  box.replaceChildren();
  const names = view.mode === "all" ? SERIES.map(one => one.name) : seen();
  const places = { wipe: ["Left: ", "Right: "], pair: ["Left: ", "Right: "], flip: ["Shown: ", "Behind it: "], difference: ["Shown: ", "Behind it: "], all: [] }[view.mode];
  const rows = names.map(name => rowOf(view.image, name, view.rate));
  for (const [k, name] of names.entries()) {
    const row = rows[k];
    const line = element("span", {}, [element("b", {}, (places[k] ?? "") + title(name))]);
    if (row) {
      line.append(` ${row.bytes.toLocaleString("en")} bytes, ${row.bpp.toFixed(4)} bpp`);
      for (const metric of ["psnr", "ms_ssim"]) {
        if (row[metric] !== undefined) line.append(`, ${DATA.metrics[metric].label} ${format(row[metric], metric)}`);
      }
      const said = [row.note, unequal(row, rows[0]), row.note || isAt(row, view.rate) ? "" : `not at ${view.rate} bpp`].filter(Boolean);
      if (said.length) line.append(element("span", { class: "note" }, ` (${said.join("; ")})`));
    } else if (name !== "original") {
      line.append(element("span", { class: "note" }, " failed on this image"));
    }
    box.append(line);
  }
}

// In words, where a file is not as large as the first one, to 2 %.
function unequal(row, first) {
  if (!first || row === first || Math.abs(row.bytes / first.bytes - 1) <= 0.02) return "";
  const percent = 100 * (row.bytes / first.bytes - 1);
  return `not equal bytes: ${percent > 0 ? "+" : ""}${percent.toFixed(0)} % against ${first.codec}`;
}

const NAMES = ["original", ...SERIES.map(one => one.name)];
const PHOTOS = IMAGES.map(photo => photo.image);
const ACTIONS = {
  " ": () => (view.flipped = !view.flipped), "o": () => (view.original = !view.original),
  "w": () => (view.mode = "wipe"), "f": () => (view.mode = "flip"), "s": () => (view.mode = "pair"),
  "a": () => (view.mode = "all"), "d": () => (view.mode = "difference"),
  "n": () => (view.image = cycle(PHOTOS, view.image, 1)), "p": () => (view.image = cycle(PHOTOS, view.image, -1)),
  "r": () => (view.rate = cycle(RATES, view.rate, 1)), "R": () => (view.rate = cycle(RATES, view.rate, -1)),
  "]": () => (view.left = cycle(NAMES, view.left, 1)), "[": () => (view.left = cycle(NAMES, view.left, -1)),
  "}": () => (view.right = cycle(NAMES, view.right, 1)), "{": () => (view.right = cycle(NAMES, view.right, -1)),
  ",": () => (view.wipe -= 0.02), ".": () => (view.wipe += 0.02), "g": () => (view.gain = cycle(GAINS, view.gain, 1)),
  "+": () => zoomBy(1), "=": () => zoomBy(1), "-": () => zoomBy(-1), "c": copyLink,
  "0": () => (view.zoom = 0), "1": () => (view.zoom = 1), "2": () => (view.zoom = 2), "4": () => (view.zoom = 4), "8": () => (view.zoom = 8),
};

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (["SELECT", "INPUT"].includes(event.target.tagName)) return;
  if (event.key === " " && event.target.tagName === "BUTTON") return; // space presses a focused button
  const far = event.shiftKey ? 1 : 8;
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key in arrows && event.target === canvas) {
    const [dx, dy] = arrows[event.key];
    move(dx * canvas.width / far, dy * canvas.height / far);
  } else if (event.key in ACTIONS) {
    ACTIONS[event.key]();
    update();
  } else {
    return;
  }
  event.preventDefault();
}

// One pointer moves the image or the wipe, two pointers zoom.
function pointers() {
  const down = new Map();
  let wiping = false, spread = 0, moved = 0;
  const at = event => [event.offsetX * canvas.width / canvas.clientWidth, event.offsetY * canvas.height / canvas.clientHeight];
  const distance = () => {
    const [[x, y], [u, v]] = [...down.values()];
    return Math.hypot(x - u, y - v);
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    moved = down.size > 1 ? Infinity : 0;
    wiping = view.mode === "wipe" && Math.abs(at(event)[0] - view.wipe * canvas.width) < 24 * (window.devicePixelRatio || 1);
    spread = down.size === 2 ? distance() : 0;
  });
  canvas.addEventListener("pointermove", event => {
    if (!down.has(event.pointerId)) return;
    const [before, now] = [down.get(event.pointerId), at(event)];
    down.set(event.pointerId, now);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (down.size === 2) {
      const ratio = distance() / spread;
      if (ratio > 1.5 || ratio < 0.67) {
        zoomBy(ratio > 1 ? 1 : -1);
        spread = distance();
      }
    } else if (wiping) {
      view.wipe = now[0] / canvas.width;
      update();
    } else {
      move(before[0] - now[0], before[1] - now[1]);
    }
  });
  canvas.addEventListener("pointercancel", event => down.delete(event.pointerId));
  canvas.addEventListener("pointerup", event => {
    const tapped = down.delete(event.pointerId) && moved < 6 * (window.devicePixelRatio || 1);
    if (tapped && view.mode === "flip") {
      view.flipped = !view.flipped;
      update();
    }
  });
  canvas.addEventListener("wheel", event => {
    if (document.activeElement !== canvas) return; // until the image has been chosen the wheel scrolls the page
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1 : -1);
  }, { passive: false });
}

function copyLink() {
  history.replaceState(null, "", hashOf());
  const button = document.getElementById("link");
  const said = text => {
    button.textContent = text;
    setTimeout(() => (button.textContent = "Copy link"), 1500);
  };
  if (navigator.clipboard) navigator.clipboard.writeText(location.href).then(() => said("Copied"), () => said("Link is in the address"));
  else said("Link is in the address");
}

function startViewer() {
  fill("image", IMAGES.map(photo => [photo.image, photo.image]));
  fill("rate", RATES.map(rate => [String(rate), `${rate} bpp`]));
  const names = [["original", "original"], ...SERIES.map(one => [one.name, title(one.name)])];
  fill("left", names);
  fill("right", names);
  view.image = IMAGES[0].image;
  view.rate = RATES.find(rate => rate >= 0.1) ?? RATES[0];
  const ours = SERIES.filter(one => one.codec.startsWith("gencomp"));
  const byDefault = one => DATA.codecs[one.codec]?.default_realism;
  const first = ours.find(one => one.realism === byDefault(one)) ?? ours[ours.length - 1] ?? SERIES[0];
  const others = SERIES.filter(one => one.codec !== first.codec);
  view.left = first.name;
  view.right = (others.find(one => one.codec === "avif") ?? others[0] ?? { name: "original" }).name;
  for (const [group, choices, key] of [["modes", Object.entries(MODES), "mode"],
                                       ["zooms", ZOOMS.map(z => [String(z), z ? `${z}:1` : "Fit"]), "zoom"]]) {
    for (const [value, text] of choices) {
      const button = element("button", { type: "button", value }, text);
      button.onclick = () => { view[key] = key === "zoom" ? Number(value) : value; update(); };
      document.getElementById(group).append(button);
    }
  }
  for (const id of ["image", "rate", "left", "right"]) {
    document.getElementById(id).onchange = event => {
      view[id] = id === "rate" ? Number(event.target.value) : event.target.value;
      update();
    };
  }
  document.getElementById("link").onclick = copyLink;
  for (const [id, key] of [["flip", " "], ["original", "o"], ["gain", "g"], ["previous", "p"], ["next", "n"], ["lower", "R"], ["higher", "r"]]) {
    document.getElementById(id).onclick = () => { ACTIONS[key](); update(); };
  }
  document.querySelector("#viewer h2").textContent = SERIES.some(one => one.kind === "bpp") ? "Images at equal bytes" : "Images, each codec at its own setting: bytes differ";
  for (const [keys, what] of KEYS) {
    document.querySelector("#keys dl").append(element("dt", {}, [element("kbd", {}, keys)]), element("dd", {}, what));
  }
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", draw);
  window.addEventListener("hashchange", () => { if (readHash()) update(); });
  pointers();
  if (readHash()) document.getElementById("viewer").scrollIntoView();
  update();
}
