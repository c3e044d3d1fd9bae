// An image on the page: in parts, and on a canvas no larger than the stage, since browsers hold what a canvas shows several
// times over, and some have no canvas for 24 megapixels.

import { latentSize, STRIDE, tilesOf } from "./codec/tiles.js";

export class Picture {
  canvas = null;
  text = ""; // what is said of it
  whole = false;
  done = new Set(); // parts of the decoder that are there
  #size;
  #settings;
  #parts = []; // {left, top, width, height, full, half}: the part, and at half its size
  #place = null; // where it was drawn last

  // Of {width, height}, in the colours of a profile of images.js. Once for all.
  open(size, profile) {
    if (this.canvas) return;
    this.#size = size;
    this.#settings = { colorSpace: profile === "p3" ? "display-p3" : "srgb" };
    this.canvas = document.createElement("canvas");
  }

  // Add a part: that of an ImageData, or of what can be drawn, from x and y on.
  put(source, { left, top, width, height }, [x, y] = [0, 0]) {
    const settings = { ...this.#settings, willReadFrequently: true }; // in memory, even where there is a GPU
    const [full, half] = [1, 2].map((step) => new OffscreenCanvas(Math.ceil(width / step), Math.ceil(height / step)));
    const context = full.getContext("2d", settings);
    if (source instanceof ImageData) context.putImageData(source, -x, -y);
    else context.drawImage(source, -x, -y);
    const smaller = half.getContext("2d", settings);
    smaller.imageSmoothingQuality = "medium";
    smaller.drawImage(full, 0, 0, half.width, half.height);
    this.#parts.push({ left, top, width, height, full, half });
    if (this.#place) this.draw(this.#place);
  }

  // The whole of a source of that size, in parts as the decoder's, so that every picture is drawn alike.
  fill(source) {
    const { width, height } = this.#size;
    for (const { yields } of tilesOf(...latentSize(height, width), 0)) {
      const [left, top] = [yields.left * STRIDE, yields.top * STRIDE];
      const part = { left, top, width: Math.min(yields.width * STRIDE, width - left), height: Math.min(yields.height * STRIDE, height - top) };
      this.put(source, part, [left, top]);
    }
    this.whole = true;
  }

  // Show what is seen of it in a room of so many screen pixels, `dense` a CSS pixel: its corner at x, y; `scale` screen pixels
  // an image pixel. Edges of parts come to stand on whole screen pixels.
  draw(place) {
    this.#place = place;
    const { canvas } = this;
    const { x, y, scale, room, dense } = place;
    const edges = ({ left, top, width, height }) =>
      [x + left * scale, y + top * scale, x + (left + width) * scale, y + (top + height) * scale].map(Math.round);
    const [left, top, right, bottom] = edges({ left: 0, top: 0, ...this.#size });
    const [x0, y0] = [Math.max(left, 0), Math.max(top, 0)];
    Object.assign(canvas, { width: Math.max(Math.min(right, room.width) - x0, 1), height: Math.max(Math.min(bottom, room.height) - y0, 1) });
    const box = { left: x0, top: y0, width: canvas.width, height: canvas.height };
    for (const [name, length] of Object.entries(box)) canvas.style[name] = `${length / dense}px`;
    const context = canvas.getContext("2d", this.#settings);
    Object.assign(context, { imageSmoothingEnabled: scale < 1.99, imageSmoothingQuality: "medium" });
    for (const part of this.#parts) {
      const [from, above, to, below] = edges(part);
      if (to <= x0 || below <= y0 || from >= x0 + canvas.width || above >= y0 + canvas.height) continue;
      context.drawImage(scale < 0.5 ? part.half : part.full, from - x0, above - y0, to - from, below - above);
    }
  }

  // As a PNG.
  png() {
    const canvas = new OffscreenCanvas(this.#size.width, this.#size.height);
    const context = canvas.getContext("2d", this.#settings);
    for (const { full, left, top } of this.#parts) context.drawImage(full, left, top);
    return canvas.convertToBlob({ type: "image/png" });
  }

  // Give its memory back.
  close() {
    for (const { full, half } of this.#parts) full.width = half.width = 0;
    this.#parts = [];
  }
}
