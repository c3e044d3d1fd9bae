// Keys, pointers and menus of the viewer.

let ratedAt = 0;
function update() {
  limit();
  if (view.rate !== ratedAt) drawEach();
  ratedAt = view.rate;
  for (const id of ["image", "rate", "left", "right"]) document.getElementById(id).value = view[id];
  press("modes", view.mode);
  press("zooms", String(view.zoom));
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

function captions() {
  const box = document.getElementById("captions");
  box.replaceChildren();
  const names = view.mode === "all" ? SERIES.map(one => one.name) : [view.left, view.right];
  for (const [k, name] of names.entries()) {
    const row = rowOf(view.image, name, view.rate);
    const side = view.mode === "all" ? "" : k === 0 ? "A: " : "B: ";
    const line = element("span", {}, [element("b", {}, side + title(name))]);
    if (row) {
      line.append(` ${row.bytes.toLocaleString("en")} bytes, ${row.bpp.toFixed(4)} bpp`);
      for (const measure of ["psnr", "ms_ssim"]) {
        if (row[measure] !== undefined) line.append(`, ${DATA.metrics[measure].label} ${format(row[measure], measure)}`);
      }
      const off = isAt(row, view.rate) ? "" : `not at ${view.rate} bpp`;
      const note = row.note || off;
      if (note) line.append(element("span", { class: "note" }, ` (${note})`));
    } else if (name !== "original") {
      line.append(element("span", { class: "note" }, " failed on this picture"));
    }
    box.append(line);
  }
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (["SELECT", "INPUT"].includes(event.target.tagName)) return;
  if (event.key === " " && event.target.tagName === "BUTTON") return; // space presses a focused button
  const images = DATA.photos.images.map(photo => photo.image);
  const names = ["original", ...SERIES.map(one => one.name)];
  const far = event.shiftKey ? 1 : 8;
  const actions = {
    " ": () => (view.flipped = !view.flipped), "o": () => (view.original = !view.original),
    "w": () => (view.mode = "wipe"), "f": () => (view.mode = "flip"), "s": () => (view.mode = "pair"),
    "a": () => (view.mode = "all"), "d": () => (view.mode = "difference"),
    "n": () => (view.image = cycle(images, view.image, 1)), "p": () => (view.image = cycle(images, view.image, -1)),
    "r": () => (view.rate = cycle(RATES, view.rate, 1)), "R": () => (view.rate = cycle(RATES, view.rate, -1)),
    "]": () => (view.left = cycle(names, view.left, 1)), "[": () => (view.left = cycle(names, view.left, -1)),
    "}": () => (view.right = cycle(names, view.right, 1)), "{": () => (view.right = cycle(names, view.right, -1)),
    ",": () => (view.wipe -= 0.02), ".": () => (view.wipe += 0.02), "g": () => (view.gain = cycle(GAINS, view.gain, 1)),
    "+": () => zoomBy(1), "=": () => zoomBy(1), "-": () => zoomBy(-1), "c": copyLink,
    "0": () => (view.zoom = 0), "1": () => (view.zoom = 1), "2": () => (view.zoom = 2), "4": () => (view.zoom = 4), "8": () => (view.zoom = 8),
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key in arrows && event.target === canvas) {
    const [dx, dy] = arrows[event.key];
    move(dx * canvas.width / far, dy * canvas.height / far);
  } else if (event.key in actions) {
    actions[event.key]();
    update();
  } else {
    return;
  }
  event.preventDefault();
}

// One pointer moves the picture or the wipe, two pointers zoom.
function pointers() {
  const down = new Map();
  let wiping = false, spread = 0;
  const at = event => [event.offsetX * canvas.width / canvas.clientWidth, event.offsetY * canvas.height / canvas.clientHeight];
  const distance = () => {
    const [[x, y], [u, v]] = [...down.values()];
    return Math.hypot(x - u, y - v);
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    wiping = view.mode === "wipe" && Math.abs(at(event)[0] - view.wipe * canvas.width) < 24 * (window.devicePixelRatio || 1);
    spread = down.size === 2 ? distance() : 0;
  });
  canvas.addEventListener("pointermove", event => {
    if (!down.has(event.pointerId)) return;
    const [before, now] = [down.get(event.pointerId), at(event)];
    down.set(event.pointerId, now);
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
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, event => down.delete(event.pointerId));
  canvas.addEventListener("wheel", event => {
    if (document.activeElement !== canvas) return; // until the picture has been chosen the wheel scrolls the page
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
  fill("image", DATA.photos.images.map(photo => [photo.image, photo.image]));
  fill("rate", RATES.map(rate => [String(rate), `${rate} bpp`]));
  const names = [["original", "original"], ...SERIES.map(one => [one.name, title(one.name)])];
  fill("left", names);
  fill("right", names);
  view.image = DATA.photos.images[0].image;
  view.rate = RATES.find(rate => rate >= 0.1) ?? RATES[0];
  const first = SERIES.find(one => one.codec.startsWith("gencomp")) ?? SERIES[0];
  const others = SERIES.filter(one => one !== first);
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
