// One file on the page: an image or a .gnc file, and what was made of it.

import { contentsOf } from "./containers.js";
import { ICC } from "./codec/bitstream.js";
import { sectionsOf } from "./metadata.js";

let keys = 1;

export class Item {
  #contents = null;
  state = "waiting"; // working, done, cancelled, error
  doing = ""; // while working
  share = 0;
  error = null;
  notes = []; // what was left out, in words
  size = null; // {width, height}
  file = null; // the .gnc file's bytes
  facts = null; // what it says
  madeAs = null; // the settings (makingKey) that `file`, of an image, or `png`, of a .gnc file, was made with
  png = null; // of a .gnc file among many
  saved = false;

  // coded: is it a .gnc file?
  constructor(blob, coded, path = "") {
    Object.assign(this, { blob, coded, key: keys++, name: blob.name || "pasted image" });
    this.path = path || this.name;
  }

  get stem() {
    return this.name.replace(/\.[^.]*$/, "") || "image";
  }

  // What the image file holds beside its pixels (containers.js).
  async contents() {
    this.#contents ??= contentsOf(new Uint8Array(await this.blob.arrayBuffer()));
    return this.#contents;
  }

  // What to ask of the codec: {wanted: {quality or bytes, extras}, raw, perMegapixel}; names what is not kept.
  async asked({ mode, quality, bytes, perMegapixel, keep, flat }) {
    const contents = await this.contents();
    const { sections, lost } = sectionsOf(contents, keep);
    const raw = sections.has(ICC);
    this.notes = [...lost];
    if (contents.frames > 1) this.notes.push(`only the first of ${contents.frames} frames is used`);
    return {
      raw,
      wanted: { quality, bytes: mode === "size" ? bytes : undefined, extras: sections, flat },
      perMegapixel: mode === "density" ? perMegapixel : 0,
    };
  }

  noteTransparent(flat) {
    if (flat) this.notes.push("its transparent parts stand on white");
  }

  begin(doing) {
    Object.assign(this, { state: "working", doing, share: 0, error: null });
  }

  end(state) {
    this.state = state;
  }

  // There is nothing of it, as it was to be made.
  fail(error, key = null) {
    Object.assign(this, { state: "error", error, madeAs: key, file: null, facts: null, png: null });
  }
}

// What decides the outcome of an item: with the same it need not be made again.
export function makingKey({ coded }, { mode, quality, bytes, perMegapixel, realism, keep, flat }) {
  if (coded) return `realism ${realism}`;
  return JSON.stringify([mode, { quality, size: bytes, density: perMegapixel }[mode], keep, flat]);
}

export const cancelled = () => Object.assign(new Error("cancelled"), { name: "Cancelled" });
