// The images of one trial on the screen, one image pixel on one pixel of the screen, or on a square of them where the
// screen has so many pixels a point that images would be too small.

const CAPTION = { original: "Original", a: "A", b: "B", image: "" };
const LAYOUTS = {
  pairs: { flip: [["original"], ["a", "b"]], side: [["a"], ["original"], ["b"]], inplace: [["original", "a", "b"]] },
  dsis: { side: [["original"], ["image"]], inplace: [["original", "image"]] },
  acr: { side: [["image"]] },
};
const GAP = 24, MARGIN = 16;  // as in study.css

// Image pixels per point, at most what the study allows: the screen's own by the least whole number that brings it there.
export const density = (study) => devicePixelRatio / Math.max(1, Math.ceil(devicePixelRatio / (1.001 * study.density)));

export class Views {
  constructor(root, study) {
    const { task, layout } = study, flips = Boolean(study.flips);
    this.root = root;
    this.study = study;
    this.columns = LAYOUTS[task][layout];
    this.flips = flips;
    this.judged = task === "pairs" ? ["a", "b"] : ["original", "image"];  // between these a rater flips
    root.classList.toggle("flips", flips);
    this.shown = this.judged[0];
  }

  // Whether everything to be judged was looked at.
  get all() { return !this.flips || this.seen.size === 2; }

  // Fetches and decodes all images of a trial before anything is shown. Rejects if one cannot be had.
  async load(trial) {
    const images = {};
    await Promise.all(Object.entries(trial.images).map(async ([name, address]) => {
      images[name] = new Image(trial.width, trial.height);
      images[name].alt = CAPTION[name] || "Image";
      images[name].draggable = false;
      images[name].src = address;
      await images[name].decode();
    }));
    return { trial, images };
  }

  show({ trial, images }) {
    this.trial = trial;
    this.seen = new Set();
    this.root.replaceChildren(...this.columns.map((names) => this.column(names, images)));
    this.turn(this.judged[0]);
    this.fit();
  }

  column(names, images) {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.append(...names.map((name) => {
      const label = document.createElement("span");
      label.textContent = CAPTION[name] || (this.columns.length + names.length > 2 ? "To be rated" : "");
      if (names.length > 1) { label.className = "tab"; label.dataset.tab = name; }
      return label;
    }));
    const frame = document.createElement("div");
    frame.className = "frame";
    // In the place of A and B the original can be held up too: the same file, so nothing is fetched.
    const here = names.includes("a") && names.length === 2 ? [...names, "original"] : names;
    for (const name of here) {
      const image = images[name].isConnected || here !== names && name === "original"
        ? images[name].cloneNode() : images[name];
      image.dataset.name = name;
      image.classList.toggle("on", names.length === 1);
      frame.append(image);
    }
    figure.append(caption, frame);
    return figure;
  }

  // Shows what is judged, or (held) the original, in the place that they share.
  turn(name) {
    if (this.judged.includes(name)) { this.shown = name; this.seen.add(name); }
    for (const image of this.root.querySelectorAll("img")) {
      if (image.parentElement.childElementCount > 1) image.classList.toggle("on", image.dataset.name === name);
    }
    for (const tab of this.root.querySelectorAll(".tab")) tab.classList.toggle("on", tab.dataset.tab === name);
  }

  // One image pixel = one device pixel, or a square of them, at any zoom and pixel ratio, on whole device pixels.
  fit() {
    if (!this.trial) return;
    const ratio = devicePixelRatio, dots = density(this.study);
    const size = [this.trial.width / dots + "px", this.trial.height / dots + "px"];
    for (const frame of this.root.querySelectorAll(".frame")) {
      for (const element of [frame, ...frame.children]) [element.style.width, element.style.height] = size;
      frame.style.left = frame.style.top = "0";
      const box = frame.getBoundingClientRect();
      frame.style.left = Math.round(box.left * ratio) / ratio - box.left + "px";
      frame.style.top = Math.round(box.top * ratio) / ratio - box.top + "px";
    }
  }

  // CSS pixels that a window needs for crops of this size, beside what the page puts above and below them.
  needed(width, height, around) {
    const dots = density(this.study), columns = this.columns.length;
    return [Math.ceil(columns * width / dots + (columns - 1) * GAP + 2 * MARGIN), Math.ceil(height / dots + around)];
  }
}
